"""pool_means: the mean of a float map over its rows and columns is average pooling of all of it.

Other means stay for `lower_float_reductions`.
"""

from __future__ import annotations

from tinycompile.ir.graph import Graph, Node
from tinycompile.ops.avg_pool2d import AvgPool2dAttrs
from tinycompile.ops.float_layers import is_float
from tinycompile.ops.mean import reduced_parts
from tinycompile.passes.rewriter import Rewriter


def pool_means(graph: Graph) -> Graph:
    """A graph without such means; the same sums, row by row, divided by the number of pixels."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        node = rewriter.node(op)
        x = _map(rewriter, node) if op.kind == "mean" and is_float(node) else None
        if x is None:
            rewriter.keep(op)
            continue
        form = rewriter.tensor(x).form
        pooled = rewriter.emit("avg_pool2d", [x], AvgPool2dAttrs((form.rows, form.width)), op, dtype=node.out.dtype)
        rewriter.replace(op.outputs[0], rewriter.reshape(pooled, node.out.shape, op))
    return rewriter.finish()


def _map(rewriter: Rewriter, node: Node) -> str | None:
    """The channels-last map whose pixels a mean is over, None when it is over something else."""
    reduced, x = reduced_parts(node), node.tensor(0)
    if reduced is None:
        return None
    rows, columns, channels = reduced
    if rows and not channels and (columns or x.form.width == 1):
        return rewriter.reshape(x.name, (1, x.form.rows, x.form.width, x.form.channels), node.op)
    return None
