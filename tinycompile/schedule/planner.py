"""`plan_graph`: order, views, in-place steps and addresses of a graph, in whole buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from tinycompile.errors import InternalError
from tinycompile.ir.graph import Graph, Op
from tinycompile.ir.interface import InputMode
from tinycompile.ir.plan import Life, Placement, Plan, Step
from tinycompile.ops.base import Grain, whole
from tinycompile.ops.registry import operator
from tinycompile.schedule.allocate import Packing, exact, greedy
from tinycompile.schedule.assembly import (
    ARENA_ALIGN,
    TargetFeatures,
    interface,
    kernel_variant,
    network_macs,
    with_views,
)
from tinycompile.schedule.blocks import BlockSet, build_blocks
from tinycompile.schedule.certificate import certify
from tinycompile.schedule.liveness import Interval, lifetimes
from tinycompile.schedule.order import best_order
from tinycompile.schedule.storage import Storage, analyse_storage

MAX_VARIATIONS = 32


def plan_graph(
    graph: Graph,
    target: TargetFeatures,
    *,
    prefix: str = "model",
    time_limit_s: float = 2.0,
) -> Plan:
    """The plan of least arena for `graph`, whole buffers, layer by layer.

    `prefix`: C identifier of the generated model. `time_limit_s`: limit of the exact packing, in CP-SAT's deterministic
    time (about a second each). Raises UnsupportedError for constant outputs.
    """
    storage = analyse_storage(graph)
    if storage.inside:
        raise InternalError("a graph cut into tiles has no plan of whole buffers", "planner", "report this bug")
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
    sequence = with_views(graph, made)
    position = {k: i for i, k in enumerate(sequence)}
    return Plan(
        graph=graph,
        target=target.name,
        ops=tuple(graph.ops[k] for k in sequence),
        steps=tuple(_step(graph, graph.ops[k], position[k]) for k in made),
        placements=placements,
        variants=tuple(kernel_variant(graph.node(graph.ops[k]), target.features) for k in sequence),
        scratch=tuple(_scratch(graph, scratch.get(k), k) for k in sequence),
        arena_bytes=packing.arena_bytes,
        arena_align=ARENA_ALIGN,
        input_mode=InputMode.RESIDENT,
        certificate=certify(order, packing, bound),
        lives=_lives(graph, storage, lives, offsets),
        live_bytes=tuple(blocks.live_bytes[1 : len(made) + 1]),
        interface=interface(graph, prefix, target.name, packing.arena_bytes, InputMode.RESIDENT),
        network_macs=network_macs(graph),
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


def _lives(graph: Graph, storage: Storage, lives: tuple[Interval, ...], offsets: Mapping[int, int]) -> tuple[Life, ...]:
    result = []
    for v, (first, last) in enumerate(lives):
        if last > 0:
            value, low = storage.values[v], offsets[v]
            rows = graph.tensors[value.tensor].form.rows
            result.append(Life(value.tensor, 0, rows, low, low + value.nbytes, max(first - 1, 0), last - 1))
    return tuple(result)


def _scratch(graph: Graph, base: int | None, k: int) -> Placement | None:
    node = graph.node(graph.ops[k])
    if base is None:
        return None
    return Placement((base,) * node.out.form.rows, operator(node.op.kind).scratch_bytes(node))


def _step(graph: Graph, op: Op, position: int) -> Step:
    node = graph.node(op)
    return Step(position, whole(node.out), merge=operator(op.kind).grain(node) is not Grain.ROW)
