"""tanh: LiteRT's int8 reference kernel; its output scale is 1/128 with zero point 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ir.quant import quantize_multiplier, rounding_divide_by_pot
from tinycompile.ops import fixed_point
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.logistic import INTEGER_BITS, input_radius, scaled_input
from tinycompile.ops.table import TableOperator


class Tanh(TableOperator):
    kind = "tanh"

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        if s_y == 1 / 128 and zp_y == 0:
            offset = x - zp_x
            _, shift = quantize_multiplier(s_x * (1 << (31 - INTEGER_BITS)))
            radius = input_radius(shift)
            q31 = fixed_point.tanh(scaled_input(np.clip(offset, -radius, radius), s_x), INTEGER_BITS)
            value = np.clip(rounding_divide_by_pot(q31, 24), -128, 127)
            return np.asarray(np.where(offset <= -radius, -128, np.where(offset >= radius, 127, value)))
        real = np.tanh((x - zp_x) * s_x)
        return np.asarray(np.clip(np.round(real / s_y) + zp_y, -128, 127).astype(np.int64))
