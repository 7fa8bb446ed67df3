"""squared_difference: LiteRT's int8 kernel; operands shifted left by 7, scaled to a common scale, subtracted, squared,
rescaled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ops.binary import Binary, BinaryAttrs
from tinycompile.ops.convolution import tensor_quant

LEFT_SHIFT = 7


class SquaredDifference(Binary):
    kind = "squared_difference"
    attrs_class = BinaryAttrs
    kernel = "tc_squared_difference_s8"

    def _multipliers(self, node: Node) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Multiplier and shift of the first operand, the second, and the output."""
        s_a, s_b, s_y = (tensor_quant(node, t)[0] for t in (node.tensor(0), node.tensor(1), node.out))
        twice_max = 2.0 * max(s_a, s_b)
        return (
            quantize_multiplier(s_a / twice_max),
            quantize_multiplier(s_b / twice_max),
            quantize_multiplier(twice_max * twice_max / ((1 << 2 * LEFT_SHIFT) * s_y)),
        )

    def combine(self, node: Node, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        m_a, m_b, m_y = self._multipliers(node)
        scaled_a = multiply_by_quantized_multiplier(a << LEFT_SHIFT, *m_a)
        scaled_b = multiply_by_quantized_multiplier(b << LEFT_SHIFT, *m_b)
        return multiply_by_quantized_multiplier((scaled_a - scaled_b) ** 2, *m_y) + tensor_quant(node, node.out)[1]

    def numbers(self, node: Node, first: int) -> tuple[tuple[str, int], ...]:
        multipliers = self._multipliers(node)
        numbers: list[tuple[str, int]] = []
        for position, k in enumerate((first, 1 - first)):
            multiplier, shift = multipliers[k]
            numbers += [
                (f"zero_point{position}", tensor_quant(node, node.tensor(k))[1]),
                (f"multiplier{position}", multiplier),
                (f"shift{position}", shift),
            ]
        multiplier, shift = multipliers[2]
        _, zero_point = tensor_quant(node, node.out)
        return (*numbers, ("multiplier", multiplier), ("shift", shift), ("out_zero_point", zero_point))
