"""Requantisation in one rounding, to nearest with halves away from zero: fully connected layers, rescaling pools.

LiteRT's reference fully connected kernel (``reference_integer_ops::FullyConnected`` with scales) computes
``round(acc * (s_x * s_w / s_y))`` in double precision. The integer form is ``(|acc| * m + 2^(b - 1 - shift)) >>
(b - shift)`` with the sign restored, where m has b bits: 31 for int8, 47 for int16 (C: ``tc_output_nearest_s8`` and
``_s16``). Both are monotonic in the accumulator, so they are equal when they agree on both sides of the steps that the
output's type can tell apart; `nearest_multipliers` picks the mantissa so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array
from tinycompile.ir.quant import quantize_multiplier
from tinycompile.ir.types import DType
from tinycompile.ops.base import ConstArray
from tinycompile.ops.convolution import LARGEST_SUM, clamp_range
from tinycompile.ops.float_layers import Clamp

LARGEST = {DType.INT8: 256, DType.INT16: 32768}
"""Magnitudes from here on are beyond any output, whatever its zero point."""

Int64Array = NDArray[np.int64]


def multiply_nearest(
    acc: Int64Array, multiplier: Int64Array | int, shift: Int64Array | int, dtype: DType = DType.INT8
) -> Int64Array:
    """``acc * multiplier * 2**(shift - b)`` to nearest, halves away from zero, up to `LARGEST` in magnitude; b is 31
    for an output of int8, 47 for one of int16."""
    magnitude, m, s = np.abs(acc), np.asarray(multiplier, dtype=np.int64), np.asarray(shift, dtype=np.int64)
    if dtype == DType.INT8:
        product, bits = magnitude * m, 31 - s
    else:  # the product has 86 bits: what is below 2^24 only rounds down
        product, bits = magnitude * (m >> 24) + ((magnitude * (m & 0xFFFFFF)) >> 24), 23 - s
    rounded = (product + (np.int64(1) << (bits - 1))) >> bits
    return np.asarray(np.sign(acc) * np.minimum(rounded, LARGEST[dtype]))


def requantize_nearest(
    acc: Int64Array,
    multipliers: tuple[Int64Array | int, Int64Array | int],
    zero_point: int,
    clamp: Clamp,
    dtype: DType = DType.INT8,
) -> Array:
    """Accumulators (..., channels), of int32 for int8, in the output's type."""
    sums = acc.astype(np.int32).astype(np.int64) if dtype == DType.INT8 else acc
    scaled = multiply_nearest(sums, *multipliers, dtype) + zero_point
    return np.asarray(np.clip(scaled, *clamp_range(clamp, dtype)).astype(dtype.numpy))


def nearest_multipliers(reals: Sequence[float], dtype: DType = DType.INT8) -> tuple[Int64Array, Int64Array]:
    """Multiplier and shift for each real factor, such that `multiply_nearest` equals ``round(acc * real)`` in double.

    A neighbour of the nearest mantissa is taken where an exact half would otherwise fall to the other side.
    """
    if dtype == DType.INT16:
        pairs = np.array([_wide_multiplier(float(r)) for r in reals], dtype=np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]
    factors, chosen = np.unique(np.array(reals, dtype=np.float64), return_inverse=True)
    base = np.array([quantize_multiplier(float(r)) for r in factors], dtype=np.int64).reshape(-1, 2)
    multiplier, shift = base[:, 0].copy(), base[:, 1]
    steps = np.arange(1, LARGEST[dtype] + 1) - 0.5
    with np.errstate(divide="ignore"):
        edges = np.ceil(np.minimum(steps / factors[:, None], 2.0**31))
    acc = np.clip(edges[:, :, None].astype(np.int64) + np.arange(-1, 2), 0, 2**31).reshape(factors.size, -1)
    exact = _rounded_products(acc, factors[:, None], dtype)
    open_ = np.ones(factors.size, dtype=bool)
    for offset in (0, -1, 1):
        candidate = np.clip(base[:, 0] + offset, 0, 2**31 - 1)
        agrees = (multiply_nearest(acc, candidate[:, None], shift[:, None]) == exact).all(axis=1)
        multiplier[open_ & agrees] = candidate[open_ & agrees]
        open_ &= ~agrees
    return multiplier[chosen], shift[chosen]


def nearest_arrays(multipliers: tuple[Int64Array, Int64Array], dtype: DType) -> tuple[ConstArray, ConstArray]:
    """Multipliers and shifts as the kernels of outputs of `dtype` take them."""
    multiplier, shift = multipliers
    mantissa = multiplier.astype(np.int32 if dtype == DType.INT8 else np.int64)
    return ConstArray("multiplier", mantissa), ConstArray("shift", shift.astype(np.int8))


def _rounded_products(acc: Int64Array, factors: NDArray[np.float64] | float, dtype: DType) -> Int64Array:
    """``round(acc * factors)`` in double precision, halves up, at most `LARGEST`; of accumulators from 0 on."""
    real = acc * factors
    whole = np.trunc(real)
    return np.asarray(np.minimum(whole + (real - whole >= 0.5), LARGEST[dtype]).astype(np.int64))


_WIDE_SHIFTS = (-39, 22)
"""From below, everything rounds to 0; beyond, every sum but 0 saturates."""


@lru_cache(1 << 14)
def _wide_multiplier(real: float) -> tuple[int, int]:
    """A mantissa of 47 bits and its shift. Products in double and in integers differ by less than 2^-28 of a step, so
    only steps that an accumulator comes that near are tried."""
    mantissa, shift = math.frexp(real)
    nearest = round(mantissa * (1 << 47))
    if nearest == 1 << 47:
        nearest, shift = nearest // 2, shift + 1
    if shift < _WIDE_SHIFTS[0]:
        return 0, 0
    if shift > _WIDE_SHIFTS[1]:
        return (1 << 47) - 1, _WIDE_SHIFTS[1]
    steps = np.arange(1, LARGEST[DType.INT16] + 1) - 0.5
    acc = np.clip(np.rint(steps / real)[:, None] + np.arange(-1, 2), 0, LARGEST_SUM - 1)
    near = acc[np.abs(acc * real - steps[:, None]) < 2.0**-28].astype(np.int64)
    exact = _rounded_products(near, real, DType.INT16)
    for offset in (0, -1, 1, -2, 2):
        if np.array_equal(multiply_nearest(near, nearest + offset, shift, DType.INT16), exact):
            return min(nearest + offset, (1 << 47) - 1), shift
    return nearest, shift
