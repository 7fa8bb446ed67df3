"""The last word on a lowered graph: every operator has a kernel, or one error names all that have none."""

from __future__ import annotations

from tinycompile.errors import UnsupportedError, one_line
from tinycompile.ir.graph import Graph, Node
from tinycompile.ops.registry import OPERATORS

_LISTED = 20


def _reason(node: Node) -> str | None:
    operator = OPERATORS.get(node.op.kind)
    return f"no operator of kind '{node.op.kind}'" if operator is None else operator.unsupported(node)


def check_supported(graph: Graph) -> None:
    """Raises one UnsupportedError that lists every node without a kernel, with the reason and what to do."""
    found = [(node, reason) for node in graph.nodes() if (reason := _reason(node)) is not None]
    if not found:
        return
    lines = [f"{node.op.kind} '{one_line(node.op.name, 80)}': {reason}" for node, reason in found[:_LISTED]]
    more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    plural = "s" if len(found) > 1 else ""
    raise UnsupportedError(
        f"{len(found)} operator{plural} without a kernel: {'; '.join(lines)}{more}",
        "; ".join(dict.fromkeys(one_line(str(node.op.source), 120) for node, _ in found[:_LISTED])),
        "quantise the whole model to int8 (activations per tensor), or replace or remove the operators listed",
    )
