"""Functions of int16 values by LiteRT's tables: straight lines between entries, whose errors half-way are halved.

`interpolation_table` is LiteRT's ``LUTPopulate`` for int16 (the tables of its softmax), `SIGMOID` the one of its
logistic function and hyperbolic tangent, which is made in the same way.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
_STEPS = 512


def _rounded(x: F64) -> F64:
    """Halves away from zero."""
    return np.asarray(np.copysign(np.floor(np.abs(x) + 0.5), x))


def interpolation_table(function: Callable[[F64], F64], low: float, high: float) -> I64:
    """513 values of `function` over [low, high], where it is within [-1, 1], in Q0.15."""
    scale = 65536 / 2.0
    at = (low + np.arange(_STEPS) * ((high - low) / _STEPS)).astype(np.float64)
    step = (high - low) / _STEPS
    value, middle, following = (function(x) * scale for x in (at, at + step / 2, at + step))
    error = _rounded((following + _rounded(value)) / 2) - _rounded(middle)
    entries = _rounded(value) - _rounded(error / 2)
    last = _rounded(function(np.array([high])) * scale)
    return np.asarray(np.clip(np.concatenate([entries, last]), -32768, 32767).astype(np.int64))


def interpolated(x: I64, table: I64) -> I64:
    """Values of a 513-entry table at int16 `x` (C: ``tc_table_s16_value``)."""
    first = 256 + (x >> 7)
    slope = (table[first + 1] - table[first]).astype(np.int16).astype(np.int64)
    return np.asarray(table[first] + ((slope * (x & 127) + 64) >> 7))


def _sigmoid_table() -> I64:
    """1 / (1 + exp(-k / 24)) for k = 0..255 in Q0.16, the last one saturated."""

    def value(k: F64) -> F64:
        return np.asarray(65536.0 / (1.0 + np.exp(-k / 24.0)))

    k = np.arange(256, dtype=np.float64)
    error = (value(k) + value(k + 1)) / 2 - value(k + 0.5)
    table = _rounded(value(k) - error / 2)
    table[255] = 65535
    return table.astype(np.int64)


SIGMOID = _sigmoid_table()


def sigmoid(x: I64, tangent: bool) -> I64:
    """1 / (1 + exp(-x)), or tanh(x), in Q0.15 for `x` in units of 1 / (3 * 4096) (C: ``tc_sigmoid_s16``)."""
    fraction, most = (8, 0xFFFF << 8) if tangent else (9, 0x7FFF << 10)
    magnitude = np.abs(x)
    entry = magnitude >> fraction
    first = np.minimum(entry, 254)
    inner = (SIGMOID[first] << fraction) + (magnitude & ((1 << fraction) - 1)) * (SIGMOID[first + 1] - SIGMOID[first])
    y = np.where(entry < 255, inner, most)
    if tangent:
        return np.asarray(np.where(x < 0, (1 << 23) + (1 << 7) - 1 - y, y - (1 << 23) + (1 << 7)) >> 8)
    return np.asarray(np.where(x < 0, (1 << 25) + (1 << 9) - 1 - y, y + (1 << 9)) >> 10)
