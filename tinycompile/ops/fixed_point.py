"""gemmlowp fixed-point functions that LiteRT's softmax is built from, on int32 values held in int64 arrays.

A format Qm.n has m integer and n = 31 - m fractional bits. Every function gives gemmlowp's integers exactly
(fixedpoint/fixedpoint.h): exp on negative values, and 1/(1+x) by Newton iterations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.quant import rounding_divide_by_pot

I64 = NDArray[np.int64]
ONE = 2**31 - 1  # 1.0 in Q0.31, saturated


def wrap(x: I64) -> I64:
    """To int32 and back: two's complement wrap-around."""
    return x.astype(np.int32).astype(np.int64)


def high_multiply(a: I64 | int, b: I64 | int) -> I64:
    """Saturating rounding doubling high multiply."""
    product = (np.asarray(a, dtype=np.int64) * np.asarray(b, dtype=np.int64) + (1 << 30)) >> 31
    return np.asarray(np.minimum(product, ONE))


def shift_left(x: I64, bits: int) -> I64:
    """Multiplication by 2**bits, saturating."""
    return np.asarray(np.clip(x << bits, -(2**31), ONE))


def half_sum(a: I64 | int, b: I64 | int) -> I64:
    """(a + b) / 2 rounded half away from zero."""
    total = np.asarray(a, dtype=np.int64) + np.asarray(b, dtype=np.int64)
    sign = np.where(total >= 0, 1, -1)
    halved: I64 = (np.abs(total + sign) // 2) * np.sign(total + sign)
    return halved


def _exp_quarter(a: I64) -> I64:
    """exp(a) for a in [-1/4, 0), Q0.31."""
    x = a + (1 << 28)
    x2 = high_multiply(x, x)
    x3 = high_multiply(x2, x)
    x4 = high_multiply(x2, x2)
    x4_over_4 = rounding_divide_by_pot(x4, 2)
    inner = rounding_divide_by_pot(high_multiply(x4_over_4 + x3, 715827883) + x2, 1)
    return wrap(1895147668 + high_multiply(1895147668, x + inner))


def exp_on_negative_values(a: I64, integer_bits: int) -> I64:
    """exp(a) as Q0.31 for a <= 0 in Q<integer_bits>."""
    fractional = 31 - integer_bits
    quarter = 1 << (fractional - 2)
    remainder = (a & (quarter - 1)) - quarter
    result = _exp_quarter(shift_left(remainder, integer_bits))
    rest = remainder - a
    for exponent, multiplier in (
        (-2, 1672461947),
        (-1, 1302514674),
        (0, 790015084),
        (1, 290630308),
        (2, 39332535),
        (3, 720401),
        (4, 242),
    ):
        if integer_bits > exponent:
            bit = 1 << (fractional + exponent)
            result = np.where(rest & bit, high_multiply(result, multiplier), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fractional + 5)), 0, result)
    return np.asarray(np.where(a == 0, ONE, result))


def one_over_one_plus_x(a: I64) -> I64:
    """1 / (1 + a) as Q0.31 for a in [0, 1] (Q0.31): three Newton-Raphson steps from 48/17 - 32/17 d."""
    half_denominator = half_sum(a, ONE)
    x = 1515870810 + high_multiply(half_denominator, -1010580540)
    for _ in range(3):
        product = high_multiply(half_denominator, x)
        correction = (1 << 29) - product
        x = wrap(x + shift_left(high_multiply(x, correction), 2))
    return shift_left(x, 1)
