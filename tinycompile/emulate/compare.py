"""Comparison of results: bit-exact or not, how many elements differ and by how much, the first op that differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import CheckFailed, one_line
from tinycompile.ir.graph import Array, Graph, Op


@dataclass(frozen=True)
class Comparison:
    """`max_difference`: the largest absolute difference, in LSB for integers, in the value's own unit for floats (inf
    where only one side is NaN). `first`: flat index of the first element that differs, with both values."""

    elems: int
    differing: int
    max_difference: float
    first: tuple[int, float, float] | None

    @property
    def exact(self) -> bool:
        """Whether the two are equal to the bit."""
        return self.differing == 0


@dataclass(frozen=True)
class LayerDifference:
    """An operator whose output differs although it is the first in order to do so."""

    op: Op
    tensor: str
    comparison: Comparison


def compare_arrays(got: Array, want: Array) -> Comparison:
    """Element by element, to the bit. Raises CheckFailed when dtype or number of elements differ; shapes may."""
    if got.dtype != want.dtype or got.size != want.size:
        raise CheckFailed(
            f"{got.dtype} {list(got.shape)} cannot be compared with {want.dtype} {list(want.shape)}",
            "comparison of results",
            "compare arrays of the same type and number of elements",
        )
    a, b = np.ascontiguousarray(got).reshape(-1), np.ascontiguousarray(want).reshape(-1)
    raw = np.dtype(f"u{a.dtype.itemsize}")
    unequal = np.asarray(a.view(raw) != b.view(raw))
    count = int(np.count_nonzero(unequal))
    if count == 0:
        return Comparison(a.size, 0, 0.0, None)
    x, y = a[unequal].astype(np.float64), b[unequal].astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = np.abs(x - y)
    distance = np.where(np.isnan(x) & np.isnan(y) | (x == y), 0.0, np.where(np.isnan(distance), np.inf, distance))
    return Comparison(a.size, count, float(distance.max()), (int(np.argmax(unequal)), float(x[0]), float(y[0])))


def first_difference(
    graph: Graph, got: Mapping[str, Array], want: Mapping[str, Array], tolerance: float = 0.0
) -> LayerDifference | None:
    """The first op, in the order of ``graph.ops``, with an output in both maps that differs by more than `tolerance`
    (LSB for integers; with 0 it must be equal to the bit)."""
    for op in graph.ops:
        for name in op.outputs:
            if name in got and name in want:
                comparison = compare_arrays(got[name], want[name])
                if not comparison.exact and (tolerance == 0 or comparison.max_difference > tolerance):
                    return LayerDifference(op, name, comparison)
    return None


def require_equal(got: Mapping[str, Array], want: Mapping[str, Array], where: str, tolerance: float = 0.0) -> None:
    """Raises CheckFailed for the first array of `want` from which `got` differs by more than `tolerance`."""
    for name, expected in want.items():
        comparison = compare_arrays(got[name], expected)
        if comparison.exact or (tolerance > 0 and comparison.max_difference <= tolerance):
            continue
        assert comparison.first is not None
        at, a, b = comparison.first
        raise CheckFailed(
            f"{comparison.differing} of {comparison.elems} elements of '{one_line(name, 80)}' differ, "
            f"by up to {comparison.max_difference:g}; element {at} is {a:g} instead of {b:g}",
            where,
            "run `tinycompile verify` to find the first layer that differs",
        )
