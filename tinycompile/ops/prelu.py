"""prelu: LiteRT's int8 kernel; what is negative is multiplied by its slope, each side requantised once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType
from tinycompile.ops.binary import Binary, BinaryAttrs
from tinycompile.ops.convolution import tensor_quant


class Prelu(Binary):
    """Operands: the input, made at run time, and the slopes."""

    kind = "prelu"
    attrs_class = BinaryAttrs
    types = (DType.INT8,)

    def unsupported(self, node: Node) -> str | None:
        return "a constant input" if node.tensor(0).is_const else super().unsupported(node)

    def _multipliers(self, node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
        """s_x / s_y and s_x * s_slope / s_y, in float32 as LiteRT computes them."""
        x, slope, y = (np.float32(tensor_quant(node, t)[0]) for t in (node.tensor(0), node.tensor(1), node.out))
        return quantize_multiplier(float(x / y)), quantize_multiplier(float(x * slope / y))

    def combine(self, node: Node, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        above, below = self._multipliers(node)
        kept, scaled = multiply_by_quantized_multiplier(a, *above), multiply_by_quantized_multiplier(a * b, *below)
        return np.where(a >= 0, kept, scaled) + tensor_quant(node, node.out)[1]

    def numbers(self, node: Node, first: int) -> tuple[tuple[str, int], ...]:
        above, below = self._multipliers(node)
        return (
            ("zero_point0", tensor_quant(node, node.tensor(0))[1]),
            ("zero_point1", tensor_quant(node, node.tensor(1))[1]),
            ("multiplier", above[0]),
            ("shift", above[1]),
            ("slope_multiplier", below[0]),
            ("slope_shift", below[1]),
            ("out_zero_point", tensor_quant(node, node.out)[1]),
        )
