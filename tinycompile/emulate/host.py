"""A build run natively: the system compiler with address and undefined-behaviour sanitizers, an arena of exactly the
planned size, and two fill patterns that must give equal results (nothing reads what it has not written)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinycompile.emulate.samples import FILLS, check_fills_agree, pack_inputs, unpack_outputs
from tinycompile.emulate.templating import render
from tinycompile.errors import CheckFailed
from tinycompile.ir.graph import Array
from tinycompile.ir.interface import Interface
from tinycompile.toolchain import compile_or_raise, host_compiler, run_tool

_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


@dataclass(frozen=True, eq=False)
class HostRun:
    """`outputs`: per network output an array (samples, *shape)."""

    outputs: list[Array]
    compiler: str


def run_host(
    folder: Path,
    interface: Interface,
    inputs: Sequence[Array],
    *,
    sanitize: bool = True,
    arena_bytes: int | None = None,
    compiler: str | None = None,
) -> HostRun:
    """Compile the build in `folder` and run every sample, once per fill pattern.

    `inputs`: per network input an array (samples, *shape). `arena_bytes`: another arena size than the planned one, to
    show that a smaller one is caught. Raises CheckFailed for a sanitizer's finding or results that depend on the
    arena's initial contents, ToolchainError when there is no compiler or it fails.
    """
    cc = host_compiler(compiler)
    record, samples = pack_inputs(interface, inputs)
    size = interface.arena_bytes if arena_bytes is None else arena_bytes
    outputs: list[list[Array]] = []
    with tempfile.TemporaryDirectory(prefix="tinycompile-") as work_text:
        work = Path(work_text)
        (work / "harness.c").write_text(render("c/host_main.c.j2", interface), encoding="utf-8")
        (work / "in.bin").write_bytes(record)
        sources = [str((folder / f"{interface.prefix}{part}.c").resolve()) for part in ("", "_weights")]
        flags = [*cc.strict_flags, "-g", *(("-O1", *_SANITIZE) if sanitize else ("-O2",))]
        compile_or_raise(
            [*cc.command, *flags, f"-I{folder.resolve()}", *sources, "harness.c", "-o", "harness", "-lm"],
            "host build",
            work,
        )
        for fill in FILLS:
            command = [str(work / "harness"), str(size), str(samples), str(fill)]
            done = run_tool(command, "host run", work, timeout_s=600.0, env=_ENVIRONMENT)
            if done.returncode != 0:
                raise CheckFailed(
                    f"the generated code failed on the host: {_finding(done.stderr, done.returncode)}",
                    f"{interface.prefix}, arena of {size} bytes, fill 0x{fill:02x}",
                    "this is a bug in tinycompile unless the arena was made smaller on purpose: please report it",
                )
            outputs.append(unpack_outputs(interface.outputs, (work / "out.bin").read_bytes(), samples))
    check_fills_agree(interface, outputs[0], outputs[1], "the host")
    return HostRun(outputs[0], cc.version)


def _finding(stderr: str, status: int) -> str:
    """The sanitizer's headline and the function it points at."""
    headline = re.search(r"(?:ERROR: AddressSanitizer: .*|runtime error: .*)", stderr)
    frame = re.search(r"#\d+ \S+ in (\w*step_\w+|\w+_run)", stderr)
    where = f" in {frame[1]}" if frame else ""
    return f"{headline[0]}{where}" if headline else f"exit status {status}"
