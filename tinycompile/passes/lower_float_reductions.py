"""lower_float_reductions: float means and softmaxes become sums, extremes and elementwise functions.

Until here they have the kinds of their integer forms, which fuse_qdq wants. The exponentials of a softmax are of
differences to the largest element, so that none leaves the range of floats.
"""

from __future__ import annotations

import math

import numpy as np

from tinycompile.ir.graph import Graph, Node, Op
from tinycompile.ir.types import DType
from tinycompile.ops.elementwise_operator import ElementwiseAttrs
from tinycompile.ops.mean import MeanAttrs
from tinycompile.ops.reduce import ReduceAttrs, arrangement
from tinycompile.ops.softmax import SoftmaxAttrs
from tinycompile.passes.rewriter import Rewriter


def lower_float_reductions(graph: Graph) -> Graph:
    """A graph without `mean` and `softmax` of floats."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        node = rewriter.node(op)
        floats = op.kind in ("mean", "softmax") and node.tensor(0).dtype == node.out.dtype == DType.FLOAT32
        if not floats:
            rewriter.keep(op)
        elif isinstance(op.attrs, MeanAttrs):
            _mean(rewriter, op, node, op.attrs)
        elif isinstance(op.attrs, SoftmaxAttrs):
            _softmax(rewriter, op, node, op.attrs)
    return rewriter.finish()


def _apply(rewriter: Rewriter, op: Op, function: str, *operands: str, name: str | None = None) -> str:
    return rewriter.emit("elementwise", operands, ElementwiseAttrs(function), op, dtype=DType.FLOAT32, name=name)


def _reduce(rewriter: Rewriter, op: Op, function: str, x: str, axes: set[int]) -> str:
    perm, first, end = arrangement(rewriter.tensor(x).shape, axes)
    moved = rewriter.transpose(x, perm, op)
    return rewriter.emit("reduce", [moved], ReduceAttrs(function, first, end), op, dtype=DType.FLOAT32)


def _number(rewriter: Rewriter, op: Op, value: float) -> str:
    return rewriter.constant(np.array(value, dtype=np.float32), None, f"{op.outputs[0]}/number")


def _mean(rewriter: Rewriter, op: Op, node: Node, attrs: MeanAttrs) -> None:
    x = node.tensor(0)
    axes = {a % len(x.shape) for a in attrs.axes}
    total = rewriter.reshape(_reduce(rewriter, op, "sum", x.name, axes), node.out.shape, op)
    count = _number(rewriter, op, math.prod(x.shape[a] for a in axes))
    _apply(rewriter, op, "div", total, count, name=node.out.name)


def _softmax(rewriter: Rewriter, op: Op, node: Node, attrs: SoftmaxAttrs) -> None:
    x, last = node.tensor(0), {len(node.tensor(0).shape) - 1}
    centred = _apply(rewriter, op, "sub", x.name, _reduce(rewriter, op, "max", x.name, last))
    if attrs.beta != 1.0:
        centred = _apply(rewriter, op, "mul", centred, _number(rewriter, op, attrs.beta))
    powers = _apply(rewriter, op, "exp", centred)
    _apply(rewriter, op, "div", powers, _reduce(rewriter, op, "sum", powers, last), name=node.out.name)
