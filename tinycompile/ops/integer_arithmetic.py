"""Division, remainders, powers and shifts that are defined for all integers, as the kernels have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinycompile.ir.graph import Array


def divide(a: Array, b: Array) -> Array:
    """Towards zero for integers."""
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    quotient = np.where(b == 0, 0, a // np.where(b == 0, 1, b)).astype(a.dtype)
    inexact = np.asarray(a - quotient * b != 0) & ((a < 0) != (b < 0)) & (b != 0)
    return np.asarray(quotient + inexact.astype(a.dtype))


def whole_divisor(function: Callable[..., Any]) -> Callable[[Array, Array], Array]:
    """A remainder that is 0 for an integer divisor 0, and for -1, where NumPy's may trap."""

    def remainder(a: Array, b: Array) -> Array:
        if a.dtype.kind == "f":
            return np.asarray(function(a, b))
        no = (b == 0) | (b == -1) if a.dtype.kind == "i" else b == 0
        return np.where(no, 0, function(a, np.where(no, 1, b))).astype(a.dtype)

    return remainder


def power(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(np.power(a, b))
    a, b = np.broadcast_arrays(a, b)
    whole = np.power(a, np.where(b < 0, 0, b).astype(a.dtype))
    reciprocal = np.where(a == 1, 1, np.where(a + 1 == 0, np.where(b % 2 == 0, 1, -1), 0))
    return np.where(b < 0, reciprocal, whole).astype(a.dtype)


def shifted(shift: Callable[..., Any]) -> Callable[[Array, Array], Array]:
    """By less than 0, or by all bits or more, all bits leave; the sign fills those of a right shift."""

    def shifted(a: Array, b: Array) -> Array:
        bits = 8 * a.itemsize
        beyond = np.where(a < 0, -1, 0).astype(a.dtype) if shift is np.right_shift else np.zeros_like(a)
        return np.where((b >= 0) & (b < bits), shift(a, np.clip(b, 0, bits - 1)), beyond).astype(a.dtype)

    return shifted
