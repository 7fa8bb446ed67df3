"""hard_swish: x * relu6(x + 3) / 6, as LiteRT's int8 reference kernel (16-bit fixed point, ``HardSwishParams``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ir.quant import quantize_multiplier, rounding_divide_by_pot
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.fixed_point import high_multiply
from tinycompile.ops.table import TableOperator


def _int16(x: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.clip(x, -32768, 32767))


def _high_multiply16(a: NDArray[np.int64], b: int | NDArray[np.int64], rounding: bool = True) -> NDArray[np.int64]:
    """Doubling high multiply of int16 values: gemmlowp's rounding form, or LiteRT's truncating one."""
    return _int16(high_multiply(a, b, 16) if rounding else (np.abs(a * b) >> 15) * np.sign(a * b))


def _multiplier16(real: float) -> tuple[int, int]:
    """LiteRT ``DownScaleInt32ToInt16Multiplier`` of the Q31 multiplier, and its exponent."""
    q31, exponent = quantize_multiplier(real)
    return (32767 if q31 >= 2**31 - 1 - (1 << 15) else (q31 + (1 << 15)) >> 16), exponent


class HardSwish(TableOperator):
    kind = "hard_swish"

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        hires_scale = float(np.float32(1.0 / 128.0) * np.float32(s_x))
        output_mul, output_exp = _multiplier16(hires_scale / s_y)
        relu_mul, relu_exp = _multiplier16(hires_scale / float(np.float32(3.0 / 32768.0)))
        hires = (x - zp_x) << 7
        preshift = _high_multiply16(hires, output_mul)
        relu = hires
        if relu_exp > 0:
            relu = _int16(relu << (relu_exp - 1))
        relu = _high_multiply16(relu, relu_mul)
        if relu_exp > 0:
            relu = _int16(relu << 1)
        elif relu_exp < 0:
            relu = rounding_divide_by_pot(relu, -relu_exp)
        relu = (relu + (1 << 15)) >> 1
        product = _high_multiply16(relu, preshift, rounding=False)
        y = rounding_divide_by_pot(product, -output_exp) if output_exp <= 0 else product << output_exp
        return np.asarray(np.clip(y + zp_y, -128, 127))
