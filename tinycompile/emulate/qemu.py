"""Firmware in QEMU: semihosting on files, exact instruction counts by a small plugin compiled on the spot."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from tinycompile.board import Board
from tinycompile.emulate.elf_image import load_image
from tinycompile.emulate.firmware import Image
from tinycompile.emulate.unicorn_runner import Ran
from tinycompile.errors import CheckFailed, ToolchainError
from tinycompile.resources import data_dir
from tinycompile.target import Target
from tinycompile.toolchain import compile_or_raise, host_compiler, run_tool

QEMU = "qemu-system-arm"


def run_qemu(
    image: Image, target: Target, board: Board, files: Mapping[str, bytes], timeout_s: float, work: Path
) -> Ran:
    """Run firmware to its end on the board's QEMU machine.

    Raises CheckFailed for a fault, ToolchainError when QEMU is missing, has no such machine, or time runs out.
    """
    if shutil.which(QEMU) is None:
        raise ToolchainError(f"{QEMU} is not installed", board.name, "on Debian: apt install qemu-system-arm")
    if board.qemu_machine is None:
        raise ToolchainError(f"QEMU has no machine for {board.name}", board.name, "use --emulator unicorn")
    for name, data in files.items():
        (work / name).write_bytes(data)
    symbols = load_image(image.elf).symbols
    plugin = _plugin(work)
    marks = f"begin={symbols['tc_mark_begin']:#x},end={symbols['tc_mark_end']:#x}"
    command = [
        QEMU,
        *("-M", board.qemu_machine, "-nographic", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native", "-kernel", str(image.elf)),
        *("-plugin", f"{plugin},{marks}", "-d", "plugin", "-D", "counts.txt"),
    ]
    done = run_tool(command, f"QEMU {board.qemu_machine}", work, timeout_s)
    if done.returncode != 0:
        raise CheckFailed(
            f"the firmware failed on QEMU's {board.qemu_machine}: status {done.returncode} {done.stderr.strip()[:200]}",
            board.name,
            "this is a bug in tinycompile unless the arena was made smaller on purpose: please report it",
        )
    counts = tuple(int(n) for n in re.findall(r"instructions (\d+)", (work / "counts.txt").read_text(errors="replace")))
    version = run_tool([QEMU, "--version"], "QEMU").stdout.split("\n")[0]
    number = re.search(r"version (\S+)", version)
    written = {p.name: p.read_bytes() for p in work.glob("*.bin") if p.name not in files}
    return Ran(written, counts, f"qemu {number[1] if number else ''}".strip())


def _plugin(work: Path) -> Path:
    """The counting plugin, compiled by the host compiler."""
    source = data_dir("templates") / "firmware" / "qemu_count.c"
    compiler = host_compiler()
    library = work / "libcount.so"
    compile_or_raise(
        [*compiler.command, "-shared", "-fPIC", "-O2", str(source), "-o", str(library)], "QEMU plugin", work
    )
    return library
