"""Bounds on an ONNX file before protobuf reads it.

Two bytes of a file may ask protobuf for a message of a hundred, so that a small file needs gigabytes. This module walks
over the tags and lengths of the wire format, guided by ONNX's own schema, and counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

from tinycompile.errors import MalformedModelError

MAX_FIELDS = 500_000
MAX_DEPTH = 100  # protobuf's own limit
MAX_TEXT_BYTES = 1 << 20  # of a name, a description or an attribute
MAX_NUMBERS = 64 * 1024 * 1024  # in lists; protobuf stores the smallest in eight times their bytes of the file

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_TEXT, _DATA, _NUMBERS, _FLOATS, _DOUBLES = "text", "data", "numbers", "floats", "doubles"
_ITEM_BYTES = {_NUMBERS: 1, _FLOATS: 4, _DOUBLES: 8}
Layout = dict[int, Any]
"""Field number -> what its bytes hold: a word of the above, or the layout of a message."""


def _layouts() -> Layout:
    """The layout of ModelProto. Messages refer to one another, and to themselves."""
    made: dict[str, Layout] = {}

    def layout(message: Any) -> Layout:
        if message.full_name not in made:
            made[message.full_name] = fields = {}
            for field in message.fields:
                fields[field.number] = layout(field.message_type) if field.message_type is not None else _held(field)
        return made[message.full_name]

    return layout(onnx.ModelProto.DESCRIPTOR)


def _held(field: Any) -> str:
    if field.full_name == "onnx.TensorProto.raw_data":
        return _DATA
    if field.type in (field.TYPE_STRING, field.TYPE_BYTES):
        return _TEXT
    return {field.TYPE_FLOAT: _FLOATS, field.TYPE_DOUBLE: _DOUBLES}.get(field.type, _NUMBERS)


def check_wire(data: bytes, where: str) -> None:
    """MalformedModelError when protobuf would need much more memory for `data` than it has bytes, or could not read it.

    Takes time in proportion to the number of fields, which is bounded, and not to the file's size.
    """

    def refuse(what: str) -> MalformedModelError:
        return MalformedModelError(what, where, "use a model for microcontrollers, exported without debug information")

    def damaged() -> MalformedModelError:
        return MalformedModelError("this is no ONNX model", where, "give a .onnx or .tflite file")

    def varint(at: int) -> tuple[int, int]:
        """The number at a byte, and where it ends."""
        value = shift = 0
        while shift < 70:
            byte = data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at
        raise IndexError

    fields = numbers = 0
    todo: list[tuple[int, int, Mapping[int, Any], int]] = [(0, len(data), _layouts(), 1)]
    try:
        while todo:
            at, end, layout, depth = todo.pop()
            if depth > MAX_DEPTH:
                raise refuse(f"more than {MAX_DEPTH} messages in one another")
            while at < end:
                fields += 1
                if fields > MAX_FIELDS:
                    raise refuse(f"more than {MAX_FIELDS} fields")
                tag, at = (data[at], at + 1) if data[at] < 0x80 else varint(at)
                kind = tag & 7
                if kind == _VARINT:
                    _, at = varint(at)
                elif kind == _BYTES:
                    size, at = (data[at], at + 1) if data[at] < 0x80 else varint(at)
                    held = layout.get(tag >> 3, _DATA)  # protobuf copies what it does not know
                    if isinstance(held, dict):
                        todo.append((at, at + size, held, depth + 1))
                    elif held == _TEXT and size > MAX_TEXT_BYTES:
                        raise refuse(f"a text of {size} bytes (at most {MAX_TEXT_BYTES})")
                    elif held in _ITEM_BYTES:
                        numbers += size // _ITEM_BYTES[held]
                        if numbers > MAX_NUMBERS:
                            raise refuse(f"more than {MAX_NUMBERS} numbers in lists")
                    at += size
                elif kind in _FIXED_BYTES:
                    at += _FIXED_BYTES[kind]
                else:
                    raise damaged()
            if at != end:
                raise damaged()
    except IndexError:  # the file ends within a number
        raise damaged() from None
