"""Running passes: the invariants of the graph are checked after each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tinycompile.ir.graph import Graph
from tinycompile.ir.verify import verify_graph
from tinycompile.ops.registry import OPERATORS


def run_passes(
    graph: Graph,
    passes: Iterable[tuple[str, Callable[[Graph], Graph]]],
    after: Callable[[str, Graph], None] | None = None,
) -> Graph:
    """`graph` after `passes`, each with its name; `after` hears of each. Raises ModelError or InternalError."""
    for name, run in passes:
        graph = run(graph)
        verify_graph(graph, name, OPERATORS)
        if after is not None:
            after(name, graph)
    return graph
