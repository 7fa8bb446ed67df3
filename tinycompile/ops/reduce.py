"""reduce: sum, product, extreme or its place along one run of adjacent dimensions, which stay with size 1.

Other reductions are made of these and of elementwise functions; other axes are brought together first
(`arrangement`). Integers wrap; floats are summed in their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region, row_parts
from tinycompile.ops.base import Grain, KernelCall, Need, Operator, RowWindow, whole
from tinycompile.ops.elementwise_functions import ANY, NUMBER, SUFFIX


def _last(place: Callable[..., Any]) -> Callable[[Array, int], Any]:
    return lambda x, axis: x.shape[axis] - 1 - place(np.flip(x, axis), axis=axis)


def _in_order(function: np.ufunc) -> Callable[[Array, int], Any]:
    """One element after the other in the type of the input, as the kernels do it."""
    return lambda x, axis: np.take(function.accumulate(x, axis=axis, dtype=x.dtype), -1, axis=axis)


REDUCTIONS: dict[str, tuple[Callable[..., Any], frozenset[DType]]] = {
    "sum": (_in_order(np.add), NUMBER),
    "prod": (_in_order(np.multiply), NUMBER),
    "max": (np.max, ANY),
    "min": (np.min, ANY),
    "argmax": (np.argmax, ANY),
    "argmin": (np.argmin, ANY),
    "last_argmax": (_last(np.argmax), ANY),
    "last_argmin": (_last(np.argmin), ANY),
}


@dataclass(frozen=True)
class ReduceAttrs(Attrs):
    """`function`: a name in `REDUCTIONS`, over the dimensions [first, end)."""

    function: str = "sum"
    first: int = 0
    end: int = 1


def arrangement(shape: tuple[int, ...], axes: set[int]) -> tuple[tuple[int, ...], int, int]:
    """A permutation of the dimensions after which those of `axes` are adjacent, and where they then begin and end.

    Dimensions of size 1 count for neither side; the permutation is the identity where it can be.
    """
    real = [a for a in sorted(axes) if shape[a] > 1] or sorted(axes)[:1]
    between = [a for a in range(real[0], real[-1] + 1) if a not in axes and shape[a] > 1]
    if not between:
        return tuple(range(len(shape))), real[0], real[-1] + 1
    kept = [a for a in range(len(shape)) if a not in axes]
    return (*kept, *sorted(axes)), len(kept), len(shape)


class Reduce(Operator):
    kind = "reduce"
    attrs_class = ReduceAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, attrs = node.tensor(0), node.attrs
        if x.dtype not in REDUCTIONS[attrs.function][1] or not 0 <= attrs.first < attrs.end <= len(x.shape):
            raise UnsupportedError(
                f"{attrs.function} of {x.dtype.value} over dimensions {attrs.first} to {attrs.end - 1}",
                str(node.op.source),
                "cast the input to a type that the operator has a kernel for",
            )
        shape = tuple(1 if attrs.first <= a < attrs.end else d for a, d in enumerate(x.shape))
        return shape, DType.INT64 if "arg" in attrs.function else x.dtype

    def _by_rows(self, node: Node) -> bool:
        """Whether a row of the output is made from the same row of the input."""
        parts = row_parts(node.tensor(0).shape)
        return parts == row_parts(node.out.shape) and node.attrs.first >= parts[0]

    def _view(self, node: Node, rows: int, columns: int) -> tuple[tuple[int, ...], int, int]:
        """The dimensions of a part of the input of so many rows and columns, and the reduced ones among them."""
        shape, attrs = node.tensor(0).shape, node.attrs
        if not self._by_rows(node):
            return shape, attrs.first, attrs.end
        start, channels = row_parts(shape)
        tail = (columns, *shape[channels:]) if channels > start else shape[channels:]
        return (rows, *tail), attrs.first - start + 1, attrs.end - start + 1

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        x = node.tensor(0)
        if not self._by_rows(node):
            return (Need(whole(x)),)
        columns = (out.x0, out.x1) if x.form.width == node.out.form.width else (0, x.form.width)
        return (Need(Region(out.y0, out.y1, *columns)),)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x, attrs, dtype = inputs[0], node.attrs, node.out.dtype.numpy
        assert x is not None
        shape, first, end = self._view(node, x.shape[0], x.shape[1])
        n = math.prod(shape[first:end])
        runs = x.reshape(math.prod(shape[:first]), n, math.prod(shape[end:]))
        with np.errstate(all="ignore"):
            result = np.asarray(REDUCTIONS[attrs.function][0](runs, axis=1)).astype(dtype)
        if self._by_rows(node):
            return result.reshape(out.rows, out.cols, node.out.form.channels)
        form = node.out.form
        return result.reshape(form.rows, form.width, form.channels)[out.y0 : out.y1, out.x0 : out.x1]

    def grain(self, node: Node) -> Grain:
        return Grain.ROW if self._by_rows(node) else Grain.WHOLE

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        x, attrs = node.tensor(0), node.attrs
        need = self.in_region(node, out)[0]
        assert need is not None
        shape, first, end = self._view(node, 1, need.region.cols)
        consts = (
            ("outer", math.prod(shape[:first])),
            ("n", math.prod(shape[first:end])),
            ("inner", math.prod(shape[end:])),
        )
        window = RowWindow(0, whole=not self._by_rows(node))
        kernel = f"tc_reduce_{attrs.function}_{SUFFIX[x.dtype]}"
        return (KernelCall(kernel, (window,), (), consts, include="tc_reduce.h"),)
