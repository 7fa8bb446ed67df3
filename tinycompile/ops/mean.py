"""mean: the average over some axes; global average pooling is the mean over (1, 2).

LiteRT's integer form (``QuantizedMeanOrSum``): the sum less its zero points is requantised by one multiplier,
``s_x / s_y`` as Q31 with ``1 / count`` folded into its mantissa, which is then truncated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node, Tensor
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Grain, KernelCall, Need, Operator, RowWindow, whole
from tinycompile.ops.convolution import tensor_quant, zero_point_consts
from tinycompile.ops.elementwise import ACTIVATIONS, integer_unsupported
from tinycompile.ops.elementwise_functions import SUFFIX


@dataclass(frozen=True)
class MeanAttrs(Attrs):
    """`axes` may be negative; an axis that is averaged over stays with size 1 when `keep_dims`."""

    axes: tuple[int, ...] = (1, 2)
    keep_dims: bool = True


def _axes(node: Node) -> set[int]:
    rank = len(node.tensor(0).shape)
    return {a + rank if a < 0 else a for a in node.attrs.axes}


def reduced_parts(node: Node) -> tuple[bool, bool, bool] | None:
    """Whether rows, columns and channels of the input's row form are averaged over; None for a part of the rows."""
    shape = node.tensor(0).shape
    rank = len(shape)
    rows = rank - 1 if rank == 2 or (rank == 3 and shape[0] == 1) else max(rank - 2, 0)
    columns = max(rank - 1, 0) if rank >= 2 else 0

    def all_of(first: int, end: int) -> bool | None:
        flags = {a in _axes(node) for a in range(first, end) if shape[a] > 1}
        return None if len(flags) > 1 else True in flags

    parts = all_of(0, rows), all_of(rows, columns), all_of(columns, rank)
    return None if parts[0] is None else (parts[0], bool(parts[1]), bool(parts[2]))


def mean_multiplier(s_x: float, s_y: float, count: int) -> tuple[int, int]:
    """Multiplier and shift that make a mean out of a sum of `count` values at scale `s_x`."""
    multiplier, shift = quantize_multiplier(s_x / s_y)
    fold = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << fold) // count, shift - fold


def requantize_mean(total: NDArray[np.int64], multiplier: int, shift: int, out: Tensor) -> Array:
    """Sums less their zero points in the quantisation of `out`."""
    assert out.quant is not None
    values = multiply_by_quantized_multiplier(total, multiplier, shift) + out.quant.scalar()[1]
    return np.asarray(np.clip(values, *out.dtype.int_range).astype(out.dtype.numpy))


class Mean(Operator):
    kind = "mean"
    attrs_class = MeanAttrs

    def _row_by_row(self, node: Node) -> bool:
        """Whether a row of the output is made from one row of the input, or all of it is one row."""
        reduced, rows = reduced_parts(node), node.tensor(0).form.rows
        return reduced is not None and node.out.form.rows == (1 if reduced[0] else rows)

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, axes = node.tensor(0), _axes(node)
        if not all(0 <= a < len(x.shape) for a in axes):
            raise ShapeError(
                f"mean over axes {list(node.attrs.axes)} of a tensor of shape {list(x.shape)}",
                str(node.op.source),
                "check the axes of this node in the exported model",
            )
        kept = [(1 if a in axes else d) for a, d in enumerate(x.shape) if a not in axes or node.attrs.keep_dims]
        return tuple(kept), x.dtype

    def unsupported(self, node: Node) -> str | None:
        reduced = reduced_parts(node)
        if reduced is None or not (reduced[0] or self._row_by_row(node)):
            return f"mean over axes {list(node.attrs.axes)} of shape {list(node.tensor(0).shape)}"
        if node.tensor(0).dtype == DType.INT16 and self._requantization(node)[0] > 1 << 16:
            return "a mean of int16 over more than 65536 values"
        return integer_unsupported(node, ACTIVATIONS)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        x, reduced = node.tensor(0), reduced_parts(node)
        full = whole(x)
        rest = (None,) * (len(node.inputs) - 1)
        if reduced is None or not self._row_by_row(node):
            return (Need(full), *rest)
        y0, y1 = (full.y0, full.y1) if reduced[0] else (out.y0, out.y1)
        own_columns = not reduced[1] and node.out.form.width == x.form.width
        x0, x1 = (out.x0, out.x1) if own_columns else (full.x0, full.x1)
        return (Need(Region(y0, y1, x0, x1)), *rest)

    def _requantization(self, node: Node) -> tuple[int, int, int]:
        """Elements of one mean; multiplier and shift of their sum."""
        (s_x, _), (s_y, _) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        count = math.prod(node.tensor(0).shape[a] for a in _axes(node))
        return count, *mean_multiplier(s_x, s_y, count)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        reduced, x = reduced_parts(node), inputs[0]
        assert x is not None
        assert reduced is not None
        _, zp_x = tensor_quant(node, node.tensor(0))
        count, multiplier, shift = self._requantization(node)
        total = x.astype(np.int64).sum(axis=tuple(k for k in range(3) if reduced[k])) - zp_x * count
        values = requantize_mean(total, multiplier, shift, node.out)
        if self._row_by_row(node):
            return values.reshape(out.rows, out.cols, node.out.form.channels)
        form = node.out.form
        return values.reshape(form.rows, form.width, form.channels)[out.y0 : out.y1, out.x0 : out.x1]

    def grain(self, node: Node) -> Grain:
        return Grain.ROW if self._row_by_row(node) else Grain.WHOLE

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        x, reduced, need = node.tensor(0), reduced_parts(node), self.in_region(node, out)[0]
        assert reduced is not None
        assert need is not None
        count, multiplier, shift = self._requantization(node)
        rows = x.form.rows if reduced[0] else 1
        window = RowWindow(0, count=rows, stride=0 if reduced[0] else 1, array=True)
        sizes = (
            ("rows", rows),
            ("width", need.region.cols),
            ("ch", x.form.channels),
            ("reduce_width", int(reduced[1])),
            ("reduce_ch", int(reduced[2])),
        )
        consts = (
            *sizes,
            *zero_point_consts(x.dtype, ("sum_zero_point", tensor_quant(node, x)[1] * count)),
            ("multiplier", multiplier),
            ("shift", shift),
            *zero_point_consts(x.dtype, ("out_zero_point", tensor_quant(node, node.out)[1])),
        )
        return (KernelCall(f"tc_mean_{SUFFIX[x.dtype]}", (window,), (), consts),)
