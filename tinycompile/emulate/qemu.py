"""Firmware in QEMU: semihosting on files, exact instruction counts by a small plugin compiled on the spot."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from tinycompile.board import Board
from tinycompile.emulate.elf_image import load_image
from tinycompile.emulate.firmware import Image
from tinycompile.emulate.unicorn_runner import Ran, StepCounts, place, step_functions
from tinycompile.errors import CheckFailed, ToolchainError
from tinycompile.resources import data_dir
from tinycompile.toolchain import compile_or_raise, host_compiler, run_tool

QEMU = "qemu-system-arm"
FIRMWARE_STATUS = (2, 3)  # the harness exits so when a transfer failed, or from its fault handler
LOCKUP = "Lockup"  # what QEMU says before it aborts: a fault inside a fault handler, such as a stack overflow


def run_qemu(
    image: Image, board: Board, files: Mapping[str, bytes], timeout_s: float, work: Path, steps: bool = False
) -> Ran:
    """Run firmware to its end on the board's QEMU machine; files are read and written in `work`. `steps`: count the
    instructions of each step function.

    Raises CheckFailed for a fault (with its pc, function and address), ToolchainError when QEMU is missing, has no such
    machine, cannot load the counting plugin, or time runs out.
    """
    if shutil.which(QEMU) is None:
        raise ToolchainError(f"{QEMU} is not installed", board.name, "on Debian: apt install qemu-system-arm")
    if board.qemu_machine is None:
        raise ToolchainError(f"QEMU has no machine for {board.name}", board.name, "use --emulator unicorn")
    for name, data in files.items():
        (work / name).write_bytes(data)
    loaded = load_image(image.elf)
    version = re.search(r"version (\d+)\S*", run_tool([QEMU, "--version"], QEMU).stdout)
    plugin = _plugin(work, int(version[1]) if version else 0)
    marks = f"begin={loaded.symbols['tc_mark_begin']:#x},end={loaded.symbols['tc_mark_end']:#x}"
    functions = step_functions(loaded) if steps else {}
    marks += "".join(f",step={address:#x}" for address in functions)
    command = [
        QEMU,
        *("-M", board.qemu_machine, "-nographic", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native", "-kernel", str(image.elf)),
        *("-plugin", f"{plugin},{marks}", "-d", "plugin", "-D", "counts.txt"),
    ]
    done = run_tool(command, f"QEMU {board.qemu_machine}", work, timeout_s)
    if done.returncode in FIRMWARE_STATUS or LOCKUP in done.stderr:
        at = re.search(r"fault at pc 0x([0-9a-f]{8})(.*)", done.stdout + done.stderr)
        fault = f"pc {place(loaded, int(at[1], 16))}{at[2]}" if at else (done.stdout + done.stderr).strip()[:200]
        raise CheckFailed(
            f"the firmware faulted on QEMU's {board.qemu_machine}: {fault}",
            f"{board.name}, {image.ram.bytes} bytes of RAM",
            "this is a bug in tinycompile unless the arena was made smaller on purpose: please report it",
        )
    if done.returncode != 0:
        raise ToolchainError(
            f"{QEMU} failed with status {done.returncode}: {done.stderr.strip()[:200]}",
            board.name,
            "use --emulator unicorn",
        )
    lines = (work / "counts.txt").read_text(errors="replace")
    counts = tuple(int(n) for n in re.findall(r"instructions (\d+)", lines))
    written = {p.name: p.read_bytes() for p in work.glob("*.bin") if p.name not in files}
    name = f"qemu {version[0].removeprefix('version ') if version else ''}".strip()
    return Ran(written, counts, name, _by_step(lines, functions))


def _by_step(lines: str, functions: Mapping[int, int]) -> tuple[Mapping[int, int], ...]:
    """The plugin's report, an inference after the other."""
    counts = StepCounts()
    for address, at, total in re.findall(r"step (\d+) at (\d+)|instructions (\d+)", lines) if functions else ():
        if total:
            counts.end(int(total))
            counts.begin()
        else:
            counts.enter(functions[int(address)], int(at))
    return tuple(counts.done)


def _plugin(work: Path, qemu_version: int) -> Path:
    """The counting plugin, compiled by the host compiler for the plugin interface of that QEMU (2 since QEMU 9)."""
    source = data_dir("templates") / "firmware" / "qemu_count.c"
    library = work / "libcount.so"
    options = ["-shared", "-fPIC", "-O2", f"-DPLUGIN_INTERFACE={2 if qemu_version >= 9 else 1}"]
    compile_or_raise([*host_compiler().command, *options, str(source), "-o", str(library)], "QEMU plugin", work)
    return library
