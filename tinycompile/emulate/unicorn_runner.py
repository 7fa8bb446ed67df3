"""Firmware in unicorn: memory mapped at its exact size, semihosting in Python, exact instruction counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinycompile.board import Board
from tinycompile.emulate.block_counter import BlockCounter
from tinycompile.emulate.elf_image import Loaded, load_image
from tinycompile.emulate.firmware import Image
from tinycompile.emulate.semihosting import Semihost
from tinycompile.errors import CheckFailed, ToolchainError
from tinycompile.target import Target

BKPT_SEMIHOST = b"\xab\xbe"
# The system control space of Cortex-M is plain memory here: without memory protection, and with the FPU's access bits.
SYSTEM_CONTROL, SYSTEM_CONTROL_BYTES = 0xE000E000, 4096
NEVER = 0xFFFFFFFE  # an address that is not reached: the firmware ends by a semihosting call


@dataclass(frozen=True)
class Ran:
    """What a run left behind: files written by name, instructions between the marks per sample, and of these those of
    each step function by its number (`OUTSIDE`: of none), where they were asked for."""

    files: Mapping[str, bytes]
    instructions: tuple[int, ...]
    emulator: str
    steps: tuple[Mapping[int, int], ...] = ()


OUTSIDE = -1


class StepCounts:
    """Instructions of each step function, for one inference after the other."""

    def __init__(self) -> None:
        self.done: list[Mapping[int, int]] = []
        self.begin()

    def begin(self) -> None:
        self.counts: dict[int, int] = {}
        self.now, self.at = OUTSIDE, 0

    def enter(self, step: int, executed: int) -> None:
        """`executed` instructions have been when `step` begins."""
        self.counts[self.now] = self.counts.get(self.now, 0) + executed - self.at
        self.now, self.at = step, executed

    def end(self, executed: int) -> None:
        self.enter(OUTSIDE, executed)
        self.done.append(self.counts)


def step_functions(loaded: Loaded) -> dict[int, int]:
    """The number of each step function of the model, by its address."""
    named = ((re.search(r"_step_(\d+)(\.|$)", name), at) for name, at in loaded.symbols.items())
    return {at & ~1: int(found[1]) for found, at in named if found}


class _Core:
    """An emulated core with memory, and its registers under one name for both architectures."""

    def __init__(self, target: Target, board: Board, ram_bytes: int) -> None:
        import unicorn
        from unicorn import arm_const, riscv_const
        from unicorn import unicorn_const as const

        self.thumb = target.family != "riscv32"
        if self.thumb:
            self.uc = unicorn.Uc(const.UC_ARCH_ARM, const.UC_MODE_THUMB | const.UC_MODE_MCLASS)
            model = str(target.unicorn_cpu).replace("-", "_").upper()
            self.uc.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{model}"))
            self.uc.mem_map(SYSTEM_CONTROL, SYSTEM_CONTROL_BYTES, const.UC_PROT_READ | const.UC_PROT_WRITE)
            if "fpu" in target.features:
                self.uc.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)
            names = ("UC_ARM_REG_PC", "UC_ARM_REG_SP", "UC_ARM_REG_R0", "UC_ARM_REG_R1")
            self._pc, self._sp, self._first, self._second = (getattr(arm_const, n) for n in names)
        else:
            self.uc = unicorn.Uc(const.UC_ARCH_RISCV, const.UC_MODE_RISCV32)
            names = ("UC_RISCV_REG_PC", "UC_RISCV_REG_SP", "UC_RISCV_REG_A0", "UC_RISCV_REG_A1")
            self._pc, self._sp, self._first, self._second = (getattr(riscv_const, n) for n in names)
        for memory in board.memories:
            rights = const.UC_PROT_WRITE if memory.kind == "ram" else const.UC_PROT_EXEC
            size = ram_bytes if memory == board.first("ram") else memory.bytes
            self.uc.mem_map(memory.origin, size, const.UC_PROT_READ | rights)

    @property
    def pc(self) -> int:
        return int(self.uc.reg_read(self._pc)) & ~1

    def go_to(self, address: int) -> None:
        self.uc.reg_write(self._pc, address | self.thumb)

    def set_stack(self, address: int) -> None:
        self.uc.reg_write(self._sp, address)

    def semihost(self, host: Semihost) -> None:
        """Pass the first two arguments on, put the result where the caller finds it, stop when the firmware exits."""
        result = host.call(self.uc.reg_read(self._first), self.uc.reg_read(self._second))
        self.uc.reg_write(self._first, result)
        if host.status is not None:
            self.uc.emu_stop()


def run_unicorn(
    image: Image, target: Target, board: Board, files: Mapping[str, bytes], timeout_s: float, steps: bool = False
) -> Ran:
    """Run firmware to its end; `steps`: count the instructions of each step function.

    Raises CheckFailed for a fault (with its pc, function and address), ToolchainError when unicorn is missing or time
    runs out.
    """
    try:
        import unicorn
    except ImportError:
        raise ToolchainError("unicorn is not installed", target.name, "pip install 'tinycompile[emu]'") from None
    loaded = load_image(image.elf)
    core = _Core(target, board, image.ram.bytes)
    for address, data in loaded.segments:
        core.uc.mem_write(address, data)
    code_at, code = _code(loaded, board)
    counter = BlockCounter(core.uc, code_at, code, core.thumb)
    host = Semihost(lambda at, size: bytes(core.uc.mem_read(at, size)), core.uc.mem_write, files)
    faults: list[str] = []
    by_step = StepCounts()
    counts = _hook(core, loaded, counter, host, faults, by_step if steps else None)
    core.set_stack(loaded.symbols["tc_stack_high"])
    try:
        core.uc.emu_start(loaded.symbols["tc_reset"] | core.thumb, NEVER, timeout=int(timeout_s * 1e6))
    except unicorn.UcError as error:
        faults.append(f"pc {place(loaded, core.pc)}: {error}")
    if faults or host.status not in (0, None):
        raise CheckFailed(
            f"the firmware faulted on the emulated {target.name}: {faults[0] if faults else f'status {host.status}'}",
            f"{board.name}, {image.ram.bytes} bytes of RAM",
            "this is a bug in tinycompile unless the arena was made smaller on purpose: please report it",
        )
    if host.status is None:
        raise ToolchainError(f"the firmware did not finish in {timeout_s:.0f} s", target.name, "try fewer samples")
    written = {name: bytes(data) for name, data in host.written.items()}
    return Ran(written, tuple(counts), f"unicorn {unicorn.__version__}", tuple(by_step.done))


def place(loaded: Loaded, pc: int) -> str:
    """An address of code, for messages."""
    return f"0x{pc:08x} in {loaded.name_of(pc)}"


def _hook(
    core: _Core,
    loaded: Loaded,
    counter: BlockCounter,
    host: Semihost,
    faults: list[str],
    by_step: StepCounts | None,
) -> list[int]:
    """Install semihosting, fault reports (into `faults`) and counting between the marks; the list of counts."""
    from unicorn import unicorn_const as const

    counts: list[int] = []

    def at(symbol: str, action: Any) -> None:
        at_address(loaded.symbols[symbol], action)

    def at_address(address: int, action: Any) -> None:
        core.uc.hook_add(const.UC_HOOK_CODE, lambda *_: action(), begin=address, end=address)

    def interrupt(_uc: Any, number: int, _data: Any) -> None:
        if core.thumb and bytes(core.uc.mem_read(core.pc, 2)) == BKPT_SEMIHOST:
            after = core.pc + 2
            core.semihost(host)
            core.go_to(after)
        else:
            faults.append(f"pc {place(loaded, core.pc)}: exception {number}")
            core.uc.emu_stop()

    def invalid(_uc: Any, _access: int, address: int, size: int, _value: int, _data: Any) -> bool:
        faults.append(f"pc {place(loaded, core.pc)}, address 0x{address:08x}, {size} bytes")
        return False

    core.uc.hook_add(const.UC_HOOK_INTR, interrupt)
    core.uc.hook_add(const.UC_HOOK_MEM_INVALID, invalid)
    if not core.thumb:
        at("tc_semihost", lambda: core.semihost(host))
    # Both marks are blocks of equal length. The block hook runs first: begin's own block is not counted, end's is.
    at("tc_mark_begin", counter.reset)
    at("tc_mark_end", lambda: counts.append(counter.instructions()))
    if by_step is not None:
        at("tc_mark_begin", by_step.begin)
        at("tc_mark_end", lambda: by_step.end(counter.instructions()))
        for address, step in step_functions(loaded).items():
            at_address(address, _entry(by_step, step, counter, address))
    return counts


def _entry(by_step: StepCounts, step: int, counter: BlockCounter, address: int) -> Any:
    """What to do at the entry of a step function, whose own block is counted already."""
    return lambda: by_step.enter(step, counter.instructions() - counter.block_at(address))


def _code(loaded: Loaded, board: Board) -> tuple[int, bytes]:
    """Address and bytes of the flash segment."""
    flash = board.first("flash")
    parts = [(a, d) for a, d in loaded.segments if flash.origin <= a < flash.end]
    start = min(a for a, _ in parts)
    data = bytearray(max(a + len(d) for a, d in parts) - start)
    for a, d in parts:
        data[a - start : a - start + len(d)] = d
    return start, bytes(data)
