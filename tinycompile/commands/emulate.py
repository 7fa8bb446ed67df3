"""``tinycompile emulate``."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from tinycompile.commands import options
from tinycompile.commands.lists import SCHEMA_VERSION
from tinycompile.commands.progress import working
from tinycompile.commands.samples import random_inputs, read_inputs, write_outputs
from tinycompile.errors import ToolchainError, UsageError
from tinycompile.ir.graph import Array
from tinycompile.ir.interface import Interface
from tinycompile.ir.plan import Plan
from tinycompile.pipeline import build_model
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target

MAX_BYTES = 1 << 30  # of an arena or a port, as for any tensor


def _interface(folder: Path) -> Interface:
    """The interface of a build folder; UsageError when it is none. report.json is not trusted."""
    try:
        interface = Interface.from_json(json.loads((folder / "report.json").read_text(encoding="utf-8"))["interface"])
        ports = (*interface.inputs, *interface.outputs)
        names = (interface.prefix, *(p.c_name for p in ports))
        if not all(isinstance(n, str) and re.fullmatch(r"[A-Za-z_]\w*", n, re.ASCII) for n in names):
            raise ValueError("names")
        dims = [d for p in ports for d in p.shape]
        sizes = [interface.arena_bytes, *(p.nbytes for p in ports)]
        if interface.arena_align not in (4, 8, 16, 32) or not all(0 < n <= MAX_BYTES for n in (*dims, *sizes)):
            raise ValueError("sizes")
        return interface
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"'{folder}' is no build: {type(error).__name__} in report.json",
            str(folder),
            "make it with `tinycompile build`",
        ) from None


def _against_interpreter(plan: Plan, inputs: list[Array], outputs: list[Array]) -> None:
    """CheckFailed when a result differs from the plan run by the interpreter: to the bit, or where operators call
    functions of the C library by more than 1e-5 of the largest value (1 for quantised values)."""
    from tinycompile.emulate.compare import require_equal
    from tinycompile.emulate.interpreter import run_samples
    from tinycompile.ops.registry import operator

    exact = all(operator(node.op.kind).ulp(node) == 0 for node in plan.graph.nodes())

    def tolerance(name: str, want: Array) -> float:
        if exact or (want.dtype.kind != "f" and plan.tensor(name).quant is None):
            return 0.0
        return 1e-5 * float(np.max(np.abs(want), initial=0.0, where=np.isfinite(want))) if want.dtype.kind == "f" else 1

    wanted = run_samples(plan, inputs)
    for port, made, want in zip(plan.interface.outputs, outputs, wanted, strict=True):
        for k, (g, w) in enumerate(zip(made, want, strict=True)):
            got = {port.name: g.reshape(w.shape)}
            require_equal(got, {port.name: w}, f"sample {k}, against the interpreter", tolerance(port.name, w))


def _host(folder: Path, interface: Interface, inputs: list[Array]) -> tuple[list[Array], dict[str, Any]]:
    from tinycompile.emulate.host import run_host
    from tinycompile.emulate.target import compile_objects

    run = run_host(folder, interface, inputs)
    sizes: dict[str, Any] = {"text_bytes": None, "rodata_bytes": None}
    try:
        objects = compile_objects(folder, interface, load_target("host"))
        sizes = {"text_bytes": objects.text_bytes, "rodata_bytes": objects.rodata_bytes}
    except (ToolchainError, ImportError):
        pass  # sizes of the host's own code are a courtesy
    figures = {"emulator": f"host ({run.compiler}, ASan and UBSan)", "instructions": None, "stack_bytes": None, **sizes}
    return run.outputs, figures


def _core(
    folder: Path, interface: Interface, inputs: list[Array], on: str, board: str | None, emulator: str | None
) -> tuple[list[Array], dict[str, Any]]:
    from tinycompile.board import load_board
    from tinycompile.emulate.target import run_target

    chosen = None if board is None else load_board(board)
    run = run_target(folder, interface, load_target(on), inputs, board=chosen, emulator=emulator)
    return run.outputs, {
        "emulator": run.emulator,
        "board": run.board,
        "instructions": run.instructions,
        "instructions_per_sample": list(run.per_sample),
        "stack_bytes": run.stack_bytes,
        "text_bytes": run.text_bytes,
        "rodata_bytes": run.rodata_bytes,
        "compiler": run.objects.compiler,
    }


def _where(on: str | None, board: str | None, emulator: str | None) -> str:
    """What to run on; UsageError for a board or emulator that the host would ignore."""
    if on is None and board is not None:
        from tinycompile.board import load_board

        on = load_board(board).target
    on = on or "host"
    if on == "host" and (board or emulator):
        option = "--board" if board else "--emulator"
        raise UsageError(f"{option} has no meaning on the host", option, "choose a core with --on, or leave it out")
    return on


@click.command()
@click.argument("what", metavar="OUT_OR_MODEL")
@click.option("--on", metavar="CORE", help="host (the default), or a core of `tinycompile targets`.")
@click.option("--board", metavar="BOARD", help="Memory map to run on, which implies its core; default: the core's own.")
@click.option("--emulator", type=click.Choice(["unicorn", "qemu"]), help="Default: unicorn where it can run the build.")
@click.option("--inputs", metavar="IN.npz", help="An array per input, by tensor name or in_0, in_1; samples first.")
@click.option("--outputs", metavar="OUT.npz", help="Where to write out_0, out_1, ...; samples first.")
@click.option("--samples", default=4, show_default=True, help="Random samples when no inputs are given.")
@options.goal_options
@options.model_options
@options.json_option
def emulate(
    what: str,
    on: str | None,
    board: str | None,
    emulator: str | None,
    inputs: str | None,
    outputs: str | None,
    samples: int,
    wanted: options.GoalOptions,
    io: str,
    name: str | None,
    shapes: tuple[str, ...],
    states: tuple[str, ...],
    dynamic_range: str,
    dump_after: str | None,
    as_json: bool,
) -> None:
    """Run a build folder, or a model that is built first, and measure it.

    On the host: address and undefined-behaviour sanitizers, an arena of exactly the planned size, two fill patterns. On
    a core: the cross-compiled firmware on the emulated core, with executed instructions and the stack's high-water
    mark. A model's results are also compared, bit for bit, with the plan run by the interpreter.

    \b
    tinycompile emulate out/
    tinycompile emulate model.tflite --on cortex-m7 --inputs in.npz --outputs out.npz --json
    tinycompile emulate model.tflite --board qemu-mps2-an386 --emulator qemu
    """
    if samples < 1 or samples > 100_000:
        raise UsageError(f"{samples} samples", "--samples", "give a number from 1 to 100000")
    on = _where(on, board, emulator)
    path = Path(what)
    plan: Plan | None = None
    with tempfile.TemporaryDirectory(prefix="tinycompile-") as temporary:
        if path.is_dir():
            folder, interface = path, _interface(path)
        else:
            target = load_target(on)
            unlimited = Budgets(2**62, 2**62)  # what fits is the build's question; here the model is only run
            built = build_model(
                path,
                target,
                unlimited,
                options.import_options(io, name, shapes, states, dynamic_range),
                options.dumper(dump_after),
                wanted.goal(None),
            )
            folder, plan, interface = Path(temporary), built.plan, built.plan.interface
            for file, text in built.files.items():
                (folder / file).write_text(text, encoding="utf-8")
        given = read_inputs(Path(inputs), interface) if inputs else random_inputs(interface, samples)
        count = len(given[0]) if given else 1
        if count == 0:
            raise UsageError("no samples", "--inputs", "give at least one sample")
        with working(f"running {count} samples on {on}"):
            if on == "host":
                results, figures = _host(folder, interface, given)
            else:
                results, figures = _core(folder, interface, given, on, board, emulator)
            if plan is not None:
                _against_interpreter(plan, given, results)
    if outputs:
        write_outputs(Path(outputs), results)
    summary = {
        "schema_version": SCHEMA_VERSION,
        "on": on,
        "samples": count,
        "arena_bytes": interface.arena_bytes,
        "state_bytes": interface.state_bytes,
        **figures,
        "checked_against_interpreter": plan is not None,
    }
    if as_json:
        click.echo(json.dumps(summary))
        return
    click.echo(f"{interface.prefix}: {count} samples on {on}, two arena fill patterns, equal results")
    for key, value in summary.items():
        if key in ("schema_version", "on", "samples", "instructions_per_sample") or value is None:
            continue
        shown = f"{value:,}" if isinstance(value, int) else value
        if isinstance(value, bool):
            shown = "yes" if value else "no"
        click.echo(f"  {key.replace('_', ' '):<28}{shown}")
    for port, result in zip(interface.outputs, results, strict=True):
        text = np.array2string(result.reshape(count, -1)[0], threshold=12, edgeitems=4, max_line_width=90)
        click.echo(f"  output '{port.name[:60]}' of sample 0: {text}")
