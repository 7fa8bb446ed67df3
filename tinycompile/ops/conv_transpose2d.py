"""conv_transpose2d: transposed convolution; input [1,H,W,Ci], weights [Co,KH,KW,Ci/groups], bias [Co]; float or int8.

Input pixel (iy, ix) goes through tap (ky, kx) to output pixel (iy * stride + ky * dilation - top, and likewise for
columns). What an output pixel gathers is added in the order of the taps, beginning with the bias. int8 weights have
zero points 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, KernelCall, Need, Operator, RowWindow, WeightAxes
from tinycompile.ops.convolution import (
    bias_values,
    layer_unsupported,
    output_consts,
    output_multipliers,
    requantize_output,
    tensor_quant,
    weight_quant,
)
from tinycompile.ops.float_layers import Clamp, clamp_consts, clamped, float_bias, is_float, layer_arrays
from tinycompile.ops.geometry import Pair


@dataclass(frozen=True)
class ConvTranspose2dAttrs(Attrs):
    """`pad`: rows above and columns left of the output that are cut away; `size`: the output's (H, W)."""

    size: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pad: Pair = (0, 0)
    groups: int = 1
    clamp: Clamp = None


class ConvTranspose2d(Operator):
    kind = "conv_transpose2d"
    attrs_class = ConvTranspose2dAttrs
    weight_axes = WeightAxes(outputs=0, inputs=3)

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, w, a = node.tensor(0), node.tensor(1), node.attrs
        numbers = (*a.size, *a.stride, *a.dilation, a.groups)
        fits = len(x.shape) == 4 and len(w.shape) == 4 and x.shape[0] == 1 and min(numbers) >= 1 and min(a.pad) >= 0
        if not fits or w.shape[3] * a.groups != x.shape[3] or w.shape[0] % a.groups:
            raise ShapeError(
                f"a transposed convolution of {list(x.shape)} by {list(w.shape)} in {a.groups} groups "
                f"to {list(a.size)}",
                str(node.op.source),
                "export the model with batch size 1; check the weights' shape and the attributes of this node",
            )
        return (1, *a.size, w.shape[0]), x.dtype

    def unsupported(self, node: Node) -> str | None:
        reason = layer_unsupported(node)
        if reason is None and node.out.dtype == DType.INT16:
            return "transposed convolution of int16 activations"
        if reason is None and not is_float(node) and any(weight_quant(node, node.tensor(1).shape[0])[1]):
            return "transposed convolution by int8 weights with a zero point that is not 0"
        return reason

    def _span(self, node: Node, axis: int, start: int, stop: int) -> tuple[int, int]:
        """Indices [first, end) of the input along an axis that have taps in outputs [start, stop); may be empty."""
        a, form, kernel = node.attrs, node.tensor(0).form, node.tensor(1).shape[1 + axis]
        size = form.width if axis else form.rows
        above = start + a.pad[axis] - (kernel - 1) * a.dilation[axis]
        first = min(max(-(-above // a.stride[axis]), 0), size)
        end = min((stop - 1 + a.pad[axis]) // a.stride[axis] + 1, size)
        return first, max(first, end)

    def _rows(self, node: Node) -> tuple[int, tuple[int, ...]]:
        """Input rows that the kernel is given for each output row, the same number for all, and the first of them."""
        spans = [self._span(node, 0, y, y + 1) for y in range(node.out.form.rows)]
        return max(1, *(end - first for first, end in spans)), tuple(first for first, _ in spans)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        count, firsts = self._rows(node)
        end = min(firsts[out.y1 - 1] + count, node.tensor(0).form.rows)
        columns = self._span(node, 1, out.x0, out.x1)
        return (Need(Region(firsts[out.y0], end, *columns)), *(None for _ in node.inputs[1:]))

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x, channels = inputs[0], node.out.form.channels
        assert x is not None
        if is_float(node):
            return clamped(self._gathered(node, out, x, float_bias(node, channels)), node.attrs.clamp)
        offset = x.astype(np.int64) - tensor_quant(node, node.tensor(0))[1]
        acc = self._gathered(node, out, offset, bias_values(node, channels))
        return requantize_output(node, acc)

    def _gathered(self, node: Node, out: Region, x: Array, bias: Array) -> Array:
        """The sums of a region, in the type of `bias`, from the inputs that it needs."""
        a, w, need = node.attrs, node.const(1).astype(bias.dtype), self.in_region(node, out)[0]
        assert need is not None
        channels, kh, kw, depth = w.shape
        acc = np.broadcast_to(bias, (out.rows, out.cols, channels)).copy()
        group = np.arange(channels) // (channels // a.groups) * depth

        def places(axis: int, start: int, stop: int, tap: int, low: int, high: int) -> tuple[Array, Array]:
            """Outputs that the tap reaches, and the inputs they come from, both from the region's first on."""
            source = np.arange(start, stop) + a.pad[axis] - tap * a.dilation[axis]
            index = source // a.stride[axis]
            reached = np.flatnonzero((source % a.stride[axis] == 0) & (index >= low) & (index < high))
            return reached, index[reached] - low

        r = need.region
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for ky in range(kh):
                rows, from_rows = places(0, out.y0, out.y1, ky, r.y0, r.y1)
                for kx in range(kw):
                    columns, from_columns = places(1, out.x0, out.x1, kx, r.x0, r.x1)
                    taps = x[from_rows][:, from_columns]
                    for c in range(depth):
                        acc[np.ix_(rows, columns)] += taps[:, :, group + c] * w[:, ky, kx, c]
        return acc

    def macs(self, node: Node) -> int:
        _, kh, kw, depth = node.tensor(1).shape
        form = node.tensor(0).form
        return form.rows * form.width * node.tensor(1).shape[0] * kh * kw * depth

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        a, w, form = node.attrs, node.const(1), node.out.form
        count, firsts = self._rows(node)
        left, right = self._span(node, 1, out.x0, out.x1)
        consts = (
            ("in_rows", count),
            ("in_w", right - left),
            ("in_ch", node.tensor(0).form.channels),
            ("out_w", out.cols),
            ("out_ch", form.channels),
            ("kernel_h", w.shape[1]),
            ("kernel_w", w.shape[2]),
            ("stride_h", a.stride[0]),
            ("stride_w", a.stride[1]),
            ("dilation_h", a.dilation[0]),
            ("dilation_w", a.dilation[1]),
            ("pad_top", a.pad[0]),
            ("pad_left", out.x0 + a.pad[1] - left * a.stride[1]),
            ("groups", a.groups),
        )
        window = RowWindow(0, count=count, array=True, table=firsts)
        if is_float(node):
            floats = (*consts, *clamp_consts(a.clamp))
            return (KernelCall("tc_conv_transpose2d_f32", (window,), layer_arrays(node, w), floats, row_index=True),)
        multiplier, shift = output_multipliers(node, form.channels)
        arrays = (
            ConstArray("weights", w),
            ConstArray("bias", bias_values(node, form.channels).astype(np.int32)),
            ConstArray("multiplier", multiplier.astype(np.int32)),
            ConstArray("shift", shift.astype(np.int8)),
        )
        stage = (("in_zero_point", tensor_quant(node, node.tensor(0))[1]), *output_consts(node))
        return (KernelCall("tc_conv_transpose2d_s8", (window,), arrays, (*consts, *stage), row_index=True),)
