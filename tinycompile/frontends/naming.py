"""Names from untrusted files: unique tensor names, and C identifiers."""

from __future__ import annotations

import re

_C_KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm main "
    "alignas alignof and bool catch class delete explicit export false friend mutable namespace new not operator or "
    "private protected public template this throw true try typeid typename using virtual xor".split()
)
MAX_PREFIX = 40


def c_prefix(text: str) -> str:
    """A lower-case C identifier made from a file stem or a name the user gave, at most 40 characters long."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:MAX_PREFIX].strip("_")
    if not name or name[0].isdigit() or name in _C_KEYWORDS or name.startswith("tc_"):
        name = f"model_{name}"[:MAX_PREFIX].rstrip("_")
    return name


def plain_name(name: str) -> str:
    """A name from the file with everything replaced that could end a comment, a string or a line, at most 120 long."""
    if len(name) > 1000:  # of which the ends are shown
        name = name[:500] + name[-500:]
    flat = "".join(c if c.isascii() and (c.isalnum() or c in "_./:;-+,#@ ") else "_" for c in name).strip()
    return flat if len(flat) <= 120 else f"{flat[:80]}..{flat[-38:]}"


class UniqueNames:
    """Hands out names that have not been given before, each as close to the wish as possible."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._last: dict[str, int] = {}

    def take(self, wish: str) -> str:
        wish = wish or "tensor"
        name, number = wish, self._last.get(wish, 0)
        while name in self._used:
            number += 1
            name = f"{wish}#{number}"
        self._last[wish] = number
        self._used.add(name)
        return name
