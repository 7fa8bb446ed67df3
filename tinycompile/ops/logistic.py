"""logistic (sigmoid): LiteRT's int8 reference kernel; its output scale is 1/256 with zero point -128."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier, rounding_divide_by_pot
from tinycompile.ops import fixed_point
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.table import TableOperator

INTEGER_BITS = 4


def scaled_input(x: NDArray[np.int64], scale: float) -> NDArray[np.int64]:
    """Offset inputs as Q4.27 int32, as LiteRT's prepare step scales them (multiplier of scale * 2^27)."""
    multiplier, shift = quantize_multiplier(scale * (1 << (31 - INTEGER_BITS)))
    return multiply_by_quantized_multiplier(x, multiplier, shift)


def input_radius(shift: int) -> int:
    """Largest offset input that does not overflow Q4.27 (LiteRT ``CalculateInputRadius``)."""
    return math.floor(math.ldexp((1 << INTEGER_BITS) - 1, 31 - INTEGER_BITS - shift))


class Logistic(TableOperator):
    kind = "logistic"

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        if s_y == 1 / 256 and zp_y == -128:
            offset = x - zp_x
            _, shift = quantize_multiplier(s_x * (1 << (31 - INTEGER_BITS)))
            radius = input_radius(shift)
            q31 = fixed_point.logistic(scaled_input(np.clip(offset, -radius, radius), s_x), INTEGER_BITS)
            value = np.where(offset <= -radius, -128, rounding_divide_by_pot(q31, 23) - 128)
            return np.asarray(np.clip(np.where(offset >= radius, 127, value), -128, 127))
        # Other output quantisations come from ONNX, whose operator is the real function rounded half to even.
        real = 1.0 / (1.0 + np.exp(-(x - zp_x) * s_x))
        return np.asarray(np.clip(np.round(real / s_y) + zp_y, -128, 127).astype(np.int64))
