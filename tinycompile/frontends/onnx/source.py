"""One ONNX node with checked access to its attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import onnx
from onnx import helper

from tinycompile.errors import MalformedModelError, UnsupportedError
from tinycompile.frontends.naming import plain_name
from tinycompile.frontends.onnx.model import ModelFolder, is_four_bit, tensor_value
from tinycompile.ir.graph import Array, SourceLoc

_TYPES = onnx.AttributeProto
# Of training, of random numbers, of types that do not import, and of second outputs that are not asked for.
_WITHOUT_EFFECT = frozenset({"momentum", "ratio", "seed", "saturate", "round_mode", "stash_type", "storage_order"})


@dataclass(frozen=True, eq=False)
class SourceNode:
    """`opset` is the version of the node's own domain. Absent optional inputs are ""; trailing ones are left out.

    `read`: the attributes that were asked for. One that nothing asks for is not supported (`unread`).
    """

    proto: Any
    index: int
    opset: int
    read: set[str] = field(default_factory=set)

    @property
    def op_type(self) -> str:
        return str(self.proto.op_type)

    @property
    def domain(self) -> str:
        return "" if self.proto.domain == "ai.onnx" else str(self.proto.domain)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        names = list(self.proto.input)
        while names and not names[-1]:
            names.pop()
        return tuple(names)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.proto.output)

    @property
    def loc(self) -> SourceLoc:
        name = self.proto.name or (self.outputs[0] if self.outputs else "") or str(self.index)
        return SourceLoc(plain_name(self.op_type) or "node", plain_name(name) or str(self.index))

    def __str__(self) -> str:
        return f"node {self.index}, {self.loc}"

    def has(self, name: str) -> bool:
        self.read.add(name)
        return any(a.name == name for a in self.proto.attribute)

    def unread(self) -> str | None:
        """An attribute that was not asked for, has not its default value and may change the result; None if none."""
        for attribute in self.proto.attribute:
            if attribute.name in self.read or attribute.name in _WITHOUT_EFFECT:
                continue
            if not _is_default(self, attribute):
                return str(attribute.name)
        return None

    def _attribute(self, name: str, kind: int) -> Any | None:
        self.read.add(name)
        for attribute in self.proto.attribute:
            if attribute.name == name:
                if attribute.type != kind:
                    raise MalformedModelError(
                        f"attribute '{name}' has the wrong type", str(self), "export the model again"
                    )
                return attribute
        return None

    def integer(self, name: str, default: int) -> int:
        attribute = self._attribute(name, _TYPES.INT)
        return default if attribute is None else int(attribute.i)

    def real(self, name: str, default: float) -> float:
        attribute = self._attribute(name, _TYPES.FLOAT)
        return default if attribute is None else float(attribute.f)

    def text(self, name: str, default: str) -> str:
        attribute = self._attribute(name, _TYPES.STRING)
        return default if attribute is None else attribute.s.decode("utf-8", "replace")

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of strings; None when the attribute is absent."""
        attribute = self._attribute(name, _TYPES.STRINGS)
        return None if attribute is None else tuple(s.decode("utf-8", "replace") for s in attribute.strings)

    def ints(self, name: str, length: int | None = None) -> tuple[int, ...] | None:
        """A list of integers, of `length` where given; None when the attribute is absent."""
        attribute = self._attribute(name, _TYPES.INTS)
        if attribute is None:
            return None
        if length is not None and len(attribute.ints) != length:
            raise MalformedModelError(
                f"attribute '{name}' has {len(attribute.ints)} values, not {length}",
                str(self),
                "export the model again",
            )
        return tuple(int(v) for v in attribute.ints)

    def floats(self, name: str) -> tuple[float, ...] | None:
        attribute = self._attribute(name, _TYPES.FLOATS)
        return None if attribute is None else tuple(float(v) for v in attribute.floats)

    def tensor(self, name: str, folder: ModelFolder) -> Array | None:
        attribute = self._attribute(name, _TYPES.TENSOR)
        return None if attribute is None else tensor_value(attribute.t, folder)

    def is_four_bit(self, name: str) -> bool:
        """Whether a tensor attribute holds integers of 4 bits."""
        attribute = self._attribute(name, _TYPES.TENSOR)
        return attribute is not None and is_four_bit(attribute.t)

    def unsupported(
        self, what: str, fix: str = "export the model without this form of the operator"
    ) -> UnsupportedError:
        return UnsupportedError(what, str(self), fix)


def _is_default(node: SourceNode, attribute: Any) -> bool:
    try:
        known = onnx.defs.get_schema(node.op_type, node.opset, node.domain).attributes.get(attribute.name)
    except onnx.defs.SchemaError:
        return False
    if known is None or not known.default_value.name:
        return False
    return bool(helper.get_attribute_value(known.default_value) == helper.get_attribute_value(attribute))
