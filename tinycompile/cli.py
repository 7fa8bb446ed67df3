"""The command line: finds the verb, runs it, and maps errors to three lines on stderr and an exit code.

Each verb lives in its own module under ``tinycompile.commands`` and is imported only when it is used.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import NoReturn

import click

from tinycompile import __version__
from tinycompile.errors import InternalError, TinyCompileError, UsageError

# verb -> (module, one line for the list of commands, so that the list needs no import)
VERBS = {
    "build": ("build", "Compile a model to C99 and say where every byte goes."),
    "quantize": ("quantize", "Make an int8 model (QDQ ONNX) of a float one, from samples of its input."),
    "plan": ("plan", "The memory plan and its report, without writing code."),
    "emulate": ("emulate", "Run a build on the host with sanitizers, or on an emulated core."),
    "bench": ("bench", "Executed instructions of every layer on an emulated core."),
    "verify": ("verify", "Compare every layer with LiteRT or onnxruntime."),
    "inspect": ("inspect", "The graph of a model: shapes, quantisation, MACs, memory."),
    "targets": ("lists", "Cores that code can be generated for."),
    "boards": ("lists", "Boards with a memory map and a firmware project."),
    "ops": ("lists", "Supported operators, by source format."),
    "doctor": ("lists", "Which compilers, emulators and extras are installed."),
    "example": ("example", "Copy the ready example model into a folder."),
}


class Verbs(click.Group):
    """A group whose commands are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        if _only_help():
            return click.Command(cmd_name, help=VERBS[cmd_name][1])
        module = importlib.import_module(f"tinycompile.commands.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command


def _only_help() -> bool:
    """Whether the arguments ask for the list of commands."""
    arguments = sys.argv[1:]
    return not arguments or arguments[0] in ("--help", "-h")


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tinycompile")
def cli() -> None:
    """Deployment compiler for microcontrollers: a trained model (.tflite or .onnx) to plain C99 with least SRAM.

    \b
    tinycompile example model/
    tinycompile build model/digits_qdq.onnx --target cortex-m7 --sram 320k -o out/
    tinycompile emulate out/ --on cortex-m7

    Exit codes: 0 ok, 1 a check found a difference, 2 usage, 3 the model or target cannot be used, 4 does not fit,
    5 a compiler or emulator is missing or failed, 70 a bug in tinycompile.
    """


def _verb() -> str:
    return " ".join(sys.argv[1:2]) or "tinycompile"


def _stop(error: TinyCompileError) -> NoReturn:
    if os.environ.get("TINYCOMPILE_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    print("\n".join(error.lines()), file=sys.stderr)
    sys.exit(error.exit_code)


def main() -> None:
    """Entry point of the ``tinycompile`` command."""
    try:
        cli.main(standalone_mode=False)
    except TinyCompileError as error:
        _stop(error)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "tinycompile"
        _stop(UsageError(error.format_message(), where, f"see `{where} --help`"))
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except SystemExit:
        # click ends with 1 when the reader of stdout went away (`| head`), which here would say that a check failed.
        sys.exit(0)
    except MemoryError:
        _stop(UsageError("out of memory", _verb(), "fewer samples, or a machine with more memory"))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _stop(UsageError(f"cannot write: {error.strerror}", _verb(), "make room on the disk"))
        _stop(
            InternalError(
                f"unexpected {type(error).__name__}: {error}",
                _verb(),
                "this is a bug: please report it with the model; TINYCOMPILE_DEBUG=1 shows the traceback",
            )
        )
