"""stream_reductions: reductions over whole maps become running sums over their rows.

A mean over rows and columns, an average pool whose window is the whole map and a fully connected layer over a flattened
map need all of their input for one row of output, so that the map has to be held whole. As running sums each row of the
map is added when it is made, and the last row of sums gives the output: the same integers in another order. Sums of
floats, which depend on their order, stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinycompile.ir.graph import Attrs, Graph, Node
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.avg_pool2d_of_sums import AvgPool2dOfSumsAttrs
from tinycompile.ops.convolution import bias_values, offset_weights, tensor_quant
from tinycompile.ops.float_layers import is_float
from tinycompile.ops.last_sums import AverageAttrs
from tinycompile.ops.mean import reduced_parts
from tinycompile.ops.registry import operator
from tinycompile.ops.requantize_sums import RequantizeSumsAttrs
from tinycompile.ops.row_sum import MOST_VALUES
from tinycompile.passes.rewriter import Rewriter


def stream_reductions(graph: Graph) -> Graph:
    """A graph in which no reduction reads a map of more than one row whole, as far as there are kernels."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        summed = _SUMMED.get(op.kind)
        node = rewriter.node(op)
        if (
            summed is None
            or is_float(node)
            or operator(op.kind).unsupported(node) is not None
            or not summed(rewriter, node)
        ):
            rewriter.keep(op)
    return rewriter.finish()


def _mean(rewriter: Rewriter, node: Node) -> bool:
    reduced, form = reduced_parts(node), node.tensor(0).form
    if reduced is None or not reduced[0] or not (reduced[1] or form.width == 1) or reduced[2]:
        return False
    return _average(rewriter, node, "mean_of_sums", AverageAttrs(node.out.shape, form.rows * form.width))


def _avg_pool2d(rewriter: Rewriter, node: Node) -> bool:
    form, a = node.tensor(0).form, node.attrs
    if a.kernel != (form.rows, form.width) or a.pad != (0, 0, 0, 0):
        return False
    attrs = AvgPool2dOfSumsAttrs(node.out.shape, form.rows * form.width, a.clamp)
    return _average(rewriter, node, "avg_pool2d_of_sums", attrs)


def _average(rewriter: Rewriter, node: Node, kind: str, attrs: AverageAttrs) -> bool:
    """`node`'s output from the sums over its map; False when that is one row or the sums would not fit int32."""
    x = node.tensor(0)
    if x.form.rows == 1 or attrs.count > MOST_VALUES:
        return False
    scale, zero_point = tensor_quant(node, x)
    quant = Quant((scale,), (zero_point * attrs.count,))
    sums = rewriter.emit("row_sum", [x.name], Attrs(), node.op, quant=quant, dtype=DType.INT32)
    _from_last_row(rewriter, node, kind, sums, attrs)
    return True


def _fully_connected(rewriter: Rewriter, node: Node) -> bool:
    flat, weights = node.tensor(0), node.tensor(1)
    flatten, quant, (outputs, inputs) = rewriter.made_by(flat.name), weights.quant, weights.shape
    if flatten is None or flatten.kind != "reshape" or not _read_once(rewriter.graph, flat.name):
        return False
    x = rewriter.tensor(flatten.inputs[0])
    if x.form.rows == 1 or x.elems != inputs or quant is None or quant.axis not in (None, 0):
        return False
    values = offset_weights(node, node.const(1), outputs)
    if values.min() < -128 or values.max() > 127:  # zero points make these weights int16: no kernel
        return False
    s_x, zp_x = tensor_quant(node, flat)
    by_row = values.astype(np.int8).reshape(outputs, x.form.rows, x.form.row_elems).transpose(1, 0, 2)
    bias = (bias_values(node, outputs) - zp_x * values.sum(axis=1)).astype(np.int32)
    given = node.inputs[2] if len(node.inputs) > 2 else None
    zeros, per_channel = (0,) * len(quant.scale), quant.per_channel
    operands = (
        x.name,
        rewriter.constant(by_row, Quant(quant.scale, zeros, 1 if per_channel else None, quant.bits), weights.name),
        rewriter.constant(bias, None, f"{node.out.name}/bias" if given is None else given.name),
    )
    acc = Quant(tuple(s_x * s_w for s_w in quant.scale), zeros, 3 if per_channel else None)
    sums = rewriter.emit("fully_connected_rows", operands, Attrs(), node.op, quant=acc, dtype=DType.INT32)
    _from_last_row(rewriter, node, "requantize_sums", sums, RequantizeSumsAttrs(node.out.shape, node.attrs.clamp))
    return True


def _read_once(graph: Graph, name: str) -> bool:
    """Whether one op reads a tensor, and nothing else."""
    return name not in graph.outputs and sum(name in op.inputs for op in graph.ops) == 1


def _from_last_row(rewriter: Rewriter, node: Node, kind: str, sums: str, attrs: Attrs) -> None:
    """`node`'s output, under its name, by operator `kind` from the last row of `sums`."""
    rewriter.emit(kind, [sums], attrs, node.op, quant=node.out.quant, name=node.out.name)


_SUMMED: dict[str, Callable[[Rewriter, Node], bool]] = {
    "mean": _mean,
    "avg_pool2d": _avg_pool2d,
    "fully_connected": _fully_connected,
}
