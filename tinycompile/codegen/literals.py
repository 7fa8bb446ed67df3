"""C99 spellings of values: numbers, arrays, comments. Untrusted text never passes through unsanitised."""

from __future__ import annotations

import math
import re

import numpy as np

from tinycompile.ir.graph import Array

_COMMENT_UNSAFE = re.compile(r"[^A-Za-z0-9_.,:;()\[\]<>=+ -]")


def int_literal(value: int) -> str:
    """A decimal constant of a signed type; the least int32 and int64 have no literals of their own."""
    if value in (-(2**31), -(2**63)):
        return f"({int_literal(value + 1)} - 1)"
    return str(value) if -(2**31) < value < 2**31 else f"{value}LL"


def float_literal(value: float) -> str:
    """An exact C99 float constant of a float32 value: hexadecimal, or a quotient where it is not finite."""
    if math.isnan(value) or math.isinf(value):
        return "(0.0f / 0.0f)" if math.isnan(value) else f"({'' if value > 0 else '-'}1.0f / 0.0f)"
    return f"{float(np.float32(value)).hex()}f"


def element_literals(data: Array) -> list[str]:
    """Each element of `data`, in memory order."""
    flat = data.ravel()
    if flat.dtype == np.float32:
        return [float_literal(float(v)) for v in flat]
    if flat.dtype.kind == "u" and flat.dtype.itemsize >= 4:
        return [f"{int(v)}{'u' if flat.dtype.itemsize == 4 else 'ULL'}" for v in flat]
    return [int_literal(int(v)) for v in flat]


def array_body(data: Array, width: int = 116) -> str:
    """The elements of an initialiser, indented and broken into lines of at most `width` characters."""
    lines: list[str] = []
    line = "   "
    for text in element_literals(data):
        if len(line) + len(text) + 2 > width:
            lines.append(line)
            line = "   "
        line += f" {text},"
    lines.append(line)
    return "\n".join(lines)


def comment_text(text: str, limit: int = 96) -> str:
    """`text` made safe inside a C comment: one line of a small alphabet (no ``*``, ``/``, quotes, braces), bounded."""
    safe = _COMMENT_UNSAFE.sub("_", text)
    return safe if len(safe) <= limit else f"{safe[: limit - 3]}..."


def shape_text(shape: tuple[int, ...]) -> str:
    """``[1,49,10,1]``."""
    return f"[{','.join(str(d) for d in shape)}]"
