"""gemmlowp's logistic function and hyperbolic tangent on 16-bit fixed point, as LiteRT's integer LSTM uses them.

A format Qm.n has m integer bits and n = 15 - m fractional ones; results are Q0.15. The functions give gemmlowp's
integers exactly (fixedpoint/fixedpoint.h), as tables of all 65536 arguments; ``tc_gates_s16.h`` computes the same.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.quant import rounding_divide_by_pot

I64 = NDArray[np.int64]
ONE = 32767  # 1.0 in Q0.15, saturated
ONE_Q2 = 1 << 13  # 1.0 in Q2.13
_EXPONENTIALS = (25520, 19875, 12055, 4435, 600, 11, 0)  # exp(-2^k) as Q0.15 from k = -2 on


def high_multiply(a: I64 | int, b: I64 | int) -> I64:
    """Rounding doubling high multiply of 16 bits, half up."""
    return np.asarray((np.asarray(a, dtype=np.int64) * b + (1 << 14)) >> 15)


def shift_left(x: I64, bits: int) -> I64:
    """Multiplication by 2**bits, saturating."""
    return np.asarray(np.clip(x << bits, -32768, ONE))


def _exp_quarter(a: I64) -> I64:
    """exp(a) for a in [-1/4, 0), Q0.15: a Taylor polynomial around -1/8."""
    x = a + (1 << 12)
    x2 = high_multiply(x, x)
    x3, x4 = high_multiply(x2, x), high_multiply(x2, x2)
    inner = rounding_divide_by_pot(high_multiply(rounding_divide_by_pot(x4, 2) + x3, 10923) + x2, 1)
    return np.minimum(28918 + high_multiply(28918, x + inner), ONE)


def _exp_on_negative_values(a: I64, integer_bits: int) -> I64:
    """exp(a) as Q0.15 for a <= 0 in Q<integer_bits>."""
    fractional = 15 - integer_bits
    quarter = 1 << (fractional - 2)
    remainder = (a & (quarter - 1)) - quarter
    result = _exp_quarter(remainder << integer_bits)
    rest = remainder - a
    for exponent, multiplier in enumerate(_EXPONENTIALS, start=-2):
        if integer_bits > exponent:
            result = np.where(rest & (1 << (fractional + exponent)), high_multiply(result, multiplier), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fractional + 5)), 0, result)
    return np.asarray(np.where(a == 0, ONE, result))


def _two_over_one_plus_x(a: I64) -> I64:
    """2 / (1 + a) as Q2.13 for a in [0, 1] (Q0.15): three Newton-Raphson steps from 48/17 - 32/17 d."""
    half_denominator = (a + ONE + 1) >> 1
    x = 23130 + high_multiply(half_denominator, -15420)
    for _ in range(3):
        correction = ONE_Q2 - high_multiply(half_denominator, x)
        x = x + shift_left(high_multiply(x, correction), 2)
    return np.asarray(x)


@lru_cache(1)
def _logistic_table() -> I64:
    x = np.arange(-32768, 32768, dtype=np.int64)
    positive = shift_left(_two_over_one_plus_x(_exp_on_negative_values(-np.abs(x), 3)), 1)
    return np.where(x == 0, 1 << 14, np.where(x > 0, positive, ONE - positive))


@lru_cache(8)
def _tanh_table(integer_bits: int) -> I64:
    x = np.arange(-32768, 32768, dtype=np.int64)
    exponential = _exp_on_negative_values(-np.abs(x), integer_bits + 1)  # of twice the argument
    positive = shift_left(_two_over_one_plus_x(exponential) - ONE_Q2, 2)
    return np.where(x == 0, 0, np.where(x < 0, -positive, positive))


def logistic(x: I64) -> I64:
    """1 / (1 + exp(-x)) as Q0.15 of 16-bit x in Q3.12."""
    return np.asarray(_logistic_table()[x + 32768])


def tanh(x: I64, integer_bits: int) -> I64:
    """tanh(x) as Q0.15 of 16-bit x with 0 to 6 integer bits."""
    return np.asarray(_tanh_table(integer_bits)[x + 32768])
