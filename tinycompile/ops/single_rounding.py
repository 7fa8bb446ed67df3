"""Requantisation in one rounding, to nearest with halves away from zero: fully connected layers, rescaling pools.

LiteRT's reference fully connected kernel (``reference_integer_ops::FullyConnected`` with scales) computes
``round(acc * (s_x * s_w / s_y))`` in double precision. The integer form is ``(|acc| * m + 2^(30 - shift)) >> (31 -
shift)`` with the sign restored (C: ``tc_output_nearest_s8``). Both are monotonic in the accumulator, so they are equal
when they agree on both sides of the 256 steps that int8 can tell apart; `nearest_multipliers` picks the mantissa so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.quant import quantize_multiplier
from tinycompile.ops.convolution import clamp_range
from tinycompile.ops.float_layers import Clamp

LARGEST = 256
"""Magnitudes from here on are beyond any int8 output, whatever its zero point."""

Int64Array = NDArray[np.int64]


def multiply_nearest(acc: Int64Array, multiplier: Int64Array | int, shift: Int64Array | int) -> Int64Array:
    """``acc * multiplier * 2**(shift - 31)`` to nearest, halves away from zero, up to `LARGEST` in magnitude."""
    half = np.int64(1) << (30 - np.asarray(shift, dtype=np.int64))
    magnitude = (np.abs(acc) * np.asarray(multiplier, dtype=np.int64) + half) >> (31 - np.asarray(shift))
    return np.asarray(np.sign(acc) * np.minimum(magnitude, LARGEST))


def requantize_nearest(
    acc: Int64Array,
    multipliers: tuple[Int64Array | int, Int64Array | int],
    zero_point: int,
    clamp: Clamp,
) -> NDArray[np.int8]:
    """int32 accumulators (..., channels) -> int8."""
    scaled = multiply_nearest(acc.astype(np.int32).astype(np.int64), *multipliers) + zero_point
    return np.asarray(np.clip(scaled, *clamp_range(clamp)).astype(np.int8))


def nearest_multipliers(reals: Sequence[float]) -> tuple[Int64Array, Int64Array]:
    """Multiplier and shift for each real factor, such that `multiply_nearest` equals ``round(acc * real)`` in double.

    A neighbour of the nearest mantissa is taken where an exact half would otherwise fall to the other side.
    """
    factors, chosen = np.unique(np.array(reals, dtype=np.float64), return_inverse=True)
    base = np.array([quantize_multiplier(float(r)) for r in factors], dtype=np.int64).reshape(-1, 2)
    multiplier, shift = base[:, 0].copy(), base[:, 1]
    steps = np.arange(1, LARGEST + 1) - 0.5
    with np.errstate(divide="ignore"):
        edges = np.ceil(np.minimum(steps / factors[:, None], 2.0**31))
    acc = np.clip(edges[:, :, None].astype(np.int64) + np.arange(-1, 2), 0, 2**31).reshape(factors.size, -1)
    real = acc * factors[:, None]
    whole = np.trunc(real)
    exact = np.minimum(whole + (real - whole >= 0.5), LARGEST)
    open_ = np.ones(factors.size, dtype=bool)
    for offset in (0, -1, 1):
        candidate = np.clip(base[:, 0] + offset, 0, 2**31 - 1)
        agrees = (multiply_nearest(acc, candidate[:, None], shift[:, None]) == exact).all(axis=1)
        multiplier[open_ & agrees] = candidate[open_ & agrees]
        open_ &= ~agrees
    return multiplier[chosen], shift[chosen]
