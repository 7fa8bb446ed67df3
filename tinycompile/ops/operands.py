"""Operands of operators that make their whole output at once: at run time or constant, whichever they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinycompile.ir.graph import Array, Node
from tinycompile.ops.base import ConstArray, Need, RowWindow, whole


@dataclass(frozen=True)
class WholeOperands:
    """How a kernel gets its operands: `windows`, those made at run time; `arrays`, the constants; `arguments`, all of
    them in the operator's order, as `KernelCall.arguments`."""

    windows: tuple[RowWindow, ...]
    arrays: tuple[ConstArray, ...]
    arguments: tuple[tuple[str, int], ...]


def whole_operands(node: Node, count: int) -> WholeOperands:
    """The first `count` inputs of a node, all of them present."""
    live = [k for k in range(count) if not node.tensor(k).is_const]
    names = {k: f"in{number}" for number, k in enumerate(live)}
    return WholeOperands(
        tuple(RowWindow(k, whole=True) for k in live),
        tuple(ConstArray(f"operand{k}", node.const(k)) for k in range(count) if k not in live),
        tuple((names.get(k, f"operand{k}"), 0) for k in range(count)),
    )


def whole_needs(node: Node) -> tuple[Need | None, ...]:
    """All of each input that is made at run time."""
    return tuple(None if t is None or t.is_const else Need(whole(t)) for t in node.inputs)


def whole_values(node: Node, inputs: Sequence[Array | None]) -> list[Array]:
    """The inputs in their own shapes, constants among them; those that are absent are left out."""
    return [
        node.const(k) if inputs[k] is None else inputs[k].reshape(t.shape)  # type: ignore[union-attr]
        for k, t in enumerate(node.inputs)
        if t is not None
    ]
