"""select: along every axis of the output, which index of that axis of the input; a fill value where there is none.

Slices of any step, padding of every mode, expansion, tiling and gathering by constant indices are such selections. The
three parts of the row form select for themselves, so that an element's place in the input is a sum of three table
entries: row, column and channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region, row_parts
from tinycompile.ops.base import ConstArray, Grain, KernelCall, Need, Operator, RowWindow, whole

Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class SelectAttrs(Attrs):
    """`indices`: for each axis the input's index at each of the output's, negative for `value`."""

    indices: tuple[tuple[int, ...], ...] = ()
    value: float = 0


@lru_cache(256)
def _offsets(shape: tuple[int, ...], indices: tuple[tuple[int, ...], ...]) -> tuple[Offsets, Offsets, Offsets]:
    """Element offsets in the input of the output's rows, columns and channels; negative where they are filled."""
    strides = [int(np.prod(shape[d + 1 :], dtype=np.int64)) for d in range(len(shape))]
    cuts = (0, *row_parts(tuple(len(i) for i in indices)), len(indices))
    result = []
    for k in range(3):
        part = np.zeros(1, dtype=np.int64)
        for d in range(cuts[k], cuts[k + 1]):
            along = np.array(indices[d], dtype=np.int64)
            added = part[:, None] + along[None, :] * strides[d]
            part = np.where((part[:, None] < 0) | (along[None, :] < 0), -1, added).reshape(-1)
        result.append(part)
    return result[0], result[1], result[2]


class Select(Operator):
    kind = "select"
    attrs_class = SelectAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, indices = node.tensor(0), node.attrs.indices
        if len(indices) != len(x.shape) or any(max(i, default=d) >= d for i, d in zip(indices, x.shape, strict=True)):
            raise ShapeError(
                f"a selection of {[len(i) for i in indices]} from a tensor of shape {list(x.shape)} leaves it",
                str(node.op.source),
                "check the indices of this node in the exported model",
            )
        return tuple(len(i) for i in indices), x.dtype

    def _tables(self, node: Node) -> tuple[Offsets, Offsets, Offsets]:
        return _offsets(node.tensor(0).shape, node.attrs.indices)

    def _by_rows(self, node: Node) -> bool:
        """Whether a row of the output is made from one row of the input."""
        return row_parts(node.tensor(0).shape) == row_parts(node.out.shape)

    def view(self, node: Node) -> int | None:
        same = tuple(tuple(range(d)) for d in node.tensor(0).shape)
        return 0 if node.attrs.indices == same else None

    def _rows(self, node: Node, y0: int, y1: int) -> Offsets:
        """The input's row for each output row, negative where it is filled."""
        starts = self._tables(node)[0][y0:y1]
        return np.where(starts < 0, -1, starts // node.tensor(0).form.row_elems)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        x = node.tensor(0)
        if not self._by_rows(node):
            return (Need(whole(x)),)
        rows = self._rows(node, out.y0, out.y1)
        rows = rows[rows >= 0]
        return (Need(Region(int(rows.min()), int(rows.max()) + 1, 0, x.form.width)) if rows.size else None,)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        starts, columns, channels = self._tables(node)
        starts, columns = starts[out.y0 : out.y1], columns[out.x0 : out.x1]
        shape, fill = (out.rows, out.cols, node.out.form.channels), np.asarray(node.attrs.value, node.out.dtype.numpy)
        need = self.in_region(node, out)[0]
        if need is None or inputs[0] is None:
            return np.broadcast_to(fill, shape)
        at = starts[:, None, None] - need.region.y0 * node.tensor(0).form.row_elems + columns[:, None] + channels
        filled = (starts[:, None, None] < 0) | (columns[:, None] < 0) | (channels < 0)
        return np.where(filled, fill, inputs[0].reshape(-1)[np.where(filled, 0, at)])

    def grain(self, node: Node) -> Grain:
        return Grain.ROW if self._by_rows(node) else Grain.WHOLE

    def _window(self, node: Node) -> RowWindow:
        """The input row of each output row: a stride and a first row where that is all, else a table of them."""
        rows, limit = self._rows(node, 0, node.out.form.rows), node.tensor(0).form.rows
        inside = np.flatnonzero(rows >= 0)
        if inside.size:
            first = int(inside[0])
            stride = int(rows[first + 1] - rows[first]) if first + 1 in inside else 1
            plain = np.arange(rows.size) * stride + int(rows[first]) - first * stride
            if stride >= 0 and np.array_equal(np.where((plain < 0) | (plain >= limit), -1, plain), rows):
                return RowWindow(0, stride=stride, pad=first * stride - int(rows[first]))
        return RowWindow(0, table=tuple(int(r) for r in np.where(rows < 0, limit, rows)))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        starts, columns, channels = self._tables(node)
        columns, run, size = columns[out.x0 : out.x1], 1, node.out.dtype.itemsize
        if np.array_equal(channels, np.arange(channels.size) + channels[0]) and channels[0] >= 0:
            run, channels = channels.size, channels[:1]
            if np.array_equal(columns, np.arange(columns.size) * run + columns[0]) and columns[0] >= 0:
                run, columns = run * columns.size, columns[:1]

        def table(name: str, offsets: Offsets) -> ConstArray:
            return ConstArray(name, np.where(offsets < 0, -1, offsets * size).astype(np.int32))

        fill = np.frombuffer(np.asarray(node.attrs.value, node.out.dtype.numpy).tobytes(), dtype=np.uint8)
        arrays = (table("columns", columns), table("channels", channels), ConstArray("fill", fill))
        consts = (("width", columns.size), ("ch", channels.size), ("run", run), ("size", size))
        if self._by_rows(node):
            return (KernelCall("tc_select", (self._window(node),), arrays, consts, element="uint8_t"),)
        whole_arrays = (table("starts", starts), *arrays)
        counts = (("rows", starts.size), *consts)
        return (KernelCall("tc_select_whole", (RowWindow(0, whole=True),), whole_arrays, counts, element="uint8_t"),)
