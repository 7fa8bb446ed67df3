"""clip: the relu family, ``min(max(x, lo), hi)`` in real units, with requantisation to the output's parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.table import TableOperator


@dataclass(frozen=True)
class ClipAttrs(Attrs):
    """Real bounds; infinite where there is none. relu is (0, inf), relu6 is (0, 6)."""

    lo: float = -math.inf
    hi: float = math.inf


def quantized_range(lo: float, hi: float, scale: float, zero_point: int) -> tuple[int, int]:
    """Real bounds in int8 units, as LiteRT's ``CalculateActivationRangeQuantized`` rounds them (half away from
    zero)."""

    def quantized(bound: float) -> int:
        with np.errstate(over="ignore"):  # of a tiny scale; the clamp below makes any such bound the type's limit
            real = min(max(float(np.float32(bound) / np.float32(scale)), -(2.0**31)), 2.0**31)
        return zero_point + int(math.copysign(math.floor(abs(real) + 0.5), real))

    low = -128 if math.isinf(lo) else min(max(quantized(lo), -128), 127)
    high = 127 if math.isinf(hi) else min(max(quantized(hi), -128), 127)
    return low, high


class Clip(TableOperator):
    kind = "clip"
    attrs_class = ClipAttrs

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        # ReluPrepare divides in float32.
        multiplier, shift = quantize_multiplier(float(np.float32(s_x) / np.float32(s_y)))
        y = zp_y + multiply_by_quantized_multiplier(x - zp_x, multiplier, shift)
        return np.asarray(np.clip(y, *quantized_range(node.attrs.lo, node.attrs.hi, s_y, zp_y)))
