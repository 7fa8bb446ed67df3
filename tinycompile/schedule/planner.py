"""`plan_graph`: order, views, in-place steps and addresses of a graph, in whole buffers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from tinycompile.errors import InternalError, UsageError
from tinycompile.ir.graph import Graph, Op
from tinycompile.ir.interface import Interface, Port
from tinycompile.ir.plan import InputMode, Placement, Plan, Step
from tinycompile.ops.base import Grain, whole
from tinycompile.ops.registry import operator
from tinycompile.schedule.allocate import Packing, exact, greedy
from tinycompile.schedule.blocks import BlockSet, build_blocks
from tinycompile.schedule.certificate import certify
from tinycompile.schedule.liveness import Interval, lifetimes, live_at
from tinycompile.schedule.order import best_order
from tinycompile.schedule.storage import Storage, analyse_storage

ARENA_ALIGN = 16
MAX_VARIATIONS = 32


class TargetFeatures(Protocol):
    """What planning asks of a target."""

    @property
    def name(self) -> str: ...

    @property
    def features(self) -> frozenset[str]: ...


def plan_graph(
    graph: Graph,
    target: TargetFeatures,
    *,
    prefix: str = "model",
    input_mode: InputMode = InputMode.RESIDENT,
    time_limit_s: float = 2.0,
) -> Plan:
    """The plan of least arena for `graph`, whole buffers, layer by layer.

    `prefix`: C identifier of the generated model. `time_limit_s`: limit of the exact packing, in CP-SAT's deterministic
    time (about a second each). Raises UnsupportedError for constant outputs, UsageError for other input modes.
    """
    if input_mode is not InputMode.RESIDENT:
        raise UsageError(f"input mode '{input_mode.value}' is not available", "plan", "use the resident input mode")
    storage = analyse_storage(graph)
    order = best_order(storage)
    lives = lifetimes(storage, order.sequence)
    blocks, packing, bound = _pack(storage, order.sequence, lives, time_limit_s)
    offsets = {
        value: base + offset
        for block, base in zip(blocks.blocks, packing.bases, strict=True)
        for value, offset in block.offsets.items()
    }
    scratch = {
        b.scratch_of: base for b, base in zip(blocks.blocks, packing.bases, strict=True) if b.scratch_of is not None
    }
    placements = {}
    for name, parts in storage.parts.items():
        tensor = graph.tensors[name]
        placements[name] = Placement.contiguous(offsets[parts[0].value], tensor.form.rows, tensor.row_bytes)
    made = [storage.steps[k].op for k in order.sequence]
    sequence = _with_views(graph, made)
    position = {k: i for i, k in enumerate(sequence)}
    times = range(1, len(made) + 1)
    return Plan(
        graph=graph,
        target=target.name,
        ops=tuple(graph.ops[k] for k in sequence),
        steps=tuple(_step(graph, graph.ops[k], position[k]) for k in made),
        placements=placements,
        variants=tuple(_variant(graph.ops[k], target.features) for k in sequence),
        scratch=tuple(scratch.get(k) for k in sequence),
        arena_bytes=packing.arena_bytes,
        arena_align=ARENA_ALIGN,
        input_mode=input_mode,
        certificate=certify(order, packing, bound),
        live=tuple(tuple(storage.values[v].tensor for v in live_at(lives, t)) for t in times),
        live_bytes=tuple(blocks.live_bytes[t] for t in times),
        interface=_interface(graph, prefix, target.name, packing.arena_bytes),
    )


def _pack(
    storage: Storage, sequence: tuple[int, ...], lives: tuple[Interval, ...], time_limit_s: float
) -> tuple[BlockSet, Packing, int]:
    """The best packing over in-place choices, and the live bytes at the peak.

    Stops at the first that meets the bound; variations of the choices are tried greedily, then the best is packed
    exactly.
    """

    first = build_blocks(storage, sequence, lives, {})
    bound = first.bound_bytes
    best = (greedy(first.blocks, bound), first)
    for preferred in _variations(first):
        if best[0].arena_bytes <= bound:
            break
        blocks = build_blocks(storage, sequence, lives, preferred)
        if blocks.bound_bytes <= bound:
            packing = greedy(blocks.blocks, bound)
            if packing.arena_bytes < best[0].arena_bytes:
                best = (packing, blocks)
    packing, blocks = best
    if packing.arena_bytes > bound:
        packing = exact(blocks.blocks, packing, bound, time_limit_s)
    return blocks, packing, bound


def _variations(blocks: BlockSet) -> Iterator[dict[int, int]]:
    """Other in-place choices: each step's alternatives (and none) by themselves, a few in large graphs."""
    limit = min(MAX_VARIATIONS, 4000 // len(blocks.blocks))
    yield from islice(({step: n} for step, count in blocks.choices.items() for n in range(1, count + 1)), limit)


def _with_views(graph: Graph, made: list[int]) -> list[int]:
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


def _step(graph: Graph, op: Op, position: int) -> Step:
    node = graph.node(op)
    return Step(position, whole(node.out), merge=operator(op.kind).grain(node) is not Grain.ROW)


def _variant(op: Op, features: frozenset[str]) -> str:
    for variant in operator(op.kind).variants:
        if variant.requires <= features:
            return variant.name
    raise InternalError(f"no kernel variant of '{op.kind}' for this target", str(op.source), "report this bug")


def _interface(graph: Graph, prefix: str, target: str, arena_bytes: int) -> Interface:
    def ports(names: tuple[str, ...], stem: str) -> tuple[Port, ...]:
        result = []
        for k, name in enumerate(names):
            t = graph.tensors[name]
            scale, zero_point = (None, None) if t.quant is None or t.quant.per_channel else t.quant.scalar()
            c_name = stem if len(names) == 1 else f"{stem}_{k}"
            result.append(Port(name, c_name, t.shape, t.dtype, scale, zero_point))
        return tuple(result)

    return Interface(
        prefix, target, arena_bytes, ARENA_ALIGN, ports(graph.inputs, "input"), ports(graph.outputs, "output")
    )
