"""clip: the relu family, ``min(max(x, lo), hi)`` in real units, with requantisation to the output's parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType
from tinycompile.ops.base import KernelCall, RowWindow
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.requantize import requantize_call
from tinycompile.ops.table import TableOperator


@dataclass(frozen=True)
class ClipAttrs(Attrs):
    """Real bounds; infinite where there is none. relu is (0, inf), relu6 is (0, 6)."""

    lo: float = -math.inf
    hi: float = math.inf


def quantized_range(lo: float, hi: float, scale: float, zero_point: int, dtype: DType = DType.INT8) -> tuple[int, int]:
    """Real bounds in units of the integer type `dtype`, as LiteRT's ``CalculateActivationRangeQuantized`` rounds them
    (half away from zero)."""

    def quantized(bound: float) -> int:
        with np.errstate(over="ignore"):  # of a tiny scale; the clamp below makes any such bound the type's limit
            real = min(max(float(np.float32(bound) / np.float32(scale)), -(2.0**31)), 2.0**31)
        return zero_point + int(math.copysign(math.floor(abs(real) + 0.5), real))

    least, most = dtype.int_range
    low = least if math.isinf(lo) else min(max(quantized(lo), least), most)
    high = most if math.isinf(hi) else min(max(quantized(hi), least), most)
    return low, high


class Clip(TableOperator):
    kind = "clip"
    attrs_class = ClipAttrs

    def _scaling(self, node: Node) -> tuple[int, int]:
        """Multiplier and shift; ReluPrepare divides in float32."""
        s_x, s_y = tensor_quant(node, node.tensor(0))[0], tensor_quant(node, node.out)[0]
        return quantize_multiplier(float(np.float32(s_x) / np.float32(s_y)))

    def _bounds(self, node: Node) -> tuple[int, int]:
        return quantized_range(node.attrs.lo, node.attrs.hi, *tensor_quant(node, node.out), node.out.dtype)

    def int16_call(self, node: Node, elems: int) -> KernelCall:
        return requantize_call(node, self._scaling(node), self._bounds(node), RowWindow(0), (1, elems, elems, 0))

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        (_, zp_x), (_, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        y = zp_y + multiply_by_quantized_multiplier(x - zp_x, *self._scaling(node))
        return np.asarray(np.clip(y, *self._bounds(node)))
