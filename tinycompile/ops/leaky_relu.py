"""leaky_relu: x for x >= 0, alpha * x below, as LiteRT's integer reference kernel (a multiplier for each side)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ops.base import KernelCall, RowWindow
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

    def _multipliers(self, node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
        """Multiplier and shift from 0 on, and below."""
        s_x, s_y = tensor_quant(node, node.tensor(0))[0], tensor_quant(node, node.out)[0]
        alpha = float(np.float32(node.attrs.alpha))
        # LeakyReluPrepare computes both in float32.
        x_scale, y_scale = np.float32(s_x), np.float32(s_y)
        slope = float(x_scale * np.float32(alpha) / y_scale)
        return quantize_multiplier(float(x_scale / y_scale)), quantize_multiplier(slope)

    def int16_call(self, node: Node, elems: int) -> KernelCall:
        pairs = (value for pair in self._multipliers(node) for value in pair)
        names = ("multiplier0", "shift0", "multiplier1", "shift1")
        consts = (("elems", elems), *zip(names, pairs, strict=True))
        return KernelCall("tc_leaky_relu_s16", (RowWindow(0),), (), consts)

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        (_, zp_x), (_, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        identity, slope = self._multipliers(node)
        offset = x - zp_x
        above = multiply_by_quantized_multiplier(offset, *identity)
        below = multiply_by_quantized_multiplier(offset, *slope)
        return np.asarray(np.clip(np.where(offset >= 0, above, below) + zp_y, *node.out.dtype.int_range))
