"""What an emulator needs of a firmware image: segments to load, symbols, and the names of addresses."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tinycompile.errors import ToolchainError


@dataclass(frozen=True)
class Loaded:
    """`segments`: (load address, bytes). `symbols`: name -> address (Thumb bit cleared). `functions`: sorted (address,
    name)."""

    segments: tuple[tuple[int, bytes], ...]
    symbols: Mapping[str, int]
    functions: tuple[tuple[int, str], ...]
    entry: int

    def name_of(self, address: int) -> str:
        """The function that holds an address."""
        at = bisect.bisect_right(self.functions, (address, "\uffff")) - 1
        return self.functions[at][1] if at >= 0 else f"0x{address:08x}"


def elf_file(stream: BinaryIO) -> Any:
    """pyelftools' view of an open ELF file; ToolchainError when the package is not installed."""
    try:
        from elftools.elf.elffile import ELFFile
    except ImportError:
        raise ToolchainError("pyelftools is not installed", "ELF file", "pip install 'tinycompile[emu]'") from None
    return ELFFile(stream)


def load_image(path: Path) -> Loaded:
    """Read an ELF file."""
    with path.open("rb") as stream:
        elf = elf_file(stream)
        segments = tuple(
            (int(s["p_paddr"]), s.data()) for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]
        )
        table = elf.get_section_by_name(".symtab")
        symbols: dict[str, int] = {}
        functions: list[tuple[int, str]] = []
        for symbol in table.iter_symbols():
            address = int(symbol["st_value"])
            if symbol["st_info"]["type"] == "STT_FUNC":
                address &= ~1
                functions.append((address, symbol.name))
            if symbol.name:
                symbols[symbol.name] = address
        return Loaded(segments, symbols, tuple(sorted(functions)), int(elf["e_entry"]))
