"""Firmware in unicorn: memory mapped at the board's exact size, semihosting in Python, exact instruction counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinycompile.board import Board
from tinycompile.emulate.block_counter import BlockCounter
from tinycompile.emulate.elf_image import Loaded, load_image
from tinycompile.emulate.firmware import Image
from tinycompile.errors import CheckFailed, ToolchainError
from tinycompile.target import Target

PAGE = 4096
BKPT_SEMIHOST = b"\xab\xbe"
SYSTEM_CONTROL = 0xE000E000  # system control space of the Cortex-M cores: plain memory here


@dataclass(frozen=True)
class Ran:
    """What a run left behind: files written by name, instructions between the marks per sample."""

    files: Mapping[str, bytes]
    instructions: tuple[int, ...]
    emulator: str


class _Semihost:
    """The semihosting calls that the harness makes (Arm IHI 0100), on files in memory."""

    def __init__(self, uc: Any, files: Mapping[str, bytes], read_argument: Any, write_result: Any) -> None:
        self.uc, self.inputs = uc, files
        self.read_argument, self.write_result = read_argument, write_result
        self.opened: list[tuple[str, bytearray, int]] = []
        self.written: dict[str, bytearray] = {}
        self.position: dict[int, int] = {}
        self.status: int | None = None
        self.said = ""

    def words(self, address: int, count: int) -> list[int]:
        raw = bytes(self.uc.mem_read(address, 4 * count))
        return [int.from_bytes(raw[4 * i : 4 * i + 4], "little") for i in range(count)]

    def call(self) -> None:
        operation, argument = self.read_argument()
        result = 0
        if operation == 0x01:
            name_at, mode, length = self.words(argument, 3)
            name = bytes(self.uc.mem_read(name_at, length)).decode()
            content = bytearray() if mode >= 4 else bytearray(self.inputs[name])
            if mode >= 4:
                self.written[name] = content
            self.opened.append((name, content, mode))
            result = len(self.opened)
            self.position[result] = 0
        elif operation == 0x05:
            handle, data, size = self.words(argument, 3)
            self.opened[handle - 1][1].extend(self.uc.mem_read(data, size))
        elif operation == 0x06:
            handle, data, size = self.words(argument, 3)
            at = self.position[handle]
            part = bytes(self.opened[handle - 1][1][at : at + size])
            self.uc.mem_write(data, part)
            self.position[handle] = at + len(part)
            result = size - len(part)
        elif operation == 0x04:
            self.said = bytes(self.uc.mem_read(argument, 64)).split(b"\0")[0].decode("ascii", "replace")
        elif operation == 0x20:
            self.status = self.words(argument, 2)[1]
            self.uc.emu_stop()
        self.write_result(result)


def _machine(target: Target) -> tuple[Any, Any]:
    """A unicorn instance for the core, and its register constants."""
    import unicorn
    from unicorn import arm_const, riscv_const
    from unicorn import unicorn_const as const

    if target.family == "riscv32":
        return unicorn.Uc(const.UC_ARCH_RISCV, const.UC_MODE_RISCV32), riscv_const
    uc = unicorn.Uc(const.UC_ARCH_ARM, const.UC_MODE_THUMB | const.UC_MODE_MCLASS)
    assert target.unicorn_cpu is not None
    model = target.unicorn_cpu.replace("-", "_").upper().replace("CORTEX_", "CORTEX_")
    uc.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{model}"))
    return uc, arm_const


def run_unicorn(image: Image, target: Target, board: Board, files: Mapping[str, bytes], timeout_s: float) -> Ran:
    """Run firmware to its end. Raises CheckFailed for a fault, ToolchainError when unicorn is missing or time runs
    out."""
    try:
        import unicorn
        from unicorn import unicorn_const as const
    except ImportError:
        raise ToolchainError("unicorn is not installed", target.name, "pip install 'tinycompile[emu]'") from None
    loaded = load_image(image.elf)
    uc, registers = _machine(target)
    riscv = target.family == "riscv32"
    for memory in board.memories:
        if memory.kind == "ram" and memory.name == image.ram.name:
            uc.mem_map(image.ram.origin, image.ram.bytes, const.UC_PROT_READ | const.UC_PROT_WRITE)
        else:
            size = -(-memory.bytes // PAGE) * PAGE
            uc.mem_map(memory.origin, size, const.UC_PROT_READ | const.UC_PROT_EXEC)
    if not riscv:
        uc.mem_map(SYSTEM_CONTROL, PAGE, const.UC_PROT_READ | const.UC_PROT_WRITE)
        if "fpu" in target.features:
            uc.reg_write(registers.UC_ARM_REG_FPEXC, 0x40000000)
    for address, data in loaded.segments:
        uc.mem_write(address, data)
    code_at, code = _code(loaded, board)
    counter = BlockCounter(uc, code_at, code, thumb=not riscv)

    def argument() -> tuple[int, int]:
        if riscv:
            return uc.reg_read(registers.UC_RISCV_REG_A0), uc.reg_read(registers.UC_RISCV_REG_A1)
        return uc.reg_read(registers.UC_ARM_REG_R0), uc.reg_read(registers.UC_ARM_REG_R1)

    def result(value: int) -> None:
        uc.reg_write(registers.UC_RISCV_REG_A0 if riscv else registers.UC_ARM_REG_R0, value & 0xFFFFFFFF)

    semihost = _Semihost(uc, files, argument, result)
    fault: list[str] = []

    def interrupt(_uc: Any, number: int, _data: Any) -> None:
        pc = uc.reg_read(registers.UC_RISCV_REG_PC if riscv else registers.UC_ARM_REG_PC)
        at = pc if riscv else pc & ~1
        if not riscv and bytes(uc.mem_read(at, 2)) == BKPT_SEMIHOST:
            semihost.call()
            uc.reg_write(registers.UC_ARM_REG_PC, (at + 2) | 1)
            return
        fault.append(f"exception {number} at 0x{at:08x} in {loaded.name_of(at)}")
        uc.emu_stop()

    counts: list[int] = []

    def mark(_uc: Any, address: int, _size: int, _data: Any) -> None:
        if address == loaded.symbols["tc_mark_begin"]:
            counter.reset()
        else:
            counts.append(counter.instructions())

    uc.hook_add(const.UC_HOOK_INTR, interrupt)
    if riscv:
        at = loaded.symbols["tc_semihost"]
        uc.hook_add(const.UC_HOOK_CODE, lambda *_: semihost.call(), begin=at, end=at)
    for name in ("tc_mark_begin", "tc_mark_end"):
        at = loaded.symbols[name]
        uc.hook_add(const.UC_HOOK_CODE, mark, begin=at, end=at)
    start = loaded.symbols["tc_reset"]
    if not riscv:
        uc.reg_write(registers.UC_ARM_REG_SP, loaded.symbols["tc_stack_high"])
    try:
        uc.emu_start(start if riscv else start | 1, 0xFFFFFFFE, timeout=int(timeout_s * 1e6))
    except unicorn.UcError as error:
        pc = uc.reg_read(registers.UC_RISCV_REG_PC if riscv else registers.UC_ARM_REG_PC) & ~1
        fault.append(f"{error} at pc 0x{pc:08x} in {loaded.name_of(pc)}")
    if fault or semihost.status not in (0, None):
        raise CheckFailed(
            f"the firmware faulted on the emulated {target.name}: {fault[0] if fault else semihost.said.strip()}",
            f"{board.name}, {image.ram.bytes} bytes of RAM",
            "this is a bug in tinycompile unless the arena was made smaller on purpose: please report it",
        )
    if semihost.status is None:
        raise ToolchainError(f"the firmware did not finish in {timeout_s:.0f} s", target.name, "try fewer samples")
    written = {name: bytes(data) for name, data in semihost.written.items()}
    return Ran(written, tuple(counts), f"unicorn {unicorn.__version__}")


def _code(loaded: Loaded, board: Board) -> tuple[int, bytes]:
    """Address and bytes of the flash segment."""
    flash = board.first("flash")
    parts = [(a, d) for a, d in loaded.segments if flash.origin <= a < flash.end]
    start = min(a for a, _ in parts)
    data = bytearray(max(a + len(d) for a, d in parts) - start)
    for a, d in parts:
        data[a - start : a - start + len(d)] = d
    return start, bytes(data)
