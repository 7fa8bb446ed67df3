"""drop_dead: removes ops and constants that no output needs."""

from __future__ import annotations

from tinycompile.ir.graph import Graph
from tinycompile.passes.rewriter import Rewriter


def drop_dead(graph: Graph) -> Graph:
    """The same computation without dead ops."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        rewriter.keep(op)
    return rewriter.finish()
