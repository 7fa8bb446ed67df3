"""`RowPlanner`: row programs. Order of row steps, coalescing within the arena allowed, and the address of every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from tinycompile.errors import InternalError, UsageError
from tinycompile.ir.graph import Graph, Tensor
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.plan import Certificate, Life, Placement, Plan, Pop, Push, Step
from tinycompile.ir.types import Region
from tinycompile.ops.base import Grain, whole
from tinycompile.ops.registry import operator
from tinycompile.schedule.allocate import Packing
from tinycompile.schedule.assembly import (
    ARENA_ALIGN,
    TargetFeatures,
    interface,
    kernel_variant,
    network_macs,
    with_views,
)
from tinycompile.schedule.coalesce import coalesce, runs
from tinycompile.schedule.interleave import Interleaving
from tinycompile.schedule.live_rows import LiveRows
from tinycompile.schedule.row_blocks import Cell, RowBlocks, lifetimes
from tinycompile.schedule.row_model import RowModel, build_row_model, rows_of_view
from tinycompile.schedule.row_packing import pack_into, pack_orders
from tinycompile.schedule.stages import search_order, staged_order
from tinycompile.schedule.storage import Storage, analyse_storage
from tinycompile.watch import Watch


class RowPlanner:
    """Row programs for one graph, target, and mode of its inputs and outputs.

    `graph`: with reductions as running sums (``passes.stream_reductions``), which lets maps be consumed row by row.
    `effort`: 0 and up, more search. `stops`: tensors that are made whole before what is behind them begins, in this
    order (the tiles of a network in tiles). `watch`: may end the search early, with what was found. Raises
    UnsupportedError for constant outputs, UsageError for several streamed inputs.
    """

    def __init__(
        self,
        graph: Graph,
        target: TargetFeatures,
        *,
        prefix: str = "model",
        input_mode: InputMode = InputMode.RESIDENT,
        output_mode: OutputMode = OutputMode.RESIDENT,
        effort: int = 1,
        stops: Sequence[str] = (),
        watch: Watch | None = None,
    ) -> None:
        if input_mode is InputMode.STREAMED and len(graph.inputs) > 1:
            raise UsageError(
                f"{len(graph.inputs)} network inputs cannot be streamed", "--input streamed", "use --input external"
            )
        self.graph, self.target, self.prefix, self.input_mode = graph, target, prefix, input_mode
        self.output_mode, self.effort, self.watch = output_mode, effort, watch or Watch()
        resident = input_mode is InputMode.RESIDENT
        self.storage = analyse_storage(graph, frozenset() if resident else frozenset(graph.inputs))
        if not resident and any(v.producer is None and v.is_output for v in self.storage.values):
            raise UsageError(
                "a network input is an output as well", f"--input {input_mode.value}", "use --input resident"
            )
        self._free, self._tied = (
            build_row_model(graph, self.storage, input_mode, over_windows=o, output_mode=output_mode)
            for o in (False, True)
        )
        made_by = {self._free.values[m.value].tensor: k for k, m in enumerate(self._free.makers)}
        self._stops = tuple(made_by[name] for name in stops if name in made_by)  # a join of tiles may be a view

    @property
    def model(self) -> RowModel:
        return self._searched[0]

    @property
    def order(self) -> Interleaving:
        """Of least peak; searched for when it is asked for."""
        return self._searched[1][0]

    def peak_at_most(self) -> int:
        """Live bytes with which some order does, known without much of a search."""
        return staged_order(self._tied, self._stops).peak_bytes

    def below(self, peak_bytes: int) -> bool:
        """Whether an order with less live bytes is found: soon answered where they are far below the least."""
        return bool(search_order(self._tied, self.effort, peak_bytes, self._stops, self.watch)[0].sequence)

    @cached_property
    def _packed(self) -> tuple[tuple[int, ...], RowBlocks, Packing]:
        """The order that packs best; found when it is asked for, since packing may take longer than the search."""
        model, orders = self._searched
        sequences = [o.sequence for o in orders]
        return pack_orders(self.graph, self.storage, model, sequences, self.effort, self.watch)

    @cached_property
    def _searched(self) -> tuple[RowModel, tuple[Interleaving, ...]]:
        """Orders of least peak, and the model that they are of. Rows are written over their windows only where that
        saves bytes: such kernels are slower, and rows tied to one another pack worse."""
        free, tied, effort, stops = self._free, self._tied, self.effort, self._stops
        lower = search_order(tied, effort, stops=stops, watch=self.watch)
        if tied == free:
            return free, lower
        if self.watch.over():
            return tied, lower
        # The same orders, and none of them has less live bytes than in `tied`.
        upper = lower[0].peak_bytes + 1 if lower[0].sequence else None
        orders = search_order(free, effort, upper, stops=stops, watch=self.watch)
        if not orders[0].sequence:
            return tied, lower
        return free, tuple(replace(o, bound_bytes=lower[0].bound_bytes, method=lower[0].method) for o in orders)

    def plan(self, arena_limit: int | None = None) -> Plan:
        """The plan of fewest kernel calls within `arena_limit` bytes (None: of least arena) that is found, nothing
        computed twice. Where none fits, that of least arena."""
        packed, blocks, packing = self._packed
        least = packing.arena_bytes
        limit = least if arena_limit is None else max(arena_limit, least)
        for live_bytes in _live_limits(self.order.peak_bytes, limit)[:: 1 if self.effort else 3]:
            if self.watch.over():
                break
            self.watch.phase("longer runs")
            sequence = coalesce(self.model, packed, live_bytes)
            if runs(sequence) < runs(packed):
                found = pack_into(
                    self.graph, self.storage, self.model, sequence, min(limit, 2 * live_bytes), self.watch
                )
                if found is not None:
                    return self._assemble(sequence, *found)
        return self._assemble(packed, blocks, packing)

    def _assemble(self, order: tuple[int, ...], blocks: RowBlocks, packing: Packing) -> Plan:
        graph, model = self.graph, self.model
        at: dict[Cell, int] = {
            cell: base + offset
            for cells, base in zip(blocks.cells, packing.bases, strict=True)
            for cell, offset in cells.items()
        }
        scratch = {step: base for step, base in zip(blocks.scratch, packing.bases, strict=True) if step is not None}
        makers = [model.makers[m] for m in order]
        made = list(dict.fromkeys(m.op for m in makers if m.op is not None))
        sequence = with_views(graph, made)
        position = {k: i for i, k in enumerate(sequence)}
        steps = _steps(graph, model, order, position)
        placements = {
            name: _placement(graph, self.storage, at, graph.tensors[name], packing.arena_bytes, self.input_mode)
            for name in self.storage.parts
        }
        return Plan(
            graph=graph,
            target=self.target.name,
            ops=tuple(graph.ops[k] for k in sequence),
            steps=steps,
            placements=placements,
            variants=_variants(graph, self.target.features, sequence, steps, placements),
            scratch=tuple(_scratch(graph, scratch, k) for k in sequence),
            arena_bytes=packing.arena_bytes,
            arena_align=ARENA_ALIGN,
            input_mode=self.input_mode,
            certificate=_certify(self.order, packing, max(blocks.live_bytes)),
            lives=_lives(model, order, at),
            live_bytes=blocks.live_bytes[1 : len(makers) + 1],
            interface=interface(
                graph, self.prefix, self.target.name, packing.arena_bytes, self.input_mode, self.output_mode
            ),
            network_macs=network_macs(graph),
            output_mode=self.output_mode,
        )


def _live_limits(peak_bytes: int, arena_bytes: int) -> list[int]:
    """Live bytes to coalesce up to, most first: an order that fills the arena may not pack."""
    spare = arena_bytes - peak_bytes
    return sorted({peak_bytes + spare * part // 8 for part in (8, 7, 6, 4, 2, 0)}, reverse=True)


def _steps(
    graph: Graph, model: RowModel, sequence: tuple[int, ...], position: Mapping[int, int]
) -> tuple[Step | Push | Pop, ...]:
    done = [0] * len(model.makers)
    steps: list[Step | Push | Pop] = []
    for m in sequence:
        maker, u = model.makers[m], done[m]
        done[m] += 1
        if maker.pops is not None:
            steps.append(Pop(maker.pops, u))
            continue
        if maker.op is None:
            steps.append(Push(model.values[maker.value].tensor, maker.made[u]))
            continue
        node = graph.node(graph.ops[maker.op])
        if operator(node.op.kind).grain(node) is Grain.WHOLE:
            steps.append(Step(position[maker.op], whole(node.out), merge=True))
        else:
            region = Region(maker.made[u], maker.made[u + 1], 0, node.out.form.width)
            steps.append(Step(position[maker.op], region))
    return tuple(steps)


def _placement(
    graph: Graph, storage: Storage, at: Mapping[Cell, int], tensor: Tensor, arena_bytes: int, mode: InputMode
) -> Placement:
    """Where each row of a tensor begins: in its cells, or in the caller's memory of an external input."""
    inside = storage.inside.get(tensor.name)
    if inside is not None:
        outer = _placement(graph, storage, at, graph.tensors[inside.tensor], arena_bytes, mode)
        lows = outer.offsets[inside.y0 : inside.y0 + tensor.form.rows]
        return Placement(tuple(low + inside.start for low in lows), tensor.row_bytes, outer.external)
    rows, row_bytes = tensor.form.rows, tensor.row_bytes
    source = storage.values[storage.parts[tensor.name][0].value]
    if mode is InputMode.EXTERNAL and source.producer is None:
        start = storage.parts[tensor.name][0].offset
        offsets = tuple(y * row_bytes - start for y in range(rows))
        return Placement(offsets, row_bytes, graph.inputs.index(source.tensor))
    offsets_found: list[int] = []
    for y in range(rows):
        value, row, _ = rows_of_view(graph, storage, tensor.name, Region(y, y + 1, 0, tensor.form.width))[0]
        held = graph.tensors[storage.values[value].tensor]
        piece = next(p for p in storage.parts[tensor.name] if p.value == value)
        within = y * row_bytes - piece.offset - row * held.row_bytes
        base = at.get((value, row))
        if base is not None:
            offsets_found.append(base + within)
        else:  # never made: the row's offset says nothing, and going on evenly keeps tables short
            even = offsets_found[-1] + row_bytes if offsets_found else 0
            offsets_found.append(even if even + row_bytes <= arena_bytes else 0)
    return Placement(tuple(offsets_found), row_bytes)


def _scratch(graph: Graph, at: Mapping[tuple[int, int], int], k: int) -> Placement | None:
    """Where the scratch of operator `k` lies for each of its rows; as for the row before where that is not made, or has
    kept there what this one finds."""
    node = graph.node(graph.ops[k])
    size = operator(node.op.kind).scratch_bytes(node)
    if not size:
        return None
    offsets: list[int] = []
    for y in range(node.out.form.rows):
        offsets.append(at.get((k, y), offsets[-1] if offsets else 0))
    return Placement(tuple(offsets), size)


def _variants(
    graph: Graph,
    features: frozenset[str],
    sequence: list[int],
    steps: tuple[Step | Push | Pop, ...],
    placements: Mapping[str, Placement],
) -> tuple[str, ...]:
    """The kernel variant of each operator: the one for rows written over their windows where any of its rows is."""
    chosen = [kernel_variant(graph.node(graph.ops[k]), features) for k in sequence]
    for step in steps:
        if not isinstance(step, Step):
            continue
        node = graph.node(graph.ops[sequence[step.op]])
        oper = operator(node.op.kind)
        if not oper.over_window(node):
            continue
        need = oper.in_region(node, step.region)[0]
        place = placements[node.tensor(0).name]
        if need is not None and place.external is None:
            low = placements[node.out.name].offsets[step.region.y0]
            if low in place.offsets[need.region.y0 : need.region.y1]:
                chosen[step.op] = kernel_variant(node, features, over_window=True)
    return tuple(chosen)


def _certify(order: Interleaving, packing: Packing, schedule_bound_bytes: int) -> Certificate:
    """The bound is the order's: the least peak of live bytes over all orders of row steps, without recompute."""
    if packing.arena_bytes < order.bound_bytes:
        raise InternalError("an arena below its own bound", "row planner", "report this bug")
    method = f"bound {order.method}; addresses by {packing.method}"
    optimal = packing.arena_bytes == order.bound_bytes
    return Certificate(order.bound_bytes, schedule_bound_bytes, optimal, "row steps without recompute", method)


def _lives(model: RowModel, sequence: tuple[int, ...], at: Mapping[Cell, int]) -> tuple[Life, ...]:
    """Rows by the steps during which they hold bytes; neighbours in number and place that live alike as one."""
    lives, _ = lifetimes(LiveRows(model), sequence)
    result: list[Life] = []
    for (v, row), (first, last) in sorted(lives.items()):
        if last == 0:
            continue
        value, low = model.values[v], at[v, row]
        life = Life(value.tensor, row, row + 1, low, low + value.row_bytes, max(first - 1, 0), last - 1)
        before = result[-1] if result else None
        if before and (before.tensor, before.y1, before.high, before.first, before.last) == (
            life.tensor,
            life.y0,
            life.low,
            life.first,
            life.last,
        ):
            result[-1] = Life(life.tensor, before.y0, life.y1, before.low, life.high, life.first, life.last)
        else:
            result.append(life)
    return tuple(sorted(result, key=lambda x: (x.first, x.low)))
