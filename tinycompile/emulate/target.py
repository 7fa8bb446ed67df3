"""A build run on an emulated core: the same firmware image in unicorn or QEMU, with exact counts and measured stack."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinycompile.board import Board, load_board
from tinycompile.emulate.firmware import Objects, build_emulated, build_objects, calls_c_library
from tinycompile.emulate.qemu import run_qemu
from tinycompile.emulate.samples import FILLS, check_fills_agree, pack_inputs, unpack_outputs
from tinycompile.emulate.unicorn_runner import run_unicorn
from tinycompile.errors import UsageError
from tinycompile.ir.graph import Array
from tinycompile.ir.interface import Interface, OutputMode
from tinycompile.target import Target
from tinycompile.toolchain import target_compiler

EMULATORS = ("unicorn", "qemu")


@dataclass(frozen=True, eq=False)
class TargetRun:
    """`outputs`: per network output an array (samples, *shape). `per_sample`: instructions of each inference; `steps`:
    of these those of each step function by its number (-1: of none), where they were asked for.

    `stack_bytes`: the most that any run used. `text_bytes`, `rodata_bytes`: of the model alone.
    """

    outputs: list[Array]
    per_sample: tuple[int, ...]
    stack_bytes: int
    emulator: str
    board: str
    objects: Objects
    steps: tuple[Mapping[int, int], ...] = ()

    @property
    def instructions(self) -> int:
        """Instructions of the longest inference."""
        return max(self.per_sample, default=0)

    @property
    def text_bytes(self) -> int:
        return self.objects.text_bytes

    @property
    def rodata_bytes(self) -> int:
        return self.objects.rodata_bytes


def compile_objects(folder: Path, interface: Interface, target: Target) -> Objects:
    """Sizes of the model of `folder` as the target's compiler makes it. ToolchainError when there is none."""
    with tempfile.TemporaryDirectory(prefix="tinycompile-") as work:
        return build_objects(folder, interface, target, target_compiler(target), Path(work))


def run_target(
    folder: Path,
    interface: Interface,
    target: Target,
    inputs: Sequence[Array],
    *,
    board: Board | None = None,
    emulator: str | None = None,
    compiler: str | None = None,
    arena_bytes: int | None = None,
    timeout_s: float = 900.0,
    steps: bool = False,
) -> TargetRun:
    """Cross-compile the build in `folder` and run every sample on the emulated core, once per fill of the arena.

    `inputs`: per network input an array (samples, *shape). `board`: default the target's own. `emulator`: "unicorn"
    (the default where it can run it) or "qemu". `compiler`: "gcc" or "zig" to insist. `arena_bytes`: smaller than
    planned, to show that it faults. `steps`: count the instructions of each step function. Raises CheckFailed for a
    fault or a result that depends on the arena's initial contents.
    """
    if emulator not in (None, *EMULATORS):
        raise UsageError(f"no emulator '{emulator}'", "--emulator", f"one of: {', '.join(EMULATORS)}")
    if board is None and target.emulation_board is None:
        raise UsageError(
            f"{target.name} is not emulated", "--on", "use --on host, or a core from `tinycompile targets`"
        )
    chosen = board or load_board(str(target.emulation_board))
    if chosen.target != target.name:
        raise UsageError(f"{chosen.name} has a {chosen.target}, not a {target.name}", "--board", "choose another board")
    unable = None if target.unicorn_cpu is not None else f"unicorn cannot run {target.name}"
    if "fpu-double" in target.features and calls_c_library(folder):
        unable = "unicorn has no double-precision FPU, which the C library's functions use"
    which = emulator or ("unicorn" if unable is None else "qemu")
    if which == "unicorn" and unable is not None:
        raise UsageError(unable, "--emulator", "use --emulator qemu")
    cc = target_compiler(target, compiler)
    record, samples = pack_inputs(interface, inputs)
    with tempfile.TemporaryDirectory(prefix="tinycompile-") as name:
        work = Path(name)
        image = build_emulated(folder, interface, target, chosen, cc, work, samples=samples, arena_bytes=arena_bytes)
        files = {"in.bin": record * len(FILLS)}
        if which == "unicorn":
            ran = run_unicorn(image, target, chosen, files, timeout_s, steps)
        else:
            ran = run_qemu(image, chosen, files, timeout_s, work, steps)
    both = _outputs(interface, ran.files, samples * len(FILLS))
    outputs = [o[:samples] for o in both]
    check_fills_agree(interface, outputs, [o[samples:] for o in both], chosen.name)
    stack_bytes = int.from_bytes(ran.files["stack.bin"], "little")
    counted, by_step = ran.instructions[:samples], ran.steps[:samples]
    return TargetRun(outputs, counted, stack_bytes, ran.emulator, chosen.name, image.objects, by_step)


def _outputs(interface: Interface, files: Mapping[str, bytes], runs: int) -> list[Array]:
    """Whole outputs are in one file, run by run; rows of streamed ones in a file for each output."""
    if interface.output_mode is OutputMode.STREAMED:
        parts = [unpack_outputs([p], files[f"out_{k}.bin"], runs) for k, p in enumerate(interface.outputs)]
        return [part for (part,) in parts]
    return unpack_outputs(interface.outputs, files["out.bin"], runs)
