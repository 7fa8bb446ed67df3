"""Affine quantisation: ``real = scale * (q - zero_point)``, per tensor or per channel, and its fixed-point arithmetic.

The fixed-point functions are the definition that the C kernels (``runtime_c/include/tc_requantize.h``) follow to the
bit: LiteRT's reference kernels with double rounding (gemmlowp; Jacob et al. 2017, "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference").
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Int32Array = NDArray[np.int32]
NARROW_BITS = 4


@dataclass(frozen=True)
class Quant:
    """Scales (float32 values, positive and finite) and zero points: one of each, or one per index of `axis`.

    `bits`: NARROW_BITS for a constant that the model gives in 4 bits and whose values, less their zero points, all lie
    in [-8, 7], so that flash may hold two in a byte; None: as its element type says.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None
    bits: int | None = None

    @property
    def per_channel(self) -> bool:
        return self.axis is not None

    def scalar(self) -> tuple[float, int]:
        """Scale and zero point of a per-tensor quantisation; ValueError when it is per channel."""
        if self.axis is not None or len(self.scale) != 1:
            raise ValueError("per-channel quantisation where one scale is needed")
        return self.scale[0], self.zero_point[0]

    def channels(self, count: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """Scales and zero points for `count` channels: repeated when the quantisation is per tensor."""
        if self.axis is None:
            return self.scale * count, self.zero_point * count
        if len(self.scale) != count:
            raise ValueError(f"{len(self.scale)} scales for {count} channels")
        return self.scale, self.zero_point


def offset_values(data: NDArray[np.integer], quant: Quant) -> NDArray[np.int64]:
    """`data` less its zero points, each value's that of its channel."""
    along = [1] * data.ndim
    if quant.axis is not None:
        along[quant.axis] = -1
    zero_point = np.array(quant.zero_point, dtype=np.int64).reshape(along)
    return np.asarray(data.astype(np.int64) - zero_point)


def is_narrow(data: NDArray[np.integer], quant: Quant) -> bool:
    """Whether all of `data`, less zero points, lies in [-8, 7]."""
    values = offset_values(data, quant)
    half = 1 << (NARROW_BITS - 1)
    return values.size > 0 and bool(-half <= values.min() and values.max() < half)


def narrowed(data: NDArray[np.integer], quant: Quant) -> Quant:
    """`quant` of values that a model gives in 4 bits, which is how they are stored where zero points allow it."""
    return replace(quant, bits=NARROW_BITS if is_narrow(data, quant) else None)


@lru_cache(1 << 16)
def quantize_multiplier(real: float) -> tuple[int, int]:
    """`real` as (multiplier, shift): ``real = multiplier * 2**(shift - 31)``, multiplier in [2^30, 2^31) or 0.

    LiteRT ``QuantizeMultiplier``: round half away from zero on the 31-bit mantissa; below 2^-31 the result is 0.
    """
    if real == 0.0:
        return 0, 0
    if math.isinf(real):
        return (1 << 31) - 1, 30
    mantissa, shift = math.frexp(real)
    fixed = math.floor(abs(mantissa) * (1 << 31) + 0.5)
    fixed = fixed if mantissa >= 0 else -fixed
    if abs(fixed) == 1 << 31:
        fixed //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return (1 << 31) - 1, 30
    return fixed, shift


def multiply_by_quantized_multiplier(
    x: NDArray[np.integer], multiplier: NDArray[np.integer] | int, shift: NDArray[np.integer] | int
) -> NDArray[np.int64]:
    """``x * multiplier * 2**(shift - 31)`` in LiteRT's double rounding; int32 semantics, any broadcastable shapes.

    Left shift (wrapping to int32), saturating rounding doubling high multiply (half up), then rounding divide by a
    power of two (half away from zero).
    """
    s = np.asarray(shift, dtype=np.int64)
    left, right = np.maximum(s, 0), np.maximum(-s, 0)
    shifted = (x.astype(np.int64) << left).astype(np.int32).astype(np.int64)
    high = (shifted * np.asarray(multiplier, dtype=np.int64) + (1 << 30)) >> 31
    high = np.minimum(high, 2**31 - 1)
    return rounding_divide_by_pot(high, right)


def rounding_divide_by_pot(x: NDArray[np.int64], exponent: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """``x / 2**exponent`` rounded half away from zero (gemmlowp ``RoundingDivideByPOT``)."""
    exponent = np.asarray(exponent, dtype=np.int64)
    mask = (np.int64(1) << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (x < 0)
    result: NDArray[np.int64] = (x >> exponent) + (remainder > threshold)
    return result
