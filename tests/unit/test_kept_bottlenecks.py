"""Bottlenecks that keep what they expand, in row programs: planned, proven, interpreted and as C; a ring that is short,
written into or used out of order is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import conv, depthwise, fused_networks
from schedule_graphs import GraphBuilder, PlainTarget, random_inputs
from test_interleave import exhaustive
from test_row_planner import MODES, check, check_c, planner, small_mobilenet
from test_valleys import states_at_most

from tinycompile.codegen.c import stack_estimate_bytes
from tinycompile.emulate.interpreter import run_graph, run_plan
from tinycompile.errors import InternalError
from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode
from tinycompile.ir.plan import Plan, Step
from tinycompile.ir.types import Region
from tinycompile.ops.bottleneck_ring import Ring
from tinycompile.ops.inverted_bottleneck import InvertedBottleneck
from tinycompile.ops.registry import operator
from tinycompile.passes.fuse_bottlenecks import bottlenecks, fuse_bottlenecks
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.passes.tile_stage import Stage, stage_ops, tile_stage
from tinycompile.passes.verify_tiles import verify_tiles
from tinycompile.schedule import RowPlanner, plan_graph, verify_plan
from tinycompile.schedule.coalesce import peak_bytes
from tinycompile.schedule.interleave import exact_interleaving
from tinycompile.schedule.live_rows import LiveRows, advanced
from tinycompile.schedule.row_model import build_row_model
from tinycompile.schedule.segments import ENTRY, Segments
from tinycompile.schedule.storage import analyse_storage


def all_kept(graph: Graph) -> Graph:
    return fuse_bottlenecks(graph, {}, [block.name for block in bottlenecks(graph)])


def blocks(count: int = 2, residual: bool = True, size: tuple[int, int] = (9, 7), mean: bool = False) -> Graph:
    b = GraphBuilder()
    x = b.input((1, *size, 3))
    for _ in range(count):
        y = depthwise(b, conv(b, x, 7, (1, 1)), (3, 3), pad=(1, 1, 1, 1))
        y = conv(b, y, 3, (1, 1))
        x = b.add(x, y) if residual else y
    return b.graph([b.mean(x) if mean else x])


def long_blocks(count: int, residual: bool) -> Graph:
    """Blocks that stream into a mean: their maps are larger than their rings."""
    return blocks(count, residual, (24, 8), mean=True)


def rings(plan: Plan) -> dict[int, tuple[int, int, int, int]]:
    """First step, last step, first byte and end of the scratch that each operator keeps."""
    found: dict[int, tuple[int, int, int, int]] = {}
    for k, step in enumerate(plan.steps):
        if not isinstance(step, Step) or not operator(plan.ops[step.op].kind).keeps(plan.graph.node(plan.ops[step.op])):
            continue
        place = plan.scratch[step.op]
        assert place is not None
        assert len(set(place.offsets)) == 1
        first = found.get(step.op, (k,))[0]
        found[step.op] = first, k, place.offsets[0], place.offsets[0] + place.row_bytes
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fused_networks(), st.sampled_from(MODES), st.integers(0, 8))
def test_plans_compute_the_network_and_hold_each_ring_from_first_to_last_step(
    graphs: tuple[Graph, Graph], mode: InputMode, room: int
) -> None:
    graph, one = graphs
    rows = planner(one, mode)
    least = rows.plan()
    for plan in (least, rows.plan(least.arena_bytes * (8 + room) // 8)):
        check(graph, plan)
        found = rings(plan)
        assert len(found) == sum(op.kind == "inverted_bottleneck" and op.attrs.kept for op in one.ops)
        for k in range(len(plan.steps)):
            held = sum(high - low for first, last, low, high in found.values() if first <= k <= last)
            assert plan.live_bytes[k] >= held
        for op, (first, last, low, high) in found.items():
            assert low % 4 == 0
            others = [x for x in plan.lives if x.first <= last and first <= x.last and x.low < high and low < x.high]
            assert not others, (op, others)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(fused_networks(), st.sampled_from(MODES))
def test_plans_in_c(tmp_path: Path, graphs: tuple[Graph, Graph], mode: InputMode) -> None:
    check_c(graphs[0], planner(graphs[1], mode).plan(), tmp_path)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fused_networks())
def test_whole_buffers(graphs: tuple[Graph, Graph]) -> None:
    """One step makes all rows, in order."""
    check(graphs[0], plan_graph(graphs[1], PlainTarget()))


def test_whole_buffers_in_c(tmp_path: Path) -> None:
    graph = small_mobilenet()
    plan = plan_graph(all_kept(graph), PlainTarget())
    check(graph, plan)
    check_c(graph, plan, tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_mobilenet_v2_with_all_blocks_kept(mode: InputMode, tmp_path: Path) -> None:
    graph = small_mobilenet()
    plan = planner(all_kept(graph), mode).plan()
    assert len(rings(plan)) == 16
    check(graph, plan)
    check_c(graph, plan, tmp_path)


def test_no_pixel_is_expanded_twice() -> None:
    graph = small_mobilenet()

    def macs(graph: Graph) -> int:
        return sum(operator(n.op.kind).macs(n) for n in graph.nodes())

    names = [block.name for block in bottlenecks(graph)]
    assert macs(all_kept(graph)) == macs(graph) < macs(fuse_bottlenecks(graph, dict.fromkeys(names, 1)))


def test_a_kept_block_needs_less_than_its_layers_and_reads_each_row_once() -> None:
    graph = blocks(1, residual=False, size=(16, 16))
    apart, one = (planner(g, InputMode.STREAMED).plan() for g in (graph, all_kept(graph)))
    assert one.arena_bytes < apart.arena_bytes
    (ring,) = rings(one).values()
    assert ring[3] - ring[2] == (2 * 16 + 3 + 1) * 7
    assert one.arena_bytes == ring[3] - ring[2] + 16 * 16 * 3  # and the output, each row over the row that it expands


@pytest.mark.parametrize("residual", [False, True])
def test_stack_of_the_row_pointers(residual: bool) -> None:
    """Two rows at most are fresh, and one is added."""
    node = next(iter(all_kept(blocks(1, residual)).nodes()))
    (call,) = InvertedBottleneck().calls(node, Region(0, 1, 0, node.out.form.width))
    assert [w.count for w in call.inputs] == [2, 1][: 1 + residual]
    assert stack_estimate_bytes(planner(all_kept(blocks(1, residual))).plan()) >= 4 * (2 + residual) + 448


# Live bytes.


def test_a_ring_is_live_from_the_first_step_to_the_last() -> None:
    graph = all_kept(blocks(1, residual=False))
    rows = LiveRows(build_row_model(graph, analyse_storage(graph, frozenset(graph.inputs)), InputMode.EXTERNAL))
    (maker,) = rows.model.makers
    state, live = rows.start, rows.start_bytes
    assert (maker.scratch_bytes, maker.kept_bytes) == (0, (2 * 7 + 3 + 1) * 7)
    for u in range(9):
        (adds, change), state = rows.effect(0, state), advanced(state, 0)
        assert live + adds == maker.kept_bytes + (u + 1) * 21
        live += change
        assert live == maker.kept_bytes * (u < 8) + (u + 1) * 21


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(fused_networks(), st.sampled_from(MODES), st.booleans())
def test_search_equals_enumeration_with_rings_and_scratch(
    graphs: tuple[Graph, Graph], mode: InputMode, over_windows: bool
) -> None:
    graph = stream_reductions(graphs[1])
    model = build_row_model(graph, analyse_storage(graph), mode, over_windows=over_windows)
    assume(states_at_most(model) < 20_000)
    found = exact_interleaving(model, 200_000)
    assert found.peak_bytes == found.bound_bytes == exhaustive(model) == peak_bytes(model, found.sequence)


@pytest.mark.parametrize(("mode", "least"), [(InputMode.STREAMED, 7), (InputMode.EXTERNAL, 7)])
def test_a_ring_counts_in_the_valleys_of_the_search(mode: InputMode, least: int) -> None:
    """A small network whose search went wrong while rings were left out of what a state holds."""
    b = GraphBuilder()
    x = b.input((1, 3, 1, 1))
    x = b.add(x, conv(b, depthwise(b, conv(b, x, 1, (1, 1)), (1, 1)), 1, (1, 1)))
    y = b.mean(conv(b, depthwise(b, conv(b, x, 1, (1, 1)), (2, 1)), 1, (1, 1)))
    graph = b.graph([y])
    again, kept = (block.name for block in bottlenecks(graph))
    graph = stream_reductions(fuse_bottlenecks(graph, {again: 1}, [kept]))
    model = build_row_model(graph, analyse_storage(graph), mode, over_windows=False)
    found = exact_interleaving(model, 200_000)
    assert found.peak_bytes == found.bound_bytes == exhaustive(model) == least


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fused_networks(), st.sampled_from(MODES), st.data())
def test_live_bytes_stay_submodular(graphs: tuple[Graph, Graph], mode: InputMode, data: st.DataObject) -> None:
    """A step taken early costs at most what it costs later."""
    graph = graphs[1]
    apart = frozenset() if mode is InputMode.RESIDENT else frozenset(graph.inputs)
    rows = LiveRows(build_row_model(graph, analyse_storage(graph, apart), mode))
    state = rows.start
    while state != rows.goal:
        ready = [m for m in range(len(state)) if rows.ready(m, state)]
        for first in ready:
            after = advanced(state, first)
            for second in ready:
                if second != first:
                    _, early = rows.effect(second, state)
                    _, late = rows.effect(second, after)
                    assert late <= early
        state = advanced(state, data.draw(st.sampled_from(ready)))


@pytest.mark.parametrize("mode", [InputMode.STREAMED, InputMode.EXTERNAL])
@pytest.mark.parametrize(
    "ways",
    [
        ("kept",) * 3,
        ("kept", "recomputed", "kept"),
        ("recomputed", "kept", "apart"),
        ("two rows", "kept", "recomputed"),
        ("apart", "two rows", "two rows"),
    ],
)
def test_the_estimate_of_a_segment_is_the_live_peak_of_its_order(mode: InputMode, ways: tuple[str, ...]) -> None:
    graph = blocks(3)
    chosen = dict(zip((block.name for block in bottlenecks(graph)), ways, strict=True))
    one = fuse_bottlenecks(
        graph,
        {
            name: {"recomputed": 1, "two rows": 2}[way]
            for name, way in chosen.items()
            if way in ("recomputed", "two rows")
        },
        [name for name, way in chosen.items() if way == "kept"],
    )
    model = build_row_model(one, analyse_storage(one, frozenset(one.inputs)), mode)
    segments = Segments(model)
    first = ENTRY if mode is InputMode.EXTERNAL else 0
    last = len(model.makers) - 1
    begin = segments.cuts[0] if first == 0 else ENTRY
    profile = segments.profile(begin, last, 1 << 30)
    assert profile is not None
    # The same order: the first makers to their ends, then each row of the last as it can be had.
    rows, sequence, state = segments.rows, list[int](), segments.rows.start

    def asked_for(target: int) -> int:
        missing = [o for o, s in rows.needs[target][state[target]] if state[o] < s]
        return asked_for(missing[0]) if missing else target

    for target in (*range(begin + 1), last):
        while state[target] < rows.goal[target]:
            m = asked_for(target)
            sequence.append(m)
            state = advanced(state, m)
    before = sum(model.makers[m].steps for m in range(begin + 1))
    live, peaks, state = rows.start_bytes, [], rows.start
    for m in sequence:
        (adds, change), state = rows.effect(m, state), advanced(state, m)
        peaks.append(live + adds)
        live += change
    assert segments.peak(profile) == max(peaks[before:])
    assert before or segments.peak(profile) == peak_bytes(model, tuple(sequence))


# Tiles.


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(fused_networks(), st.integers(1, 3), st.integers(1, 3), st.data())
def test_tiles_of_kept_blocks(graphs: tuple[Graph, Graph], rows: int, columns: int, data: st.DataObject) -> None:
    graph, one = graphs
    ends = [op.outputs[0] for op in one.ops if stage_ops(one, one.inputs, op.outputs[0])]
    found = tile_stage(one, Stage(one.inputs, data.draw(st.sampled_from(ends)), rows, columns))
    if found is None:
        return
    verify_tiles(one, found)
    inputs = random_inputs(graph)
    want, got = run_graph(graph, inputs), run_graph(found.graph, inputs)
    assert all(np.array_equal(want[name], got[name]) for name in graph.outputs)
    for op in found.graph.ops:  # each by itself, since a network in tiles has no plan of whole buffers
        if operator(op.kind).keeps(found.graph.node(op)):
            tensors = {name: found.graph.tensors[name] for name in (*op.inputs, *op.outputs)}
            single = Graph("one", tensors, (op,), op.inputs[:1], op.outputs)
            check(single, plan_graph(single, PlainTarget()))


@pytest.mark.parametrize("mode", [InputMode.STREAMED, InputMode.EXTERNAL])
@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 1), (2, 2)])
def test_row_programs_of_tiles_in_c(mode: InputMode, rows: int, columns: int, tmp_path: Path) -> None:
    graph = blocks(2, size=(7, 6))
    one = all_kept(graph)
    found = tile_stage(one, Stage(one.inputs, one.outputs[0], rows, columns))
    assert found is not None
    verify_tiles(one, found)
    plan = RowPlanner(found.graph, PlainTarget(), input_mode=mode, stops=found.stops).plan()
    check(graph, plan)
    check_c(graph, plan, tmp_path)


# Mutants.


def computes(graph: Graph, plan: Plan) -> bool:
    inputs = random_inputs(graph)
    want = run_graph(graph, inputs)
    return all(
        np.array_equal(value, want[name]) for name, value in zip(graph.outputs, run_plan(plan, inputs), strict=True)
    )


@pytest.mark.parametrize("mode", [InputMode.STREAMED, InputMode.EXTERNAL])
@pytest.mark.parametrize("build", [lambda: long_blocks(2, True), lambda: long_blocks(3, False), small_mobilenet])
def test_a_row_written_into_a_ring_is_found(build: Callable[[], Graph], mode: InputMode) -> None:
    """Between two steps of its maker; where it hits a pixel that is read again, the interpreter computes something
    else."""
    graph = build()
    plan = planner(all_kept(graph), mode).plan()
    caught = wrong = 0
    for op, (first, last, low, _) in list(rings(plan).items())[:6]:
        own = plan.ops[op].outputs[0]
        inside = [x for x in plan.lives if first < x.first < last and x.tensor not in (own, *graph.outputs)]
        for life in inside[:: max(len(inside) // 4, 1)]:
            place = plan.placements[life.tensor]
            offsets = list(place.offsets)
            offsets[life.y0] = low
            moved = replace(plan, placements={**plan.placements, life.tensor: replace(place, offsets=tuple(offsets))})
            with pytest.raises(InternalError):
                verify_plan(moved)
            caught += 1
            wrong += not computes(graph, moved)
    assert caught >= 4
    assert wrong


def test_a_ring_that_moves_or_lies_on_another_is_found() -> None:
    graph = long_blocks(3, False)
    plan = planner(all_kept(graph), InputMode.STREAMED).plan()
    found = rings(plan)
    (_, (_, _, low, _)), (other, _) = list(found.items())[:2]
    place = plan.scratch[other]
    assert place is not None
    same = replace(place, offsets=(low,) * len(place.offsets))
    away = replace(place, offsets=(*place.offsets[:3], *(o + 4 for o in place.offsets[3:])))
    for wrong, what in ((same, "not intact"), (away, "row 2 has kept it is not intact|arena")):
        scratch = tuple(wrong if k == other else at for k, at in enumerate(plan.scratch))
        moved = replace(plan, scratch=scratch)
        with pytest.raises(InternalError, match=what):
            verify_plan(moved)
        if wrong is same:
            assert not computes(graph, moved)


def test_rows_of_a_ring_out_of_order_are_found() -> None:
    graph = blocks(1)
    plan = planner(all_kept(graph), InputMode.EXTERNAL).plan()
    steps = [s for s in plan.steps if isinstance(s, Step)]
    assert [s.region.y0 for s in steps] == list(range(9))
    for k in (0, 3, 7):
        swapped = [*steps[:k], steps[k + 1], steps[k], *steps[k + 2 :]]
        with pytest.raises(InternalError, match="in order"):
            verify_plan(replace(plan, steps=tuple(swapped)))


def test_a_ring_a_pixel_short_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing in the plan is wrong then but its operator's scratch: interpreter and C compute something else."""
    graph = blocks(1)
    slots = Ring.slots.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Ring, "slots", property(lambda ring: slots(ring) - 1))
    plan = planner(all_kept(graph), InputMode.EXTERNAL).plan()
    verify_plan(plan)
    assert not computes(graph, plan)
    with pytest.raises(AssertionError):
        check_c(graph, plan, tmp_path)
