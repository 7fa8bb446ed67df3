"""avg_pool2d: the mean of each window, per channel, rounded half away from zero.

With equal input and output quantisation this is LiteRT's kernel: integer sum over the taps inside the input, divided by
their number (or by the window's size with `include_pad`, ONNX count_include_pad, where padding counts as real zero).
Otherwise the offset sum is requantised by ``s_x / (s_y * count)`` in one rounding, one multiplier per possible count.
A window without taps gives 0, or the output's zero point.

Of floats: the sum of the taps, one after the other, divided by their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import KernelCall, Need, pad_region
from tinycompile.ops.convolution import clamp_range, tensor_quant, zero_point_consts
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.float_layers import F32, clamp_array, clamp_consts, clamped, is_float, taps
from tinycompile.ops.geometry import Pair, row_windows, tile_padding
from tinycompile.ops.pooling import Pool, PoolAttrs
from tinycompile.ops.single_rounding import nearest_arrays, nearest_multipliers, requantize_nearest


@dataclass(frozen=True)
class AvgPool2dAttrs(PoolAttrs):
    """`grown`: rows and columns of the padding after the map that do not count with `include_pad` (ONNX ceil_mode)."""

    include_pad: bool = False
    grown: Pair = (0, 0)


def rounded_mean(total: NDArray[np.int64], count: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """``total / count`` to nearest, halves away from zero; 0 where the count is."""
    return np.asarray(np.sign(total) * ((np.abs(total) + np.asarray(count) // 2) // np.maximum(count, 1)))


class AvgPool2d(Pool):
    kind = "avg_pool2d"
    attrs_class = AvgPool2dAttrs

    def unsupported(self, node: Node) -> str | None:
        reason = super().unsupported(node)
        if reason is None and not is_float(node) and (node.attrs.dilation != (1, 1) or node.attrs.grown != (0, 0)):
            return "average pooling of integers with dilation, or with count_include_pad and ceil_mode"
        if reason is None and node.tensor(0).dtype == DType.INT16 and math.prod(node.attrs.kernel) >= 1 << 16:
            return "average pooling of int16 over 65536 values or more"
        return reason

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        pad, a = tile_padding(needs), node.attrs
        if pad is None:
            return None
        counted = a.pad[1] - a.grown[0], a.pad[3] - a.grown[1]
        grown = pad[1] - min(pad[1], counted[0]), pad[3] - min(pad[3], counted[1])
        attrs: Attrs = replace(a, pad=pad, grown=grown)
        return attrs

    def _multipliers(self, node: Node) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Multipliers and shifts for windows of 1, 2, ... taps."""
        (s_x, _), (s_y, _) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        taps = node.attrs.kernel[0] * node.attrs.kernel[1]
        return nearest_multipliers([s_x / (s_y * count) for count in range(1, taps + 1)], node.out.dtype)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        a = node.attrs
        need = self.in_region(node, out)[0]
        assert need is not None
        assert inputs[0] is not None
        if is_float(node):
            return self._float_mean(node, out, pad_region(inputs[0], need, 0))
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        x = pad_region(inputs[0].astype(np.int64) - zp_x, need, 0)
        inside = pad_region(np.ones((*inputs[0].shape[:2], 1), dtype=np.int64), need, 1 if a.include_pad else 0)
        total = np.zeros((out.rows, out.cols, x.shape[2]), dtype=np.int64)
        count = np.zeros((out.rows, out.cols, 1), dtype=np.int64)
        for ky in range(a.kernel[0]):
            for kx in range(a.kernel[1]):
                rows = slice(ky, ky + out.rows * a.stride[0], a.stride[0])
                cols = slice(kx, kx + out.cols * a.stride[1], a.stride[1])
                total += x[rows, cols]
                count += inside[rows, cols]
        if (s_x, zp_x) == (s_y, zp_y):
            values = rounded_mean(total + zp_x * count, count)
            return np.asarray(np.clip(values, *clamp_range(a.clamp, node.out.dtype)).astype(node.out.dtype.numpy))
        entry = np.maximum(count, 1) - 1
        multiplier, shift = self._multipliers(node)
        return requantize_nearest(total, (multiplier[entry], shift[entry]), zp_y, a.clamp, node.out.dtype)

    def _taps_counted(self, node: Node, axis: int, start: int, stop: int) -> NDArray[np.int64]:
        """For each position along an axis, how many of the window's taps count."""
        a, form = node.attrs, node.tensor(0).form
        size = form.width if axis else form.rows
        first = np.arange(start, stop)[:, None] * a.stride[axis] - a.pad[2 * axis]
        taps = first + np.arange(a.kernel[axis]) * a.dilation[axis]
        low, high = 0, size
        if a.include_pad:
            low, high = -a.pad[2 * axis], size + a.pad[2 * axis + 1] - a.grown[axis]
        return np.asarray(((taps >= low) & (taps < high)).sum(axis=1))

    def _float_mean(self, node: Node, out: Region, x: F32) -> F32:
        total = np.zeros((out.rows, out.cols, x.shape[2]), dtype=np.float32)
        rows, columns = self._taps_counted(node, 0, out.y0, out.y1), self._taps_counted(node, 1, out.x0, out.x1)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for ky in range(node.attrs.kernel[0]):
                for kx in range(node.attrs.kernel[1]):
                    total += taps(x, out, ky, kx, node)
            count = np.maximum(np.outer(rows, columns), 1).astype(np.float32)
            return clamped(total / count[:, :, None], node.attrs.clamp)

    def _float_call(self, node: Node, out: Region) -> KernelCall:
        a, need, form = node.attrs, self.in_region(node, out)[0], node.tensor(0).form
        assert need is not None
        consts = (
            *self.window_consts(node, out),
            ("dilation_w", a.dilation[1]),
            ("stride_h", a.stride[0]),
            ("pad_top", a.pad[0]),
            ("dilation_h", a.dilation[0]),
            ("include_pad", int(a.include_pad)),
            ("counted_h", form.rows + a.pad[1] - a.grown[0]),
            ("counted_w", form.width + a.pad[3] - a.grown[1] - out.x0 * a.stride[1] + a.pad[2] - need.left),
            *clamp_consts(a.clamp),
        )
        windows = row_windows(a.kernel, a.stride, a.dilation, a.pad)
        return KernelCall("tc_avg_pool2d_f32", windows, (clamp_array(a.clamp),), consts, row_index=True)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        a = node.attrs
        if is_float(node):
            return (self._float_call(node, out),)
        lo, hi = clamp_range(a.clamp, node.out.dtype)
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        windows = row_windows(a.kernel, a.stride, (1, 1), a.pad)
        dtype = node.out.dtype
        window = (*self.window_consts(node, out), ("include_pad", int(a.include_pad)))
        consts = (*window, *zero_point_consts(dtype, ("in_zero_point", zp_x)))
        if (s_x, zp_x) == (s_y, zp_y):
            return (KernelCall(f"tc_avg_pool2d_{SUFFIX[dtype]}", windows, (), (*consts, ("lo", lo), ("hi", hi))),)
        consts = (*consts, *zero_point_consts(dtype, ("out_zero_point", zp_y)), ("lo", lo), ("hi", hi))
        arrays = nearest_arrays(self._multipliers(node), dtype)
        return (KernelCall(f"tc_avg_pool2d_requantize_{SUFFIX[dtype]}", windows, arrays, consts),)
