"""Boards: a target with a memory map, an emulator machine or a firmware project. One folder each in ``boards/``."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinycompile.errors import TargetError, UsageError
from tinycompile.resources import data_dir
from tinycompile.target import parse_bytes

KINDS = ("flash", "ram", "vectors")


@dataclass(frozen=True)
class Memory:
    """A region of the address space. `kind` is flash, ram, or vectors (a table apart from the code)."""

    name: str
    kind: str
    origin: int
    bytes: int

    @property
    def end(self) -> int:
        return self.origin + self.bytes


@dataclass(frozen=True)
class Board:
    """`target`: its core. `qemu_machine`: None when QEMU has no such machine. `stack_memory`: where firmware's stack
    lives.

    `flash_command`: how to program a real board, None for an emulated one.
    """

    name: str
    description: str
    target: str
    memories: tuple[Memory, ...]
    qemu_machine: str | None
    stack_memory: str
    flash_command: str | None

    def first(self, kind: str) -> Memory:
        """The first region of a kind: where code, or the arena, goes."""
        return next(m for m in self.memories if m.kind == kind)

    @property
    def vectors(self) -> Memory:
        """Where the vector table goes."""
        return next((m for m in self.memories if m.kind == "vectors"), self.first("flash"))


def list_boards() -> list[str]:
    """Names of all boards, sorted."""
    return sorted(p.parent.name for p in Path(data_dir("boards")).glob("*/board.toml"))


def load_board(name: str) -> Board:
    """The board of that name. TargetError when there is none, or its file is malformed."""
    names = list_boards()
    if name not in names:
        close = difflib.get_close_matches(name, names, 3, 0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"one of: {', '.join(names)}"
        raise TargetError(f"no board '{name}'", "--board", hint)
    path = Path(data_dir("boards")) / name / "board.toml"
    try:
        return _parse(name, tomllib.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise TargetError(
            f"the board file is malformed: {error}", str(path), "compare it with another board file"
        ) from None


def _parse(name: str, data: dict[str, Any]) -> Board:
    memories = tuple(
        Memory(str(m["name"]), str(m["kind"]), int(m["origin"]), parse_bytes(str(m["size"]))) for m in data["memory"]
    )
    kinds = {m.kind for m in memories}
    if not {"flash", "ram"} <= kinds <= set(KINDS):
        raise ValueError(f"there is flash and ram, and a memory's kind is one of {', '.join(KINDS)}")
    emulator, firmware = data.get("emulator", {}), data.get("firmware", {})
    if not isinstance(emulator, dict) or not isinstance(firmware, dict):
        raise TypeError("emulator and firmware are tables")
    ram = next(m.name for m in memories if m.kind == "ram")
    stack = firmware.get("stack", ram)
    if stack not in {m.name for m in memories if m.kind == "ram"}:
        raise ValueError(f"no ram '{stack}' for the stack")
    return Board(
        name,
        str(data["description"]),
        str(data["target"]),
        memories,
        emulator.get("qemu_machine"),
        stack,
        firmware.get("flash_command"),
    )
