"""Calibrators: from a histogram of what a tensor held to the range that int8 is spread over; int16 holds all of it.

One family: each is a function of the same histogram. A range always holds 0, which padding and ReLU need exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType

BINS = 2048
LEVELS = 256
PERCENTILE = 99.99
_CLIPPED_AT_MOST = 0.9  # of the range, by those that search
_TRIED = 46  # ends of a range, on either side
_VALUES_PER_BIN = 16  # fewer say nothing about a distribution
_NEXT_TO_NOTHING = 1e-9
F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often values fell into each of `counts.size` equal bins over [low, high]; both are values that occurred."""

    low: float
    high: float
    counts: F64

    @property
    def centres(self) -> F64:
        width = (self.high - self.low) / self.counts.size
        return np.asarray(self.low + width * (np.arange(self.counts.size) + 0.5))


def quant_of_range(low: float, high: float) -> Quant:
    """int8 over [low, high], widened to hold 0; 0 is exact. A range of nothing gets scale 1."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / (LEVELS - 1)))
    if scale < float(np.finfo(np.float32).tiny):
        return Quant((1.0,), (0,))
    return Quant((scale,), (int(np.clip(round(-128 - low / scale), -128, 127)),))


def symmetric_quant(low: float, high: float) -> Quant:
    """int16 over [low, high]: zero point 0. A range of nothing gets scale 1."""
    scale = float(np.float32(max(-low, high, 0.0) / DType.INT16.int_range[1]))
    return Quant((scale if scale >= float(np.finfo(np.float32).tiny) else 1.0,), (0,))


def stored_values(quant: Quant, real: Array, dtype: DType = DType.INT8) -> Array:
    """`real` in the integer type `dtype`, quantised per tensor (ONNX QuantizeLinear)."""
    scale, zero_point = quant.scalar()
    stored = np.rint(real / np.float32(scale)) + zero_point
    return np.asarray(np.clip(stored, *dtype.int_range).astype(dtype.numpy))


def _min_max(h: Histogram) -> tuple[float, float]:
    return h.low, h.high


def _percentile(h: Histogram) -> tuple[float, float]:
    """Leaves out the same share of values at either end."""
    share = np.cumsum(h.counts) / h.counts.sum()
    tail = (1 - PERCENTILE / 100) / 2
    first, last = int(np.searchsorted(share, tail)), int(np.searchsorted(share, 1 - tail))
    width = (h.high - h.low) / h.counts.size
    return h.low + width * first, h.low + width * (min(last, h.counts.size - 1) + 1)


def squared_error(h: Histogram, low: float, high: float) -> float:
    """Mean squared error of the histogram's values in int8 over [low, high]."""
    scale, zero_point = quant_of_range(low, high).scalar()
    x = h.centres
    stored = np.clip(np.rint(x / scale) + zero_point, -128, 127)
    return float((h.counts * (scale * (stored - zero_point) - x) ** 2).sum() / h.counts.sum())


def _ends(h: Histogram) -> tuple[F64, F64]:
    """The low and high ends that are tried, the whole range first."""
    kept = 1 - np.linspace(0, _CLIPPED_AT_MOST, _TRIED)
    return min(h.low, 0.0) * kept, max(h.high, 0.0) * kept


def _least_squared_error(h: Histogram) -> tuple[float, float]:
    """One end after the other, until neither moves."""
    lows, highs = _ends(h)
    low, high = float(lows[0]), float(highs[0])
    for _ in range(4):
        before = low, high
        if high > 0:
            high = float(min(highs, key=lambda v: squared_error(h, low, float(v))))
        if low < 0:
            low = float(min(lows, key=lambda v: squared_error(h, float(v), high)))
        if (low, high) == before:
            break
    return low, high


def _divergence(p: F64, q: F64) -> float:
    """Kullback-Leibler, of distributions that need not be normalised; what q lacks counts as next to nothing."""
    p, q = p / p.sum(), np.maximum(q / q.sum(), _NEXT_TO_NOTHING)
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


def _least_divergence(h: Histogram) -> tuple[float, float]:
    """As TensorRT's entropy calibration (S. Migacz, GTC 2017), for asymmetric ranges: the part of the histogram within
    the range, with what lies outside added to its ends, against itself in 256 levels. Zeros, of which ReLU makes many,
    do not count: they are exact in any range. A few values are no distribution: of those it is the extremes."""
    width = (h.high - h.low) / h.counts.size
    counts = h.counts.copy()
    counts[min(max(int(-h.low / width), 0), counts.size - 1)] = 0
    if counts.sum() < _VALUES_PER_BIN * BINS:
        return h.low, h.high
    furthest = max(-h.low, h.high) * (1 - np.linspace(0, _CLIPPED_AT_MOST, _TRIED))
    best, found = float("inf"), (h.low, h.high)
    for low, high in zip(np.maximum(h.low, -furthest), np.minimum(h.high, furthest), strict=True):
        first = max(int((low - h.low) / width), 0)
        end = min(int(np.ceil((high - h.low) / width)), h.counts.size)
        inside = counts[first:end]
        if inside.size < LEVELS or inside.sum() == 0:
            continue
        clipped = inside.copy()
        clipped[0] += counts[:first].sum()
        clipped[-1] += counts[end:].sum()
        level = np.arange(inside.size) * LEVELS // inside.size
        total, filled = np.bincount(level, inside, LEVELS), np.bincount(level, inside > 0, LEVELS)
        spread = np.where(inside > 0, (total / np.maximum(filled, 1))[level], 0.0)
        divergence = _divergence(clipped, spread)
        if divergence < best:
            best, found = divergence, (float(low), float(high))
    return found


def calibrated(h: Histogram, calibrator: str, dtype: DType = DType.INT8) -> Quant:
    """The quantisation that a calibrator of `CALIBRATORS` finds. Of int16 it is over the extremes: its steps are so
    fine that clipping gains nothing."""
    if dtype == DType.INT16:
        return symmetric_quant(h.low, h.high)
    return quant_of_range(*(CALIBRATORS[calibrator](h) if h.low < h.high else (h.low, h.high)))


CALIBRATORS: dict[str, Callable[[Histogram], tuple[float, float]]] = {
    "minmax": _min_max,
    "percentile": _percentile,
    "mse": _least_squared_error,
    "entropy": _least_divergence,
}
