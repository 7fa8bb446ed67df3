"""softmax over the last axis: LiteRT's int8 reference kernel (gemmlowp fixed point), its exponentials in a table.

The output is 1/256 with zero point -128 in TFLite. For other output quantisations (ONNX) the same probability, kept to
23 fractional bits, is requantised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier, rounding_divide_by_pot
from tinycompile.ir.types import DType, Region
from tinycompile.ops import fixed_point
from tinycompile.ops.base import ConstArray, Grain, KernelCall, Need, Operator, RowWindow
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.elementwise import int8_unsupported, same_region

DIFF_BITS = 5  # integer bits of the scaled difference to the maximum
SUM_BITS = 12  # integer bits of the sum of exponentials
PROBABILITY_BITS = 23  # fractional bits kept for an output that is not 1/256


@dataclass(frozen=True)
class SoftmaxAttrs(Attrs):
    beta: float = 1.0


class Softmax(Operator):
    kind = "softmax"
    attrs_class = SoftmaxAttrs

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        return node.tensor(0).shape, node.tensor(0).dtype

    def unsupported(self, node: Node) -> str | None:
        return int8_unsupported(node)

    def exponentials(self, node: Node) -> NDArray[np.int64]:
        """exp(beta * s_x * -d) as Q0.31 for d = 0..255, and 0 where LiteRT leaves the term out (too small)."""
        s_x, _ = tensor_quant(node, node.tensor(0))
        real = min(float(np.float32(node.attrs.beta)) * s_x * (1 << (31 - DIFF_BITS)), 2.0**31 - 1)
        multiplier, shift = quantize_multiplier(real)
        radius = math.floor(math.ldexp((1 << DIFF_BITS) - 1, 31 - DIFF_BITS - shift))
        diff = -np.arange(256, dtype=np.int64)
        inside = diff >= -radius
        scaled = multiply_by_quantized_multiplier(np.where(inside, diff, 0), multiplier, shift)
        return np.asarray(np.where(inside, fixed_point.exp_on_negative_values(scaled, DIFF_BITS, 32), 0))

    def _requantize(self, node: Node) -> tuple[int, int] | None:
        """Multiplier and shift from the kept probability to the output, None for LiteRT's own 1/256."""
        s_y, zp_y = tensor_quant(node, node.out)
        if (s_y, zp_y) == (1 / 256, -128):
            return None
        return quantize_multiplier(2.0**-PROBABILITY_BITS / s_y)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return same_region(node, out)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        x = inputs[0].astype(np.int64)
        exponentials = self.exponentials(node)[x.max(axis=2, keepdims=True) - x]
        total = rounding_divide_by_pot(exponentials, SUM_BITS).sum(axis=2, keepdims=True)
        zeros = 31 - np.floor(np.log2(total)).astype(np.int64)  # leading zeros of the 32-bit sum
        scale = fixed_point.one_over_one_plus_x((total << zeros) - (1 << 31), 32)
        over_unit = SUM_BITS - zeros
        product = fixed_point.high_multiply(scale, exponentials, 32)
        pair = self._requantize(node)
        _, zp_y = tensor_quant(node, node.out)
        if pair is None:
            y = rounding_divide_by_pot(product, over_unit + 23) + zp_y
        else:
            y = multiply_by_quantized_multiplier(rounding_divide_by_pot(product, over_unit + 8), *pair) + zp_y
        return np.asarray(np.clip(np.where(exponentials > 0, y, zp_y), -128, 127).astype(np.int8))

    def in_place(self, node: Node) -> tuple[int, ...]:
        return (0,)

    def grain(self, node: Node) -> Grain:
        return Grain.FLAT

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        pair = self._requantize(node)
        multiplier, shift = pair if pair is not None else (0, 0)
        consts = (
            ("pixels", out.rows * out.cols),
            ("ch", node.out.form.channels),
            ("keep_bits", 8 if pair is not None else 23),
            ("multiplier", multiplier),
            ("shift", shift),
            ("out_zero_point", tensor_quant(node, node.out)[1]),
        )
        arrays = (ConstArray("exponentials", self.exponentials(node).astype(np.int32)),)
        return (KernelCall("tc_softmax_s8", (RowWindow(0),), arrays, consts),)
