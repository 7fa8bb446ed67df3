"""avg_pool2d_of_sums: average pooling over a whole map from the last row of its sums; the integers of `avg_pool2d`.

int32 [1,rows,1,ch] -> int8 or int16. With equal quantisation of map and output the sums are divided by their number of
values, otherwise requantised in one rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.avg_pool2d import rounded_mean
from tinycompile.ops.base import KernelCall
from tinycompile.ops.convolution import clamp_range, tensor_quant
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.last_sums import AverageAttrs, LastSums, last_row_windows
from tinycompile.ops.requantize_sums import requantize_call
from tinycompile.ops.single_rounding import nearest_multipliers, requantize_nearest


@dataclass(frozen=True)
class AvgPool2dOfSumsAttrs(AverageAttrs):
    clamp: tuple[int, int] | None = None


class AvgPool2dOfSums(LastSums):
    kind = "avg_pool2d_of_sums"
    attrs_class = AvgPool2dOfSumsAttrs

    def _keeps_scale(self, node: Node) -> bool:
        """Whether map and output are quantised alike."""
        (s_x, zero_point), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        return (s_x, zero_point) == (s_y, zp_y * node.attrs.count)

    def _multipliers(self, node: Node) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        (s_x, _), (s_y, _) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        return nearest_multipliers([s_x / (s_y * node.attrs.count)], node.out.dtype)

    def values(self, node: Node, sums: NDArray[np.int64]) -> Array:
        a, dtype = node.attrs, node.out.dtype
        if self._keeps_scale(node):
            return np.asarray(np.clip(rounded_mean(sums, a.count), *clamp_range(a.clamp, dtype)).astype(dtype.numpy))
        _, zero_point = tensor_quant(node, node.tensor(0))
        _, zp_y = tensor_quant(node, node.out)
        return requantize_nearest(sums - zero_point, self._multipliers(node), zp_y, a.clamp, dtype)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        if not self._keeps_scale(node):
            return (requantize_call(node, self._multipliers(node)),)
        lo, hi = clamp_range(node.attrs.clamp, node.out.dtype)
        consts = (("ch", node.out.form.channels), ("count", node.attrs.count), ("lo", lo), ("hi", hi))
        kernel = f"tc_avg_pool2d_of_sums_{SUFFIX[node.out.dtype]}"
        return (KernelCall(kernel, last_row_windows(node), (), consts),)
