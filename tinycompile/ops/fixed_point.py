"""gemmlowp's fixed-point functions, on integers of 32 or 16 bits held in int64 arrays.

LiteRT's softmax is built of those of 32 bits, its integer LSTM of those of 16. A format Qm.n has m integer bits and
n = bits - 1 - m fractional ones. Every function gives gemmlowp's integers exactly (fixedpoint/fixedpoint.h): exp on
negative values, 1 / (1 + x) by Newton iterations, and what is made of these.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.quant import rounding_divide_by_pot

I64 = NDArray[np.int64]
# exp(-2^k) as Q0.31 from k = -2 on.
_EXPONENTIALS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def one(bits: int) -> int:
    """1.0 without integer bits, saturated."""
    return (1 << (bits - 1)) - 1


def _constant(q31: int, bits: int) -> int:
    """A constant of 32 bits in as many as asked for (``RescaleConstantInitializer``)."""
    return int(rounding_divide_by_pot(np.asarray(q31, dtype=np.int64), 32 - bits))


def wrap(x: I64, bits: int) -> I64:
    """Two's complement wrap-around."""
    return x.astype(f"int{bits}").astype(np.int64)


def high_multiply(a: I64 | int, b: I64 | int, bits: int) -> I64:
    """Saturating rounding doubling high multiply."""
    product = (np.asarray(a, dtype=np.int64) * np.asarray(b, dtype=np.int64) + (1 << (bits - 2))) >> (bits - 1)
    return np.asarray(np.minimum(product, one(bits)))


def shift_left(x: I64, places: int, bits: int) -> I64:
    """Multiplication by 2**places, saturating."""
    return np.asarray(np.clip(x << places, -one(bits) - 1, one(bits)))


def half_sum(a: I64 | int, b: I64 | int) -> I64:
    """(a + b) / 2 rounded half away from zero."""
    total = np.asarray(a, dtype=np.int64) + np.asarray(b, dtype=np.int64)
    sign = np.where(total >= 0, 1, -1)
    halved: I64 = (np.abs(total + sign) // 2) * np.sign(total + sign)
    return halved


def _exp_quarter(a: I64, bits: int) -> I64:
    """exp(a) for a in [-1/4, 0), without integer bits: a Taylor polynomial around -1/8."""
    first, third = _constant(1895147668, bits), _constant(715827883, bits)
    x = a + (1 << (bits - 4))
    x2 = high_multiply(x, x, bits)
    x3 = high_multiply(x2, x, bits)
    x4_over_4 = rounding_divide_by_pot(high_multiply(x2, x2, bits), 2)
    inner = rounding_divide_by_pot(high_multiply(x4_over_4 + x3, third, bits) + x2, 1)
    result = first + high_multiply(first, x + inner, bits)
    return np.minimum(result, one(bits)) if bits == 16 else wrap(result, bits)


def exp_on_negative_values(a: I64, integer_bits: int, bits: int) -> I64:
    """exp(a) without integer bits for a <= 0 in Q<integer_bits>."""
    fractional = bits - 1 - integer_bits
    quarter = 1 << (fractional - 2)
    remainder = (a & (quarter - 1)) - quarter
    result = _exp_quarter(shift_left(remainder, integer_bits, bits), bits)
    rest = remainder - a
    for exponent, multiplier in enumerate(_EXPONENTIALS, start=-2):
        if integer_bits > exponent:
            bit = 1 << (fractional + exponent)
            result = np.where(rest & bit, high_multiply(result, _constant(multiplier, bits), bits), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fractional + 5)), 0, result)
    return np.asarray(np.where(a == 0, one(bits), result))


def _two_over_one_plus_x(a: I64, bits: int) -> I64:
    """2 / (1 + a) in Q2 for a in [0, 1] without integer bits: three Newton-Raphson steps from 48/17 - 32/17 d."""
    half_denominator = half_sum(a, one(bits))
    x = _constant(1515870810, bits) + high_multiply(half_denominator, _constant(-1010580540, bits), bits)
    for _ in range(3):
        correction = (1 << (bits - 3)) - high_multiply(half_denominator, x, bits)
        x = wrap(x + shift_left(high_multiply(x, correction, bits), 2, bits), bits)
    return np.asarray(x)


def one_over_one_plus_x(a: I64, bits: int) -> I64:
    """1 / (1 + a) for a in [0, 1], both without integer bits."""
    return shift_left(_two_over_one_plus_x(a, bits), 1, bits)


@lru_cache(1)
def _logistic16() -> I64:
    x = np.arange(-32768, 32768, dtype=np.int64)
    positive = one_over_one_plus_x(exp_on_negative_values(-np.abs(x), 3, 16), 16)
    return np.where(x == 0, 1 << 14, np.where(x > 0, positive, one(16) - positive))


@lru_cache(8)
def _tanh16(integer_bits: int) -> I64:
    x = np.arange(-32768, 32768, dtype=np.int64)
    exponential = exp_on_negative_values(-np.abs(x), integer_bits + 1, 16)  # of twice the argument
    positive = shift_left(_two_over_one_plus_x(exponential, 16) - (1 << 13), 2, 16)
    return np.where(x == 0, 0, np.where(x < 0, -positive, positive))


def logistic16(x: I64) -> I64:
    """1 / (1 + exp(-x)) as Q0.15 of 16-bit x in Q3.12 (C: ``tc_logistic_s16``)."""
    return np.asarray(_logistic16()[x + 32768])


def tanh16(x: I64, integer_bits: int) -> I64:
    """tanh(x) as Q0.15 of 16-bit x with 0 to 6 integer bits (C: ``tc_tanh_s16``)."""
    return np.asarray(_tanh16(integer_bits)[x + 32768])
