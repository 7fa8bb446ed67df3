"""Elementwise operators of two int8 operands with NumPy broadcasting: what add and mul share.

One operand has the output's shape or both broadcast into it; either may be constant. A row kernel gets the two operands
as pointers with a step per pixel and per channel (0 where the operand is broadcast), all compile-time constants.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import QuantError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, Grain, KernelCall, RowWindow
from tinycompile.ops.convolution import clamp_range, tensor_quant
from tinycompile.ops.elementwise import Broadcast, broadcast_shape, int8_unsupported, row_broadcast
from tinycompile.ops.float_layers import Clamp


@dataclass(frozen=True)
class BinaryAttrs(Attrs):
    """`clamp`: the output's range in quantised units, None for all of it."""

    clamp: Clamp = None


class Binary(Broadcast):
    """Subclasses give the arithmetic (`combine`) and their kernel's name and numeric constants (`numbers`)."""

    kernel: str

    @abc.abstractmethod
    def combine(self, node: Node, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        """The output, before the clamp, for operands less their zero points."""

    @abc.abstractmethod
    def numbers(self, node: Node, first: int) -> tuple[tuple[str, int], ...]:
        """Numeric kernel parameters when operand `first` (0 or 1) is passed first."""

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        return broadcast_shape(node), node.tensor(0).dtype

    def unsupported(self, node: Node) -> str | None:
        if not node.activations:
            return "both operands are constant"
        for k in (0, 1):
            if row_broadcast(node.tensor(k), node.out) is None:
                return f"broadcasting {list(node.tensor(k).shape)} to {list(node.out.shape)} over a leading dimension"
        return int8_unsupported(node)

    def _own(self, node: Node, k: int) -> tuple[bool, bool, bool]:
        own = row_broadcast(node.tensor(k), node.out)
        if own is None:
            raise QuantError("operands do not broadcast by rows", str(node.op.source), "report this bug")
        return own

    def _operand(self, node: Node, k: int, out: Region, given: Array | None) -> NDArray[np.int64]:
        """Operand `k` less its zero point, broadcastable to `out`."""
        tensor = node.tensor(k)
        _, zero_point = tensor_quant(node, tensor)
        if given is None:
            given = self._const_part(node, k, out)
        return given.astype(np.int64) - zero_point

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        a, b = (self._operand(node, k, out, inputs[k]) for k in (0, 1))
        shape = (out.rows, out.cols, node.out.form.channels)
        value = np.clip(self.combine(node, a, b), *clamp_range(node.attrs.clamp)).astype(np.int8)
        return np.broadcast_to(value, shape)

    def in_place(self, node: Node) -> tuple[int, ...]:
        return tuple(k for k in node.activations if self._full(node, k))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        order = (0, 1) if not node.tensor(0).is_const else (1, 0)
        flat = self.grain(node) is Grain.FLAT
        windows, arrays = [], []
        steps: list[tuple[str, int]] = []
        row_pitch = 0
        for position, k in enumerate(order):
            tensor = node.tensor(k)
            rows, columns, channels = self._own(node, k)
            if tensor.is_const:
                data = self._const_part(node, k, Region(0, node.out.form.rows, out.x0, out.x1))
                arrays.append(ConstArray("operand", np.ascontiguousarray(data)))
                row_pitch = int(data[0].size) if rows else 0
            else:
                windows.append(RowWindow(k, stride=1 if rows or node.out.form.rows == 1 else 0))
            own_channels = node.out.form.channels if channels else 1
            pixel_step = own_channels if columns or (flat and self._full(node, k)) else 0
            steps += [(f"pixel_step{position}", pixel_step), (f"ch_step{position}", int(channels))]
        lo, hi = clamp_range(node.attrs.clamp)
        pixels = out.rows * out.cols if flat else out.cols
        consts = (
            ("pixels", pixels),
            ("ch", node.out.form.channels),
            *steps,
            *self.numbers(node, order[0]),
            ("lo", lo),
            ("hi", hi),
        )
        if row_pitch and node.out.form.rows > 1:
            consts = (("row_pitch", row_pitch), *consts)
            return (KernelCall(f"{self.kernel}_rows", tuple(windows), tuple(arrays), consts, row_index=True),)
        return (KernelCall(self.kernel, tuple(windows), tuple(arrays), consts),)
