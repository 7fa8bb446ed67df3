"""The last word on a lowered graph: every operator has a kernel, or one error names all that have none."""

from __future__ import annotations

from tinycompile.errors import UnsupportedError, one_line
from tinycompile.ir.graph import Graph, Node
from tinycompile.ops.registry import OPERATORS

_LISTED = 20


def _reason(node: Node) -> str | None:
    operator = OPERATORS.get(node.op.kind)
    if operator is None:
        return f"no operator of kind '{node.op.kind}'"
    if not node.activations and not operator.of_constants:
        return "an operator on constants alone: fold the model's constants when it is exported"
    return operator.unsupported(node)


def check_supported(graph: Graph) -> None:
    """Raises one UnsupportedError that lists every node without a kernel by reason, and what to do."""
    by_reason: dict[str, list[str]] = {}
    for node in graph.nodes():
        reason = _reason(node)
        if reason is not None:
            by_reason.setdefault(reason, []).append(f"{one_line(str(node.op.source), 120)} ({node.op.kind})")
    if not by_reason:
        return
    count = sum(len(nodes) for nodes in by_reason.values())
    parts = []
    for reason, nodes in by_reason.items():
        more = f" and {len(nodes) - _LISTED} more" if len(nodes) > _LISTED else ""
        parts.append(f"{reason}: {', '.join(nodes[:_LISTED])}{more}")
    raise UnsupportedError(
        f"{count} operator{'s' if count > 1 else ''} without a kernel. {'; '.join(parts)}",
        f"model '{one_line(graph.name, 80)}'",
        "quantise the whole model to int8 (activations per tensor), or replace or remove the operators listed",
    )
