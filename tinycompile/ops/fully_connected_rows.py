"""fully_connected_rows: a fully connected layer over a whole flattened map, accumulated row by row.

Input (rows, width, ch), weights int8 [rows, outputs, width * ch], bias int32 [outputs] -> int32 [1,rows,1,outputs]:
the bias, and for each row so far the products of that row with its weights, wrapping. Plain integers: zero points are
in the weights and the bias already (passes/stream_reductions.py). The last row holds the layer's accumulators, which
requantize_sums rounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, KernelCall
from tinycompile.ops.packed_weights import kernel_for, packed
from tinycompile.ops.running_sums import WINDOWS, RunningSums


class FullyConnectedRows(RunningSums):
    kind = "fully_connected_rows"

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        form, w, bias = node.tensor(0).form, node.tensor(1).shape, node.tensor(2).shape
        if len(w) != 3 or (w[0], w[2]) != (form.rows, form.row_elems) or bias != w[1:2]:
            raise ShapeError(
                f"weights {list(w)} and bias {list(bias)} do not fit {form.rows} rows of {form.row_elems} inputs",
                str(node.op.source),
                "weights are [rows, outputs, inputs of a row], the bias is [outputs]",
            )
        return (1, form.rows, 1, w[1]), DType.INT32

    def unsupported(self, node: Node) -> str | None:
        types = tuple(node.tensor(k).dtype for k in range(3))
        if types != (DType.INT8, DType.INT8, DType.INT32):
            return f"types {', '.join(t.value for t in types)}: only int8, int8, int32 have a kernel"
        if not (node.tensor(1).is_const and node.tensor(2).is_const):
            return "weights computed at run time: only constant weights have kernels"
        return None

    def start(self, node: Node) -> NDArray[np.int64] | int:
        return node.const(2).astype(np.int64)

    def terms(self, node: Node, out: Region, x: Array) -> NDArray[np.int64]:
        weights = node.const(1)[out.y0 : out.y1].astype(np.float64)  # exact: products below 2^14, fewer than 2^39
        return np.asarray(np.matmul(weights, x.reshape(out.rows, -1, 1).astype(np.float64))[:, :, 0].astype(np.int64))

    def macs(self, node: Node) -> int:
        return node.tensor(1).elems

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        _, outputs, in_ch = node.tensor(1).shape
        arrays = packed(node, (ConstArray("weights", node.const(1)), ConstArray("bias", node.const(2))))
        consts = (("in_ch", in_ch), ("out_ch", outputs))
        kernel = kernel_for("tc_fully_connected_rows_s8", arrays[0])
        return (KernelCall(kernel, WINDOWS, arrays, consts, row_index=True),)
