"""What operators that make their output of the last row of running sums share (ops/running_sums.py).

Input: int32 [1,rows,1,ch]. Its scale and zero points are those of the last row, which is all that is read: the real sum
is ``scale * (sum - zero_point)``. The rows above are parts of it.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Need, Operator, RowWindow
from tinycompile.ops.elementwise import ACTIVATIONS


def last_row_windows(node: Node) -> tuple[RowWindow, ...]:
    """The kernel's row of sums, whichever output row it makes."""
    return (RowWindow(0, stride=0, pad=1 - node.tensor(0).form.rows),)


@dataclass(frozen=True)
class LastSumsAttrs(Attrs):
    """`shape`: the output's, whose last dimension has all of its elements."""

    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class AverageAttrs(LastSumsAttrs):
    """`count`: the values in one sum."""

    count: int = 1


class LastSums(Operator):
    """int32 [1,rows,1,ch] -> int8 or int16 (1, 1, ch)."""

    attrs_class = LastSumsAttrs

    @abc.abstractmethod
    def values(self, node: Node, sums: NDArray[np.int64]) -> Array:
        """The output of the sums (ch,)."""

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, shape = node.tensor(0), tuple(node.attrs.shape)
        fits = math.prod(shape) == x.form.channels == (shape[-1] if shape else 1)
        if x.form.width != 1 or not fits:
            raise ShapeError(
                f"cannot make {list(shape)} of the last row of sums {list(x.shape)}",
                str(node.op.source),
                "both must hold the same number of channels",
            )
        return shape, node.out.dtype

    def unsupported(self, node: Node) -> str | None:
        pair = node.tensor(0).dtype, node.out.dtype
        if pair[0] == DType.INT32 and pair[1] in ACTIVATIONS:
            return None
        return f"sums of {pair[0].value} to {pair[1].value}: only int32 to int8 and int16 has a kernel"

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        rows = node.tensor(0).form.rows
        return (Need(Region(rows - 1, rows, out.x0, out.x1)),)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        values = self.values(node, inputs[0].reshape(-1).astype(np.int64))
        return values.reshape(out.rows, out.cols, node.out.form.channels)

    def in_place(self, node: Node) -> tuple[int, ...]:
        """The output's element k is written after sum k is read, at or below it: a quarter of the sums' size. Only
        bytes may alias integers of other sizes in C."""
        return (0,) if node.out.dtype == DType.INT8 else ()
