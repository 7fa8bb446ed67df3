"""avg_pool2d: the mean of each window, per channel, rounded half away from zero.

With equal input and output quantisation this is LiteRT's kernel: integer sum over the taps inside the input, divided by
their number (or by the window's size with `include_pad`, ONNX count_include_pad, where padding counts as real zero).
Otherwise the offset sum is requantised by ``s_x / (s_y * count)`` in one rounding, one multiplier per possible count.
A window without taps gives 0, or the output's zero point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import ConstArray, KernelCall, pad_region
from tinycompile.ops.convolution import clamp_range, tensor_quant
from tinycompile.ops.geometry import row_windows
from tinycompile.ops.pooling import Pool, PoolAttrs
from tinycompile.ops.single_rounding import nearest_multipliers, requantize_nearest


@dataclass(frozen=True)
class AvgPool2dAttrs(PoolAttrs):
    include_pad: bool = False


def rounded_mean(total: NDArray[np.int64], count: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """``total / count`` to nearest, halves away from zero; 0 where the count is."""
    return np.asarray(np.sign(total) * ((np.abs(total) + np.asarray(count) // 2) // np.maximum(count, 1)))


class AvgPool2d(Pool):
    kind = "avg_pool2d"
    attrs_class = AvgPool2dAttrs

    def _multipliers(self, node: Node) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Multipliers and shifts for windows of 1, 2, ... taps."""
        (s_x, _), (s_y, _) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        taps = node.attrs.kernel[0] * node.attrs.kernel[1]
        return nearest_multipliers([s_x / (s_y * count) for count in range(1, taps + 1)])

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        a = node.attrs
        need = self.in_region(node, out)[0]
        assert need is not None
        assert inputs[0] is not None
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
            return np.asarray(np.clip(values, *clamp_range(a.clamp)).astype(np.int8))
        entry = np.maximum(count, 1) - 1
        multiplier, shift = self._multipliers(node)
        return requantize_nearest(total, (multiplier[entry], shift[entry]), zp_y, a.clamp)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        a = node.attrs
        lo, hi = clamp_range(a.clamp)
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        windows = row_windows(a.kernel, a.stride, (1, 1), a.pad)
        consts = (*self.window_consts(node, out), ("include_pad", int(a.include_pad)), ("in_zero_point", zp_x))
        if (s_x, zp_x) == (s_y, zp_y):
            return (KernelCall("tc_avg_pool2d_s8", windows, (), (*consts, ("lo", lo), ("hi", hi))),)
        multiplier, shift = self._multipliers(node)
        arrays = (ConstArray("multiplier", multiplier.astype(np.int32)), ConstArray("shift", shift.astype(np.int8)))
        consts = (*consts, ("out_zero_point", zp_y), ("lo", lo), ("hi", hi))
        return (KernelCall("tc_avg_pool2d_requantize_s8", windows, arrays, consts),)
