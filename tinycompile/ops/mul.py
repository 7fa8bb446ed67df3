"""mul: LiteRT's int8 kernel; the product of the offset operands, requantised once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ops.binary import Binary, BinaryAttrs
from tinycompile.ops.convolution import tensor_quant


@dataclass(frozen=True)
class MulAttrs(BinaryAttrs):
    """Of a product, of floats as well."""


class Mul(Binary):
    kind = "mul"
    attrs_class = MulAttrs
    kernel = "tc_mul_s8"

    def _multiplier(self, node: Node) -> tuple[int, int]:
        """s_a * s_b / s_y, in float32 as LiteRT computes it."""
        s_a, s_b, s_y = (np.float32(tensor_quant(node, t)[0]) for t in (node.tensor(0), node.tensor(1), node.out))
        return quantize_multiplier(float(s_a * s_b / s_y))

    def combine(self, node: Node, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(
            multiply_by_quantized_multiplier(a * b, *self._multiplier(node)) + tensor_quant(node, node.out)[1]
        )

    def numbers(self, node: Node, first: int) -> tuple[tuple[str, int], ...]:
        multiplier, shift = self._multiplier(node)
        return (
            ("zero_point0", tensor_quant(node, node.tensor(first))[1]),
            ("zero_point1", tensor_quant(node, node.tensor(1 - first))[1]),
            ("multiplier", multiplier),
            ("shift", shift),
            ("out_zero_point", tensor_quant(node, node.out)[1]),
        )
