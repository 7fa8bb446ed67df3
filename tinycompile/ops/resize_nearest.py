"""resize_nearest: each output pixel copies one input pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import ConstArray, KernelCall, Need, RowWindow
from tinycompile.ops.resize import Resize, nearest_index


class ResizeNearest(Resize):
    kind = "resize_nearest"
    scale_free = True

    def _rows(self, node: Node) -> tuple[int, ...]:
        size = node.tensor(0).form.rows
        return tuple(nearest_index(y, node.attrs, 0, size) for y in range(node.attrs.size[0]))

    def _columns(self, node: Node, out: Region) -> tuple[int, ...]:
        size = node.tensor(0).form.width
        return tuple(nearest_index(x, node.attrs, 1, size) for x in range(out.x0, out.x1))

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        rows, columns = self._rows(node)[out.y0 : out.y1], self._columns(node, out)
        return (
            Need(Region(min(rows), max(rows) + 1, min(columns), max(columns) + 1)),
            *(None for _ in node.inputs[1:]),
        )

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        rows = np.array(self._rows(node)[out.y0 : out.y1])
        columns = np.array(self._columns(node, out))
        return np.asarray(x[rows - rows.min()][:, columns - columns.min()])

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        columns = np.array(self._columns(node, out))
        arrays = (ConstArray("columns", (columns - columns.min()).astype(np.uint16)),)
        consts = (("out_w", out.cols), ("pixel_bytes", node.out.form.channels * node.out.dtype.itemsize))
        window = RowWindow(0, table=self._rows(node))
        return (KernelCall("tc_resize_nearest", (window,), arrays, consts, element="uint8_t"),)
