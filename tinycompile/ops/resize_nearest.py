"""resize_nearest: each output pixel copies one input pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import ConstArray, KernelCall, Need, RowWindow
from tinycompile.ops.resize import Resize, columns_given, nearest_index


class ResizeNearest(Resize):
    kind = "resize_nearest"
    scale_free = True

    def _rows(self, node: Node) -> tuple[int, ...]:
        size = node.tensor(0).form.rows
        return tuple(nearest_index(y, node.attrs, 0, size) for y in range(node.attrs.size[0]))

    def _columns(self, node: Node, out: Region) -> tuple[int, ...]:
        size = node.tensor(0).form.width
        return tuple(nearest_index(x, node.attrs, 1, size) for x in range(out.x0, out.x1))

    def _places(self, node: Node, out: Region) -> NDArray[np.int64]:
        """Of the columns that it is given, those that the columns of `out` copy."""
        columns = self._columns(node, out)
        return np.array(columns, dtype=np.int64) - columns_given(node, out, columns)[0]

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        rows = self._rows(node)[out.y0 : out.y1]
        x0, x1 = columns_given(node, out, self._columns(node, out))
        return (Need(Region(min(rows), max(rows) + 1, x0, x1)), *(None for _ in node.inputs[1:]))

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        rows = np.array(self._rows(node)[out.y0 : out.y1])
        return np.asarray(x[rows - rows.min()][:, self._places(node, out)])

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        arrays = (ConstArray("columns", self._places(node, out).astype(np.uint16)),)
        consts = (("out_w", out.cols), ("pixel_bytes", node.out.form.channels * node.out.dtype.itemsize))
        window = RowWindow(0, table=self._rows(node))
        return (KernelCall("tc_resize_nearest", (window,), arrays, consts, element="uint8_t"),)
