"""mean_of_sums: a mean from the last row of its sums, int32 [1,rows,1,ch] -> int8 or int16; the integers of `mean`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import KernelCall
from tinycompile.ops.convolution import tensor_quant, zero_point_consts
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.last_sums import AverageAttrs, LastSums, last_row_windows
from tinycompile.ops.mean import mean_multiplier, requantize_mean


class MeanOfSums(LastSums):
    kind = "mean_of_sums"
    attrs_class = AverageAttrs

    def values(self, node: Node, sums: NDArray[np.int64]) -> Array:
        (s_x, zero_point), (s_y, _) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        return requantize_mean(sums - zero_point, *mean_multiplier(s_x, s_y, node.attrs.count), node.out)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        (s_x, zero_point), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        multiplier, shift = mean_multiplier(s_x, s_y, node.attrs.count)
        dtype = node.out.dtype
        consts = (
            ("ch", node.out.form.channels),
            *zero_point_consts(dtype, ("sum_zero_point", zero_point)),
            ("multiplier", multiplier),
            ("shift", shift),
            *zero_point_consts(dtype, ("out_zero_point", zp_y)),
        )
        return (KernelCall(f"tc_mean_of_sums_{SUFFIX[dtype]}", last_row_windows(node), (), consts),)
