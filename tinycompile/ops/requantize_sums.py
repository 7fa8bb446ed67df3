"""requantize_sums: the last row of int32 sums in one rounding, [1,rows,1,ch] -> int8 or int16, as fully connected does.

The sums have a scale for all channels or one for each; `round((sum - zero_point) * s_sum / s_y)` with halves away from
zero (ops/single_rounding.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import QuantError
from tinycompile.ir.graph import Array, Node
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import Region
from tinycompile.ops.base import KernelCall
from tinycompile.ops.convolution import clamp_range, tensor_quant, zero_point_consts
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.last_sums import LastSums, LastSumsAttrs, last_row_windows
from tinycompile.ops.single_rounding import nearest_arrays, nearest_multipliers, requantize_nearest


@dataclass(frozen=True)
class RequantizeSumsAttrs(LastSumsAttrs):
    clamp: tuple[int, int] | None = None


class RequantizeSums(LastSums):
    kind = "requantize_sums"
    attrs_class = RequantizeSumsAttrs

    def _multipliers(self, node: Node) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """One multiplier and shift for each scale of the sums."""
        s_y, _ = tensor_quant(node, node.out)
        return nearest_multipliers([s / s_y for s in _sums_quant(node).scale], node.out.dtype)

    def values(self, node: Node, sums: NDArray[np.int64]) -> Array:
        _, zp_y = tensor_quant(node, node.out)
        total = sums - _sums_quant(node).zero_point[0]
        return requantize_nearest(total, self._multipliers(node), zp_y, node.attrs.clamp, node.out.dtype)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        return (requantize_call(node, self._multipliers(node)),)


def _sums_quant(node: Node) -> Quant:
    """Scales of the sums, which share one zero point."""
    quant = node.tensor(0).quant
    if quant is None or len(set(quant.zero_point)) != 1:
        raise QuantError(
            f"the sums '{node.tensor(0).name}' need scales and one zero point",
            str(node.op.source),
            "quantise the activations per tensor",
        )
    return quant


def requantize_call(node: Node, multipliers: tuple[NDArray[np.int64], NDArray[np.int64]]) -> KernelCall:
    """The kernel that rounds the last row of `node`'s sums once, by one multiplier or one per channel."""
    dtype = node.out.dtype
    lo, hi = clamp_range(node.attrs.clamp, dtype)
    consts = (
        ("ch", node.out.form.channels),
        ("per_channel", int(multipliers[0].size > 1)),
        *zero_point_consts(
            dtype,
            ("sum_zero_point", _sums_quant(node).zero_point[0]),
            ("out_zero_point", tensor_quant(node, node.out)[1]),
        ),
        ("lo", lo),
        ("hi", hi),
    )
    arrays = nearest_arrays(multipliers, dtype)
    return KernelCall(f"tc_requantize_sums_{SUFFIX[dtype]}", last_row_windows(node), arrays, consts)
