"""resize_bilinear: LiteRT's integer kernel, weights in 1/1024 per axis, products rounded half away from zero; of floats
between columns first and then between rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import ConstArray, KernelCall, Need, RowWindow
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.float_layers import is_float
from tinycompile.ops.resize import Resize, bilinear_taps, columns_given, linear_taps


class ResizeBilinear(Resize):
    kind = "resize_bilinear"
    scale_free = True

    def _taps(self, node: Node, axis: int, start: int, stop: int) -> tuple[NDArray[np.int64], Array]:
        """(positions, 2): first and second index; (positions,): weight of the second, in 1/1024 or as float32."""
        form = node.tensor(0).form
        size = form.width if axis else form.rows
        if is_float(node):
            found = [linear_taps(i, node.attrs, axis, size) for i in range(start, stop)]
            return np.array([(a, b) for a, b, _ in found]), np.array([w for _, _, w in found], dtype=np.float32)
        taps = np.array([bilinear_taps(i, node.attrs, axis, size) for i in range(start, stop)], dtype=np.int64)
        return taps[:, :2], taps[:, 2]

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        (y, _), (x, _) = self._taps(node, 0, out.y0, out.y1), self._taps(node, 1, out.x0, out.x1)
        region = Region(int(y.min()), int(y.max()) + 1, *columns_given(node, out, x.ravel().tolist()))
        return (Need(region), *(None for _ in node.inputs[1:]))

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        rows, row_weights = self._taps(node, 0, out.y0, out.y1)
        columns, column_weights = self._taps(node, 1, out.x0, out.x1)
        rows, columns = rows - rows.min(), columns - columns_given(node, out, columns.ravel().tolist())[0]
        if is_float(node):
            one, wy, wx = np.float32(1), row_weights[:, None, None], column_weights[:, None]
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                mixed = inputs[0][:, columns[:, 0]] * (one - wx) + inputs[0][:, columns[:, 1]] * wx
                return np.asarray(mixed[rows[:, 0]] * (one - wy) + mixed[rows[:, 1]] * wy)
        x = inputs[0].astype(np.int64)
        total = np.zeros((out.rows, out.cols, x.shape[2]), dtype=np.int64)
        for i in (0, 1):
            wy = (row_weights if i else 1024 - row_weights)[:, None, None]
            for j in (0, 1):
                wx = (column_weights if j else 1024 - column_weights)[None, :, None]
                total += x[rows[:, i]][:, columns[:, j]] * wy * wx
        half = np.where(total > 0, 1 << 19, -(1 << 19))
        value = total + half
        return np.asarray((np.sign(value) * (np.abs(value) >> 20)).astype(node.out.dtype.numpy))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        rows, row_weights = self._taps(node, 0, 0, node.attrs.size[0])
        columns, column_weights = self._taps(node, 1, out.x0, out.x1)
        columns -= columns_given(node, out, columns.ravel().tolist())[0]
        windows = tuple(RowWindow(0, table=tuple(int(v) for v in rows[:, i])) for i in (0, 1))
        weights = np.float32 if is_float(node) else np.int16
        arrays = (
            ConstArray("row_weights", row_weights.astype(weights)),
            ConstArray("columns", columns.astype(np.uint16)),
            ConstArray("column_weights", column_weights.astype(weights)),
        )
        consts = (("out_w", out.cols), ("ch", node.out.form.channels))
        kernel = f"tc_resize_bilinear_{SUFFIX[node.out.dtype]}"
        return (KernelCall(kernel, windows, arrays, consts, row_index=True),)
