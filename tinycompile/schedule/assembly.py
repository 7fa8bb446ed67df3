"""What every plan has in common: operators in order, views among them, kernel variants, and the face of the model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from tinycompile.errors import InternalError
from tinycompile.ir.graph import Graph, Node, Op
from tinycompile.ir.interface import InputMode, Interface, OutputMode, Port, StatePort
from tinycompile.ir.states import state_outputs
from tinycompile.ops.registry import operator

ARENA_ALIGN = 16


class TargetFeatures(Protocol):
    """What planning asks of a target."""

    @property
    def name(self) -> str: ...

    @property
    def features(self) -> frozenset[str]: ...


def with_views(graph: Graph, made: Sequence[int]) -> list[int]:
    """Op indices of all ops: `made` in their order, each view as soon as its inputs are there."""
    producer = {name: k for k, op in enumerate(graph.ops) for name in op.outputs}
    steps = set(made)
    done: set[int] = set()
    result: list[int] = []

    def ready(op: Op) -> bool:
        return all(producer[i] in done for i in op.inputs if i in producer)

    def take(k: int) -> None:
        done.add(k)
        result.append(k)

    views = [k for k in range(len(graph.ops)) if k not in steps]
    for k in [None, *made]:
        if k is not None:
            take(k)
        for v in views:
            if v not in done and ready(graph.ops[v]):
                take(v)
    if len(result) != len(graph.ops):
        raise InternalError("some operators were left out of the plan", "planner", "report this bug")
    return result


def kernel_variant(node: Node, features: frozenset[str], over_window: bool = False) -> str:
    """The best variant of a node that a target with `features` can run; `over_window`: of those that may write their
    output over the rows that it is made from."""
    oper = operator(node.op.kind)
    for variant in oper.over_window(node) if over_window else oper.variants(node):
        if variant.requires <= features:
            return variant.name
    raise InternalError(f"no kernel of '{node.op.kind}' for this target", str(node.op.source), "report this bug")


def network_macs(graph: Graph) -> int:
    """Multiply-accumulates of one inference."""
    return sum(operator(n.op.kind).macs(n) for n in graph.nodes())


def interface(
    graph: Graph,
    prefix: str,
    target: str,
    arena_bytes: int,
    mode: InputMode,
    output_mode: OutputMode = OutputMode.RESIDENT,
) -> Interface:
    """Ports of the network's inputs and outputs, ``input`` or ``input_0``... in C, and of its states, ``state_0``..."""

    def port(name: str, c_name: str) -> Port:
        t = graph.tensors[name]
        scale, zero_point = (None, None) if t.quant is None or t.quant.per_channel else t.quant.scalar()
        return Port(name, c_name, t.shape, t.dtype, scale, zero_point)

    def ports(names: tuple[str, ...], kept: Collection[int], stem: str) -> tuple[Port, ...]:
        seen = [name for k, name in enumerate(names) if k not in kept]
        return tuple(port(n, stem if len(seen) == 1 else f"{stem}_{k}") for k, n in enumerate(seen))

    taken, given = [graph.inputs.index(s.input) for s in graph.states], state_outputs(graph)
    inputs, outputs = ports(graph.inputs, taken, "input"), ports(graph.outputs, given, "output")
    states = tuple(
        StatePort(port(graph.inputs[i], f"state_{k}"), i, o) for k, (i, o) in enumerate(zip(taken, given, strict=True))
    )
    return Interface(prefix, target, arena_bytes, ARENA_ALIGN, inputs, outputs, mode, output_mode, states)
