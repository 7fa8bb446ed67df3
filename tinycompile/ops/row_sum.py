"""row_sum: int8 or int16 (rows, width, ch) -> int32 [1,rows,1,ch], each channel's sum over its row and all rows above.

The values are added as they are; who reads the last row subtracts the zero points (ops/last_sums.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import KernelCall
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.running_sums import WINDOWS, RunningSums

MOST_VALUES = {DType.INT8: 1 << 23, DType.INT16: 1 << 16}
"""Values in a sum, at most: then it stays within int32, of int8 also less its zero points (at most 255 per value)."""


class RowSum(RunningSums):
    kind = "row_sum"

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        form = node.tensor(0).form
        return (1, form.rows, 1, form.channels), DType.INT32

    def unsupported(self, node: Node) -> str | None:
        x = node.tensor(0)
        if x.dtype not in MOST_VALUES:
            return f"sums of {x.dtype.value}: only those of int8 and int16 have a kernel"
        count = x.form.rows * x.form.width
        return None if count <= MOST_VALUES[x.dtype] else f"sums of {count} values: more than fit int32"

    def start(self, node: Node) -> NDArray[np.int64] | int:
        return 0

    def terms(self, node: Node, out: Region, x: Array) -> NDArray[np.int64]:
        return np.asarray(x.sum(axis=1, dtype=np.int64))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        form, kernel = node.tensor(0).form, f"tc_row_sum_{SUFFIX[node.tensor(0).dtype]}"
        return (KernelCall(kernel, WINDOWS, (), (("width", form.width), ("ch", form.channels))),)
