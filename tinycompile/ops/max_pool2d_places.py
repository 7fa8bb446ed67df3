"""max_pool2d_places: where the largest value of each window is (ONNX MaxPool, Indices), of equal ones the first.

A place is the element's number in the map stored plane by plane, [C,H,W], or with its columns one after the other,
[C,W,H].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import KernelCall, Need
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.geometry import row_windows
from tinycompile.ops.pooling import Pool, PoolAttrs


@dataclass(frozen=True)
class MaxPool2dPlacesAttrs(PoolAttrs):
    """`by_columns`: places count the columns of a plane one after the other."""

    by_columns: bool = False


class MaxPool2dPlaces(Pool):
    kind = "max_pool2d_places"
    attrs_class = MaxPool2dPlacesAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        return super().infer(node)[0], DType.INT64

    def unsupported(self, node: Node) -> str | None:
        dtype = node.tensor(0).dtype
        known = dtype in (DType.FLOAT32, DType.INT8)
        return None if known else f"places of the largest {dtype.value}: only float32 and int8 have a kernel"

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        return None  # places are those of the whole map

    def _steps(self, node: Node) -> tuple[int, int]:
        """Between the places of two rows, and of two columns."""
        form = node.tensor(0).form
        return (1, form.rows) if node.attrs.by_columns else (form.width, 1)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        a, need, x = node.attrs, self.in_region(node, out)[0], inputs[0]
        assert need is not None
        assert x is not None
        form, (row_step, column_step) = node.tensor(0).form, self._steps(node)
        planes = np.arange(form.channels) * form.rows * form.width
        best = np.zeros((out.rows, out.cols, form.channels), dtype=x.dtype)
        places = np.full(best.shape, -1, dtype=np.int64)
        for ky in range(a.kernel[0]):
            rows = np.arange(out.y0, out.y1) * a.stride[0] - a.pad[0] + ky * a.dilation[0]
            for kx in range(a.kernel[1]):
                columns = np.arange(out.x0, out.x1) * a.stride[1] - a.pad[2] + kx * a.dilation[1]
                inside = ((rows >= 0) & (rows < form.rows))[:, None] & ((columns >= 0) & (columns < form.width))
                y = np.clip(rows - need.region.y0, 0, len(x) - 1)
                tap = x[y][:, np.clip(columns - need.region.x0, 0, x.shape[1] - 1)]
                better = inside[:, :, None] & ((places < 0) | ~((tap <= best) | (best != best)))
                at = (rows * row_step)[:, None, None] + (columns * column_step)[:, None] + planes
                best, places = np.where(better, tap, best), np.where(better, at, places)
        return places

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        a, form, need = node.attrs, node.tensor(0).form, self.in_region(node, out)[0]
        assert need is not None
        row_step, column_step = self._steps(node)
        consts = (
            *self.window_consts(node, out),
            ("dilation_w", a.dilation[1]),
            ("stride_h", a.stride[0]),
            ("pad_top", a.pad[0]),
            ("dilation_h", a.dilation[0]),
            ("first_column", need.region.x0),
            ("plane", form.rows * form.width),
            ("row_step", row_step),
            ("column_step", column_step),
        )
        windows = row_windows(a.kernel, a.stride, a.dilation, a.pad)
        kernel = f"tc_max_pool2d_places_{SUFFIX[node.tensor(0).dtype]}"
        return (KernelCall(kernel, windows, (), consts, row_index=True, include="tc_max_pool2d_places.h"),)
