"""leaky_relu: x for x >= 0, alpha * x below, as LiteRT's int8 reference kernel (a multiplier for each side)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.table import TableOperator


@dataclass(frozen=True)
class LeakyReluAttrs(Attrs):
    alpha: float = 0.01


class LeakyRelu(TableOperator):
    kind = "leaky_relu"
    attrs_class = LeakyReluAttrs

    def unsupported(self, node: Node) -> str | None:
        return "a negative slope" if node.attrs.alpha < 0 else super().unsupported(node)

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        alpha = float(np.float32(node.attrs.alpha))
        # LeakyReluPrepare computes both in float32.
        x_scale, y_scale = np.float32(s_x), np.float32(s_y)
        identity = quantize_multiplier(float(x_scale / y_scale))
        slope = quantize_multiplier(float(x_scale * np.float32(alpha) / y_scale))
        offset = x - zp_x
        above = multiply_by_quantized_multiplier(offset, *identity)
        below = multiply_by_quantized_multiplier(offset, *slope)
        return np.asarray(np.clip(np.where(offset >= 0, above, below) + zp_y, -128, 127))
