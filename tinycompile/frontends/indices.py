"""Which index of each axis a movement takes, as lists for the operator `select`: what both formats have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinycompile.ir.graph import Array

Indices = list[Sequence[int]]


def everything(shape: Sequence[int]) -> Indices:
    """All of a tensor of `shape`."""
    return [range(d) for d in shape]


def along(shape: Sequence[int], axis: int, indices: Sequence[int]) -> Indices:
    """These indices of one axis, all of the others."""
    result = everything(shape)
    result[axis] = indices
    return result


def tiled(shape: Sequence[int], repeats: Sequence[int]) -> Indices:
    """Each axis so many times."""
    return [list(range(d)) * r for d, r in zip(shape, repeats, strict=True)]


def expanded(shape: Sequence[int], wanted: Sequence[int]) -> Indices:
    """Axes of size 1 as those of `wanted`, which has as many and the same sizes elsewhere."""
    return [range(d) if d == s else (0,) * s for d, s in zip(shape, wanted, strict=True)]


def parts(size: int, sizes: Sequence[int]) -> list[range]:
    """A dimension of `size` cut into pieces of `sizes`, which add up to it."""
    ends = np.cumsum(sizes).tolist()
    assert ends[-1] == size
    return [range(end - length, end) for end, length in zip(ends, sizes, strict=True)]


def padded(size: int, before: int, after: int, mode: str) -> Array:
    """The index of each padded position; -1 where the padding is constant. Negative amounts cut. `mode`: "constant",
    "edge", "wrap", "reflect" (the last element once) or "symmetric" (twice)."""
    at = np.arange(-before, size + after)
    if mode == "constant":
        return np.where((at < 0) | (at >= size), -1, at)
    if mode == "edge":
        return np.clip(at, 0, size - 1)
    if mode == "wrap":
        return np.asarray(at % size)
    twice = int(mode == "symmetric")
    period = max(2 * (size - 1 + twice), 1)
    folded = at % period
    return np.where(folded >= size, period - twice - folded, folded)
