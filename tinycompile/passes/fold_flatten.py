"""fold_flatten: a transpose flattened into a fully connected layer goes into the order of its weights' columns."""

from __future__ import annotations

import math

from tinycompile.ir.graph import Graph, Op
from tinycompile.ops.transpose import TransposeAttrs
from tinycompile.passes.rewriter import Rewriter


def fold_flatten(graph: Graph) -> Graph:
    """A graph in which no fully connected layer reads a flattened transpose."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        move = _flattened_transpose(rewriter, op)
        if move is None:
            rewriter.keep(op)
            continue
        assert isinstance(move.attrs, TransposeAttrs)
        moved, weights = rewriter.tensor(move.outputs[0]), rewriter.tensor(op.inputs[1])
        assert weights.data is not None
        n, k = weights.shape
        inverse = [move.attrs.perm.index(d) + 1 for d in range(len(move.attrs.perm))]
        columns = weights.data.reshape(n, *moved.shape).transpose(0, *inverse).reshape(n, k)
        flat = rewriter.reshape(move.inputs[0], rewriter.tensor(op.inputs[0]).shape, op)
        inputs = (flat, rewriter.constant(columns, weights.quant, weights.name), *op.inputs[2:])
        out = rewriter.tensor(op.outputs[0])
        rewriter.emit(op.kind, inputs, op.attrs, op, quant=out.quant, dtype=out.dtype, name=out.name)
    return rewriter.finish()


def _flattened_transpose(rewriter: Rewriter, op: Op) -> Op | None:
    """The transpose whose whole output is one row of inputs of the fully connected layer `op`."""
    if op.kind != "fully_connected" or not rewriter.tensor(op.inputs[1]).is_const:
        return None
    x, weights = rewriter.tensor(op.inputs[0]), rewriter.tensor(op.inputs[1])
    reshaped = rewriter.made_by(x.name)
    if reshaped is None or reshaped.kind != "reshape" or math.prod(x.shape) != weights.shape[1]:
        return None
    if weights.quant is not None and weights.quant.axis not in (None, 0):
        return None
    move = rewriter.made_by(reshaped.inputs[0])
    return move if move is not None and move.kind == "transpose" else None
