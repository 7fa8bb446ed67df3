"""Cross-compiling: the model's objects (sizes, symbols, static stack) and firmware images for emulated and real
boards."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tinycompile.board import Board, Memory
from tinycompile.emulate.elf_image import elf_file
from tinycompile.emulate.samples import FILLS
from tinycompile.emulate.templating import render
from tinycompile.errors import CheckFailed, DoesNotFitError, ToolchainError
from tinycompile.ir.interface import InputMode, Interface
from tinycompile.resources import data_dir
from tinycompile.target import Target
from tinycompile.toolchain import Compiler, compile_or_raise, target_flags

MATH_HEADER = "tc_math.h"  # in builds that call the C library's float functions
STACK_BYTES = 16 * 1024  # room for the stack in emulated firmware; what is used of it is measured
LIBRARY_FRAME_BYTES = 64  # allowed for a function that the compiler does not see: its own helpers, memcpy
ALLOWED_UNDEFINED = re.compile(
    # the memory functions, those of tc_math.h, the compiler's helpers for arithmetic and switches, and what hosted
    # compilers add
    r"^((a?(sin|cos|tan)h?|ceil|erfc?|exp(m1)?|fabs|floor|fmod|log(1p)?|pow|rint|sqrt)f|memcpy|memset|memmove|__aeabi_\w+|__gnu_thumb1_\w+|__\w+[sd][if]\d?|_GLOBAL_OFFSET_TABLE_|__stack_chk\w*)$"
)


@dataclass(frozen=True)
class Objects:
    """The model's own objects as the target's compiler makes them. `stack_bytes`: the deepest call path, None when the
    compiler does not say."""

    text_bytes: int
    rodata_bytes: int
    stack_bytes: int | None
    compiler: str


@dataclass(frozen=True)
class Image:
    """A linked ELF file. `ram`: the region whose last byte is the arena's."""

    elf: Path
    ram: Memory
    objects: Objects


def _flags(target: Target, compiler: Compiler) -> list[str]:
    strict = [f for f in compiler.strict_flags if f != "-Werror" or compiler.flavour == "gcc"]
    return [*target_flags(target, compiler), *strict, "-ffreestanding", "-fno-common"]


def build_objects(folder: Path, interface: Interface, target: Target, compiler: Compiler, work: Path) -> Objects:
    """Compile the two model sources of `folder` into `work`, with all warnings as errors; read their sizes and symbols.

    Raises CheckFailed for writable data or calls into a library, ToolchainError when the compiler fails.
    """
    stack_flags = ["-fcallgraph-info=su"] if compiler.flavour == "gcc" else []
    flags = [*_flags(target, compiler), *stack_flags, f"-I{folder.resolve()}"]

    def compile_part(part: str) -> None:
        source = str((folder / f"{interface.prefix}{part}.c").resolve())
        command = [*compiler.command, *flags, "-c", source, "-o", f"model{part}.o"]
        compile_or_raise(command, f"{interface.prefix} for {target.name}", work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_part, ("", "_weights")))
    text, rodata = _sizes([work / "model.o", work / "model_weights.o"], interface.prefix)
    graph = work / "model.ci"
    stack = _deepest_path(graph.read_text(encoding="utf-8"), f"{interface.prefix}_run") if graph.is_file() else None
    return Objects(text, rodata, stack, compiler.version)


def _sizes(objects: list[Path], prefix: str) -> tuple[int, int]:
    """(.text, .rodata) bytes; CheckFailed for writable sections or undefined symbols that firmware may not have."""
    text = rodata = 0
    defined: set[str] = set()
    wanted: set[str] = set()
    for path in objects:
        with path.open("rb") as stream:
            elf = elf_file(stream)
            for section in elf.iter_sections():
                flags, size = section["sh_flags"], section["sh_size"]
                if section["sh_type"] == "SHT_SYMTAB":
                    for symbol in section.iter_symbols():
                        if symbol.name:
                            (wanted if symbol["st_shndx"] == "SHN_UNDEF" else defined).add(symbol.name)
                if not flags & 0x2:  # not SHF_ALLOC
                    continue
                if flags & 0x1 and size:
                    raise CheckFailed(f"{size} bytes of writable data in {section.name}", prefix, "report this bug")
                if flags & 0x4:
                    text += size
                elif section["sh_type"] == "SHT_PROGBITS":
                    rodata += size
    foreign = sorted(s for s in wanted - defined if not ALLOWED_UNDEFINED.match(s))
    if foreign:
        raise CheckFailed(f"the generated code needs {', '.join(foreign)}", prefix, "report this bug")
    return text, rodata


def _deepest_path(callgraph: str, root: str) -> int | None:
    """Stack bytes of the deepest call path from `root` in GCC's -fcallgraph-info=su output; None when it is not
    static."""
    frames: dict[str, int] = {}
    calls: dict[str, list[str]] = {}
    for title, label in re.findall(r'node: \{ title: "([^"]+)" label: "([^"]*)"', callgraph):
        size = re.search(r"(\d+) bytes \((\w+)", label)
        frames[title] = int(size[1]) if size else LIBRARY_FRAME_BYTES
        if size and size[2] != "static":
            return None
    for source, target in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', callgraph):
        calls.setdefault(source, []).append(target)

    def depth(name: str, seen: frozenset[str]) -> int:
        below = (depth(n, seen | {n}) for n in calls.get(name, []) if n not in seen)
        return frames.get(name, 0) + max(below, default=0)

    start = next((t for t in frames if t.split(":")[-1] == root), None)
    return depth(start, frozenset({start})) if start is not None else None


def calls_c_library(folder: Path) -> bool:
    """Whether a build calls the C library's float functions."""
    return (folder / MATH_HEADER).exists()


def _link(work: Path, compiler: Compiler, target: Target, sources: list[str], where: str, math: bool) -> None:
    """`math`: with the C library's float functions, which GCC's toolchains bring for every core."""
    flags = [f for f in target_flags(target, compiler) if not f.startswith("-O")]
    libraries = [*(["-lm", "-lc"] if math else []), "-lgcc"] if compiler.flavour == "gcc" else []
    extra = ["-Wl,--no-warn-rwx-segments"] if compiler.flavour == "gcc" else []
    if target.family == "riscv32" and compiler.flavour == "gcc":
        extra.append("-Wl,--no-relax")  # relaxation wants a global pointer, which the start-up does not set
    compile_or_raise(
        [
            *compiler.command,
            *flags,
            "-O2",
            "-std=gnu99",
            "-ffreestanding",
            # clang as zig brings it links its own run-time library unless told otherwise
            "-nostdlib" if compiler.flavour == "gcc" else "-nostartfiles",
            # the memory functions must not be turned into calls of themselves
            "-fno-builtin",
            *(["-fno-tree-loop-distribute-patterns"] if compiler.flavour == "gcc" else []),
            "-Wl,-T,linker.ld",
            *extra,
            *sources,
            *libraries,
            "-o",
            "firmware.elf",
        ],
        where,
        work,
    )


def build_emulated(
    folder: Path,
    interface: Interface,
    target: Target,
    board: Board,
    compiler: Compiler,
    work: Path,
    *,
    samples: int,
    arena_bytes: int | None = None,
) -> Image:
    """Link the build in `folder` with the semihosting harness for `board`: `samples` runs with each of `FILLS`.

    The arena's last byte is the RAM's last byte; RAM is as large as the target's, or as the board's where the model
    needs more. `arena_bytes` below the planned size moves the arena up by the difference.
    """
    math = calls_c_library(folder)
    if math and compiler.flavour == "zig":
        raise ToolchainError(
            "the model calls float functions of the C library, which zig does not have for bare metal",
            target.name,
            f"install {target.toolchain.gcc} with newlib (Debian: apt install libnewlib-arm-none-eabi)",
        )
    objects = build_objects(folder, interface, target, compiler, work)
    ram = board.first("ram")
    inputs = 0 if interface.input_mode is InputMode.RESIDENT else sum(p.nbytes for p in interface.inputs)
    needed = interface.arena_bytes + interface.state_bytes + inputs + STACK_BYTES + 4096
    if needed > ram.bytes:
        raise DoesNotFitError(
            f"the model and its stack need {needed} bytes of RAM, the board has {ram.bytes}",
            board.name,
            "choose a board with more memory (`tinycompile boards`)",
        )
    if target.sram_bytes is not None and needed <= target.sram_bytes <= ram.bytes:
        ram = Memory(ram.name, ram.kind, ram.origin, target.sram_bytes)
    align = interface.arena_align
    offset = -(-interface.arena_bytes // align) * align if arena_bytes is None else arena_bytes
    (work / "harness.c").write_text(
        render(
            "firmware/emulated_main.c.j2",
            interface,
            runs=samples * len(FILLS),
            runs_of_first_fill=samples,
            fills=FILLS,
            mpu_regions=() if target.family != "arm-m" else mpu_regions(board.first("flash"), ram, target),
            arena_offset=offset,
            arena_fill_bytes=min(offset, interface.arena_bytes),
        ),
        encoding="utf-8",
    )
    memories = tuple(ram if m.name == ram.name else m for m in board.memories)
    _write_support(work, board, memories, ram, ram, STACK_BYTES)
    # Harness and start-up are compiled from source so that one command serves every compiler.
    include = [f"-I{folder.resolve()}"]
    objects_and_sources = [*include, "harness.c", "startup.c", "model.o", "model_weights.o"]
    _link(work, compiler, target, objects_and_sources, board.name, math)
    return Image(work / "firmware.elf", ram, objects)


def mpu_regions(flash: Memory, ram: Memory, target: Target) -> tuple[tuple[int, int], ...]:
    """Values of (RBAR, RASR or RLAR) that leave `flash` and what lies below it read only, `ram` writable, and no more.

    Armv7-M regions are powers of two and the last one wins, so that a guard of 4 KiB stands at the end of a `ram` that
    is none. Source: Armv7-M ARM, B3.5 (MPU_RBAR, MPU_RASR); Armv8-M ARM, D1.2 (MPU_RBAR, MPU_RLAR).
    """
    if "armv8-m" in target.features:
        return ((6, (flash.end - 32) | 1), (ram.origin | 3, (ram.end - 32) | 1))

    def size(count: int) -> int:
        return ((count - 1).bit_length() - 1) << 1 | 1

    never, normal = 1 << 28, 1 << 17
    return (
        (0, never | size(2**32)),
        (flash.origin, 6 << 24 | normal | size(flash.bytes)),
        (ram.origin, 3 << 24 | never | normal | size(ram.bytes)),
        (ram.end, never | size(4096)),
    )


def _write_support(
    work: Path, board: Board, memories: tuple[Memory, ...], ram: Memory, stack: Memory, stack_bytes: int
) -> None:
    for name, text in _support(board, memories, ram, stack, stack_bytes).items():
        (work / name).write_text(text, encoding="utf-8")


def _support(
    board: Board, memories: tuple[Memory, ...], ram: Memory, stack: Memory, stack_bytes: int
) -> Mapping[str, str]:
    linker = render(
        "firmware/linker.ld.j2",
        board=board,
        memories=memories,
        vectors=board.vectors,
        flash=board.first("flash"),
        ram=ram,
        stack=stack,
        stack_bytes=stack_bytes,
    )
    startup = (data_dir("templates") / "firmware" / "startup.c").read_text(encoding="utf-8")
    return {"linker.ld": linker, "startup.c": startup}


def firmware_project(
    interface: Interface, target: Target, board: Board, stack_bytes: int, model_files: Collection[str]
) -> dict[str, str]:
    """Files of a bare-metal project for a real board, under ``firmware/`` of a build of `model_files`: main, start-up,
    linker script, make."""
    ram = board.first("ram")
    stack = next(m for m in board.memories if m.name == board.stack_memory)
    files = dict(_support(board, board.memories, ram, stack, max(4096, 2 * stack_bytes)))
    files["main.c"] = render("firmware/board_main.c.j2", interface, board=board, target=target)
    math = MATH_HEADER in model_files
    files["Makefile"] = render("firmware/Makefile.j2", interface, board=board, target=target, math=math)
    return {f"firmware/{name}": text for name, text in files.items()}
