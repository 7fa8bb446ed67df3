"""resize_bilinear: LiteRT's int8 kernel; weights in 1/1024 per axis, products rounded half away from zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import ConstArray, KernelCall, Need, RowWindow
from tinycompile.ops.resize import Resize, bilinear_taps


class ResizeBilinear(Resize):
    kind = "resize_bilinear"
    scale_free = True

    def _taps(self, node: Node, axis: int, start: int, stop: int) -> NDArray[np.int64]:
        """(positions, 3): first index, second index, weight of the second."""
        form = node.tensor(0).form
        size = form.width if axis else form.rows
        return np.array([bilinear_taps(i, node.attrs, axis, size) for i in range(start, stop)], dtype=np.int64)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        rows, columns = self._taps(node, 0, out.y0, out.y1), self._taps(node, 1, out.x0, out.x1)
        y, x = rows[:, :2], columns[:, :2]
        region = Region(int(y.min()), int(y.max()) + 1, int(x.min()), int(x.max()) + 1)
        return (Need(region), *(None for _ in node.inputs[1:]))

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        x = inputs[0].astype(np.int64)
        rows, columns = self._taps(node, 0, out.y0, out.y1), self._taps(node, 1, out.x0, out.x1)
        base_y, base_x = rows[:, :2].min(), columns[:, :2].min()
        total = np.zeros((out.rows, out.cols, x.shape[2]), dtype=np.int64)
        for i in (0, 1):
            wy = (rows[:, 2] if i else 1024 - rows[:, 2])[:, None, None]
            for j in (0, 1):
                wx = (columns[:, 2] if j else 1024 - columns[:, 2])[None, :, None]
                total += x[rows[:, i] - base_y][:, columns[:, j] - base_x] * wy * wx
        half = np.where(total > 0, 1 << 19, -(1 << 19))
        value = total + half
        return np.asarray((np.sign(value) * (np.abs(value) >> 20)).astype(np.int8))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        rows = self._taps(node, 0, 0, node.attrs.size[0])
        columns = self._taps(node, 1, out.x0, out.x1)
        windows = tuple(RowWindow(0, table=tuple(int(v) for v in rows[:, i])) for i in (0, 1))
        arrays = (
            ConstArray("row_weights", rows[:, 2].astype(np.int16)),
            ConstArray("columns", (columns[:, :2] - columns[:, :2].min()).astype(np.uint16)),
            ConstArray("column_weights", columns[:, 2].astype(np.int16)),
        )
        consts = (("out_w", out.cols), ("ch", node.out.form.channels))
        return (KernelCall("tc_resize_bilinear_s8", windows, arrays, consts, row_index=True),)
