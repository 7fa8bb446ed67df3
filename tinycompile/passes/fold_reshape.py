"""fold_reshape: chains of reshapes become one, and moves that do nothing vanish."""

from __future__ import annotations

from tinycompile.ir.graph import Graph
from tinycompile.passes.rewriter import MOVES, Rewriter


def fold_reshape(graph: Graph) -> Graph:
    """A graph without a `reshape` of a `reshape`, a `transpose` of a `transpose`, or one that changes nothing."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op.kind in MOVES:
            rewriter.replace(op.outputs[0], rewriter.move_like(op.inputs[0], op, op))
        else:
            rewriter.keep(op)
    return rewriter.finish()
