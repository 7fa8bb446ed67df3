"""Graph -> Plan: order, views, in-place writes, addresses, steps, certificate. Whole buffers.

The plan is in row form (steps over rows, an address per row), so that a streaming search can replace this module and
nothing after it.
"""

from __future__ import annotations

from typing import Protocol

from tinycompile.ir.graph import Graph, Op
from tinycompile.ir.interface import Interface, Port
from tinycompile.ir.plan import Certificate, InputMode, Placement, Plan, Step
from tinycompile.ops.base import Grain, whole
from tinycompile.schedule.allocate import Allocation, allocate
from tinycompile.schedule.lifetimes import Lifetimes, find_lifetimes
from tinycompile.schedule.order import Order, least_peak_order
from tinycompile.schedule.storage import Storage, find_storage

ARENA_ALIGN = 16


class TargetLike(Protocol):
    """What the scheduler asks of a target."""

    @property
    def name(self) -> str: ...

    @property
    def features(self) -> frozenset[str]: ...


def _interface(graph: Graph, target: str, prefix: str, arena_bytes: int) -> Interface:
    def ports(names: tuple[str, ...], word: str) -> tuple[Port, ...]:
        result = []
        for k, name in enumerate(names):
            t = graph.tensors[name]
            scale, zero_point = t.quant.scalar() if t.quant is not None and not t.quant.per_channel else (None, None)
            c_name = word if len(names) == 1 else f"{word}_{k}"
            result.append(Port(name, c_name, t.shape, t.dtype, scale, zero_point))
        return tuple(result)

    return Interface(
        prefix, target, arena_bytes, ARENA_ALIGN, ports(graph.inputs, "input"), ports(graph.outputs, "output")
    )


def _execution_order(storage: Storage, order: Order) -> tuple[Op, ...]:
    """All ops: works in the searched order, each view as soon as what it views exists."""
    waiting = list(storage.views)
    made = {w.node.out.name for w in storage.works} | {v.out.name for v in storage.views}
    done: set[str] = set()
    ops: list[Op] = []

    def place_views() -> None:
        progress = True
        while progress:
            progress = False
            for view in list(waiting):
                if all(t is None or t.name in done or t.name not in made for t in view.inputs):
                    waiting.remove(view)
                    ops.append(view.op)
                    done.add(view.out.name)
                    progress = True

    place_views()
    for k in order.sequence:
        node = storage.works[k].node
        ops.append(node.op)
        done.add(node.out.name)
        place_views()
    return tuple(ops)


def _placements(graph: Graph, storage: Storage, bases: dict[int, int]) -> dict[str, Placement]:
    result = {}
    for g, group in enumerate(storage.groups):
        for name, offset in group.members.items():
            tensor = graph.tensors[name]
            result[name] = Placement.contiguous(bases[g] + offset, tensor.form.rows, tensor.row_bytes)
    return result


def _solve(graph: Graph, concat_views: bool) -> tuple[Storage, Order, Lifetimes, Allocation]:
    storage = find_storage(graph, concat_views)
    order = least_peak_order(storage)
    lifetimes = find_lifetimes(storage, order)
    return storage, order, lifetimes, allocate(lifetimes.columns, max(lifetimes.live_bytes))


def plan_graph(
    graph: Graph, target: TargetLike, prefix: str = "model", input_mode: InputMode = InputMode.RESIDENT
) -> Plan:
    """The plan of least arena found, with what is proven about it.

    Raises UnsupportedError for graphs that have no plan (a constant output).
    """
    solutions = [_solve(graph, concat_views=True)]
    if any(v.op.kind == "concat" for v in solutions[0][0].views):
        # Writing into a concat's output can hold its whole buffer early: keep views only where they do not cost bytes.
        solutions.append(_solve(graph, concat_views=False))
    storage, order, lifetimes, allocation = min(solutions, key=lambda s: s[3].arena_bytes)
    bound = min(s[1].lower_bound_bytes for s in solutions)
    bases: dict[int, int] = {}
    scratch_at: dict[int, int] = {}
    for column, base in zip(lifetimes.columns, allocation.bases, strict=True):
        for r in column.rectangles:
            if r.label >= 0:
                bases[r.label] = base
            else:
                scratch_at[-1 - r.label] = base
    ops = _execution_order(storage, order)
    index_of = {op.name: i for i, op in enumerate(ops)}
    placements = _placements(graph, storage, bases)
    steps: list[Step] = []
    variants = ["generic"] * len(ops)
    scratch: list[int | None] = [None] * len(ops)
    for t, k in enumerate(order.sequence):
        work = storage.works[k]
        i = index_of[work.node.op.name]
        region = whole(work.node.out)
        steps.append(Step(i, region, merge=work.operator.grain(work.node) is not Grain.ROW))
        variants[i] = next(v.name for v in work.operator.variants if v.requires <= target.features)
        scratch[i] = scratch_at.get(t)
    names = {g: next(iter(group.members)) for g, group in enumerate(storage.groups)}
    live = tuple(tuple(names[label] for label in labels if label >= 0) for labels in lifetimes.live)
    arena = allocation.arena_bytes
    how = "every order searched" if order.exact else "beam search over orders; the bound is the largest single operator"
    certificate = Certificate(
        bound, max(lifetimes.live_bytes), arena == bound, "whole buffers", f"{how}; packing by {allocation.method}"
    )
    return Plan(
        graph,
        target.name,
        ops,
        tuple(steps),
        placements,
        tuple(variants),
        tuple(scratch),
        arena,
        ARENA_ALIGN,
        input_mode,
        certificate,
        live if steps else (),
        lifetimes.live_bytes if steps else (),
        _interface(graph, target.name, prefix, arena),
    )
