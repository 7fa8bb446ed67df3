"""mean over all rows and columns of a map (global average pooling), or over the columns of each row, per channel.

LiteRT's int8 reference kernel: the offset sum times ``s_x / s_y``, with the division by the count folded into the Q31
multiplier (``EvalMean`` / ``reference_integer_ops::Mean``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import KernelCall, Need, Operator, RowWindow
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.elementwise import int8_unsupported


@dataclass(frozen=True)
class MeanAttrs(Attrs):
    axes: tuple[int, ...] = ()
    keep_dims: bool = False


class Mean(Operator):
    kind = "mean"
    attrs_class = MeanAttrs

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        shape, a = node.tensor(0).shape, node.attrs
        if not all(0 <= d < len(shape) for d in a.axes) or len(set(a.axes)) != len(a.axes):
            raise ShapeError(f"mean over axes {list(a.axes)} of {list(shape)}", str(node.op.source), "check the axes")
        if a.keep_dims:
            return tuple(1 if d in a.axes else n for d, n in enumerate(shape)), node.tensor(0).dtype
        return tuple(n for d, n in enumerate(shape) if d not in a.axes), node.tensor(0).dtype

    def _over(self, node: Node) -> tuple[bool, bool] | None:
        """Whether the mean runs over (rows, columns); None for any other set of axes."""
        shape = node.tensor(0).shape
        reduced = {d for d in node.attrs.axes if shape[d] != 1}
        rank = len(shape)
        if rank < 2 or rank > 4 or (rank > 2 and shape[0] != 1):
            return None
        rows_axis = 0 if rank == 2 else 1
        width_axis = 2 if rank == 4 else -1
        if not reduced <= {rows_axis, width_axis}:
            return None
        rows = rows_axis in reduced or shape[rows_axis] == 1
        columns = width_axis in reduced or node.tensor(0).form.width == 1
        return (rows, columns) if columns else None

    def unsupported(self, node: Node) -> str | None:
        if self._over(node) is None:
            return f"mean over axes {list(node.attrs.axes)} of a tensor of shape {list(node.tensor(0).shape)}"
        return int8_unsupported(node)

    def _count(self, node: Node) -> int:
        return node.tensor(0).elems // node.out.elems

    def _multiplier(self, node: Node) -> tuple[int, int]:
        """Multiplier and shift of ``s_x / (s_y * count)``, with LiteRT's integer division of the mantissa."""
        s_x, s_y = tensor_quant(node, node.tensor(0))[0], tensor_quant(node, node.out)[0]
        multiplier, shift = quantize_multiplier(s_x / s_y)
        count = self._count(node)
        extra = min(count.bit_length() - 1, 32, 31 + shift)
        return (multiplier << extra) // count, shift - extra

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        over, form = self._over(node), node.tensor(0).form
        rows = (0, form.rows) if over is not None and over[0] else (out.y0, out.y1)
        return (Need(Region(*rows, 0, form.width)), *(None for _ in node.inputs[1:]))

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x, over = inputs[0], self._over(node)
        assert x is not None and over is not None
        (_, zp_x), (_, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        total = x.astype(np.int64).sum(axis=(0, 1) if over[0] else 1) - zp_x * self._count(node)
        y = multiply_by_quantized_multiplier(total, *self._multiplier(node)) + zp_y
        return np.asarray(np.clip(y, -128, 127).astype(np.int8).reshape(out.rows, out.cols, -1))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        over, form = self._over(node), node.tensor(0).form
        assert over is not None
        multiplier, shift = self._multiplier(node)
        rows = form.rows if over[0] else 1
        consts = (
            ("rows", rows),
            ("in_w", form.width),
            ("ch", form.channels),
            ("offset", -tensor_quant(node, node.tensor(0))[1] * self._count(node)),
            ("multiplier", multiplier),
            ("shift", shift),
            ("out_zero_point", tensor_quant(node, node.out)[1]),
        )
        window = RowWindow(0, count=rows, stride=0 if over[0] else 1, array=True)
        return (KernelCall("tc_mean_s8", (window,), (), consts),)
