"""Row programs: whatever the network, input mode and arena allowed, the plan is proven, and interpreter and C give what
the operators' references give; wrong plans are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import bottleneck_networks, conv, depthwise, networks
from schedule_graphs import GraphBuilder, PlainTarget, inverted_bottleneck, random_inputs, resnet8

from tinycompile.codegen.c import emit_c
from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_graph, run_plan
from tinycompile.errors import InternalError, UsageError
from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode
from tinycompile.ir.plan import Placement, Plan, Push, Step
from tinycompile.ops.registry import operator
from tinycompile.passes.fuse_bottlenecks import bottlenecks, fuse_bottlenecks
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.schedule import RowPlanner, plan_graph, verify_plan
from tinycompile.zoo.architectures import mobilenet_v2

MODES = [InputMode.RESIDENT, InputMode.STREAMED, InputMode.EXTERNAL]


def planner(graph: Graph, mode: InputMode = InputMode.RESIDENT, effort: int = 1) -> RowPlanner:
    return RowPlanner(stream_reductions(graph), PlainTarget(), input_mode=mode, effort=effort)


def check(graph: Graph, plan: Plan) -> None:
    """The plan is proven, and computes what the whole-buffer references of the graph before any rewriting say."""
    verify_plan(plan)
    inputs = random_inputs(graph)
    want = run_graph(graph, inputs)
    for name, value in zip(graph.outputs, run_plan(plan, inputs), strict=True):
        np.testing.assert_array_equal(value, want[name])


def check_c(graph: Graph, plan: Plan, folder: Path) -> None:
    for name, text in emit_c(plan).files.items():
        (folder / name).write_text(text, encoding="utf-8")
    samples = [random_inputs(graph, seed) for seed in (3, 4)]
    run = run_host(folder, plan.interface, [np.stack(arrays) for arrays in zip(*samples, strict=True)])
    for k, inputs in enumerate(samples):
        want = run_graph(graph, inputs)
        for name, value in zip(graph.outputs, run.outputs, strict=True):
            np.testing.assert_array_equal(value[k], want[name])


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.sampled_from(MODES), st.integers(0, 8))
def test_every_plan_computes_its_network(graph: Graph, mode: InputMode, room: int) -> None:
    rows = planner(graph, mode)
    least = rows.plan()
    check(graph, least)
    roomy = rows.plan(least.arena_bytes * (8 + room) // 8)
    assert roomy.arena_bytes <= least.arena_bytes * (8 + room) // 8
    check(graph, roomy)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(ops=4, inputs=2), st.sampled_from([InputMode.RESIDENT, InputMode.EXTERNAL]))
def test_networks_of_two_inputs(graph: Graph, mode: InputMode) -> None:
    if mode is InputMode.EXTERNAL and set(graph.inputs) & set(graph.outputs):
        with pytest.raises(UsageError, match="output as well"):
            planner(graph, mode)
        return
    check(graph, planner(graph, mode).plan())


@pytest.mark.parametrize("mode", [InputMode.STREAMED, InputMode.EXTERNAL])
def test_a_concat_is_not_laid_out_around_the_callers_memory(mode: InputMode) -> None:
    """An input that is not in the arena is copied where a resident one would be written beside the other part."""
    b = GraphBuilder()
    x = b.input((1, 5, 3, 2))
    inner = b.concat(x, b.conv(x, 2, 3))
    graph = b.graph([b.concat(x, b.conv(b.conv(inner, 2, 3), 2))])
    check(graph, planner(graph, mode).plan())
    resident = planner(graph).plan()
    assert len({s.op for s in resident.computed}) < len({s.op for s in planner(graph, mode).plan().computed})


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(networks(), st.sampled_from(MODES))
def test_the_generated_c_computes_the_network(tmp_path: Path, graph: Graph, mode: InputMode) -> None:
    check_c(graph, planner(graph, mode).plan(), tmp_path)


def fused(graph: Graph) -> Graph:
    """Every inverted bottleneck as one operator."""
    return fuse_bottlenecks(graph, {block.name: 1 for block in bottlenecks(graph)})


def scratch_span(plan: Plan, step: Step | Push) -> tuple[int, int]:
    """The bytes of a step's scratch."""
    place = plan.scratch[step.op] if isinstance(step, Step) else None
    if not isinstance(step, Step) or place is None:
        return 0, 0
    low = place.offsets[step.region.y0]
    return low, low + place.row_bytes


def moved_scratch(plan: Plan, step: Step, low: int) -> Plan:
    place = plan.scratch[step.op]
    assert place is not None
    y = step.region.y0
    wrong = replace(place, offsets=(*place.offsets[:y], low, *place.offsets[y + 1 :]))
    return replace(plan, scratch=tuple(wrong if k == step.op else at for k, at in enumerate(plan.scratch)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bottleneck_networks(), st.sampled_from(MODES), st.integers(0, 8))
def test_fused_bottlenecks_with_their_scratch(graph: Graph, mode: InputMode, room: int) -> None:
    rows = planner(fused(graph), mode)
    least = rows.plan()
    for plan in (least, rows.plan(least.arena_bytes * (8 + room) // 8)):
        check(graph, plan)
        wants = [operator(op.kind).scratch_bytes(plan.graph.node(op)) for op in plan.ops]
        assert [0 if at is None else at.row_bytes for at in plan.scratch] == wants
        assert any(wants)
        live = [sum(x.high - x.low for x in plan.lives if x.first <= k <= x.last) for k in range(len(plan.steps))]
        for k, step in enumerate(plan.steps):
            low, high = scratch_span(plan, step)
            assert low % 4 == 0
            assert plan.live_bytes[k] <= live[k] + high - low
            assert plan.live_bytes[k] >= high - low
    assert least.certificate.schedule_bound_bytes >= max(least.live_bytes)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(bottleneck_networks(), st.sampled_from(MODES))
def test_fused_bottlenecks_in_c(tmp_path: Path, graph: Graph, mode: InputMode) -> None:
    check_c(graph, planner(fused(graph), mode).plan(), tmp_path)


def small_mobilenet() -> Graph:
    return mobilenet_v2(0.35, 32, classes=10)


@pytest.mark.parametrize("mode", MODES)
def test_mobilenet_v2_with_all_blocks_fused(mode: InputMode, tmp_path: Path) -> None:
    graph = small_mobilenet()
    plan = planner(fused(graph), mode).plan()
    assert plan.row_program
    check(graph, plan)
    check_c(graph, plan, tmp_path)


def test_a_fused_block_needs_less_where_its_map_is_wide() -> None:
    b = GraphBuilder()
    x = conv(b, b.input((1, 24, 24, 3)), 4, (3, 3), (2, 2))
    y = depthwise(b, conv(b, x, 24, (1, 1)), (3, 3), pad=(1, 1, 1, 1))
    graph = b.graph([b.mean(b.add(x, conv(b, y, 4, (1, 1))))])
    apart, one = (planner(g, InputMode.EXTERNAL).plan() for g in (graph, fused(graph)))
    assert 2 * one.arena_bytes < apart.arena_bytes
    check(graph, one)


@pytest.mark.parametrize("mode", MODES)
def test_scratch_on_a_row_in_use_is_found(mode: InputMode) -> None:
    plan = planner(fused(small_mobilenet()), mode).plan()
    caught = 0
    for k, step in enumerate(plan.steps):
        low, high = scratch_span(plan, step)
        if not isinstance(step, Step) or low == high or k % 3:
            continue
        held = [x for x in plan.lives if x.first < k < x.last and x.low + high - low <= plan.arena_bytes]
        for life in held[:2]:
            with pytest.raises(InternalError):
                verify_plan(moved_scratch(plan, step, life.low))
            caught += 1
    assert caught >= 16


def test_scratch_beyond_the_arena_is_found() -> None:
    plan = planner(fused(small_mobilenet()), InputMode.EXTERNAL).plan()
    first = {step.op: step for step in reversed(plan.computed) if plan.scratch[step.op] is not None}
    assert len(first) >= 16
    for step in first.values():
        low, high = scratch_span(plan, step)
        for at in (plan.arena_bytes - (high - low) + 1, -1):
            with pytest.raises(InternalError, match="do not lie in the arena"):
                verify_plan(moved_scratch(plan, step, at))
        missing = tuple(None if k == step.op else at for k, at in enumerate(plan.scratch))
        with pytest.raises(InternalError, match="do not lie in the arena"):
            verify_plan(replace(plan, scratch=missing))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.sampled_from(MODES), st.data())
def test_a_moved_row_is_found(graph: Graph, mode: InputMode, data: st.DataObject) -> None:
    """Where a row that is read lies a byte off for its writer or one of its readers, the verifier says so."""
    plan = planner(graph, mode, effort=0).plan()
    lives = [x for x in plan.lives if x.last > x.first]
    assume(lives)
    life = data.draw(st.sampled_from(lives))
    # A placement is one for writer and reader, so only a clash with another row can be wrong: what lies there first.
    others = [x for x in plan.lives if x.first <= life.last and life.first < x.first and x.tensor != life.tensor]
    assume(others)
    other = data.draw(st.sampled_from(others))
    place = plan.placements[life.tensor]
    assume(place.offsets[life.y0] != other.low and other.low + place.row_bytes <= plan.arena_bytes)
    offsets = list(place.offsets)
    offsets[life.y0] = other.low
    wrong = replace(plan, placements={**plan.placements, life.tensor: replace(place, offsets=tuple(offsets))})
    try:
        verify_plan(wrong)
    except InternalError:
        return
    check(graph, wrong)  # a harmless move: the verifier may only let pass what computes the same


def ring(plan: Plan) -> tuple[str, Placement]:
    """A tensor some of whose rows share a place one after another, and its placement."""
    return max(plan.placements.items(), key=lambda item: len(item[1].offsets) - len(set(item[1].offsets)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("build", [resnet8, inverted_bottleneck])
def test_a_ring_one_row_short_is_found(build: type, mode: InputMode) -> None:
    plan = planner(build(), mode).plan()
    verify_plan(plan)
    caught = 0
    for life in plan.lives:
        later = [x for x in plan.lives if x.tensor == life.tensor and life.first < x.first <= life.last]
        if not later or plan.placements[life.tensor].external is not None:
            continue
        place = plan.placements[life.tensor]
        offsets = list(place.offsets)
        offsets[later[0].y0] = place.offsets[life.y0]
        short = replace(plan, placements={**plan.placements, life.tensor: replace(place, offsets=tuple(offsets))})
        with pytest.raises(InternalError):
            verify_plan(short)
        caught += 1
        if caught == 12:
            break
    assert caught


def moved_by_a_byte(plan: Plan) -> list[Plan]:
    """Plans in which all rows of one tensor lie a byte lower or higher: distances to what it overlaps are one less."""
    found = []
    for name, place in plan.placements.items():
        for by in (-1, 1):
            offsets = tuple(o + by for o in place.offsets)
            fits = min(offsets) >= 0 and max(offsets) + place.row_bytes <= plan.arena_bytes
            if fits and place.external is None:
                moved = replace(place, offsets=offsets)
                found.append(replace(plan, placements={**plan.placements, name: moved}))
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("build", [resnet8, inverted_bottleneck])
def test_an_overlap_one_byte_less_is_found(build: Callable[[], Graph], mode: InputMode, tmp_path: Path) -> None:
    """The verifier refuses it wherever it changes a result, and the comparison with the reference sees that it does."""
    graph = build()
    plan = planner(graph, mode).plan()
    inputs = random_inputs(graph)
    want = run_graph(graph, inputs)
    different = []
    for wrong in moved_by_a_byte(plan):
        try:
            verify_plan(wrong)
        except InternalError:
            got = run_plan(wrong, inputs)
            if not all(np.array_equal(g, want[n]) for g, n in zip(got, graph.outputs, strict=True)):
                different.append(wrong)
        else:
            check(graph, wrong)
    assert len(different) >= 3
    with pytest.raises(AssertionError, match="not equal"):
        check_c(graph, different[0], tmp_path)


def test_a_row_skipped_or_pushed_twice_is_found() -> None:
    plan = planner(resnet8(), InputMode.STREAMED).plan()
    first = next(k for k, s in enumerate(plan.steps) if isinstance(s, Push))
    without = replace(plan, steps=plan.steps[:first] + plan.steps[first + 1 :], live_bytes=plan.live_bytes[1:])
    with pytest.raises(InternalError, match=r"in order|not intact"):
        verify_plan(without)
    twice = replace(
        plan,
        steps=(*plan.steps[: first + 1], plan.steps[first], *plan.steps[first + 1 :]),
        live_bytes=(*plan.live_bytes, 0),
    )
    with pytest.raises(InternalError, match="in order"):
        verify_plan(twice)


def test_a_step_may_not_write_to_the_callers_memory() -> None:
    plan = planner(resnet8(), InputMode.EXTERNAL).plan()
    name = plan.ops[plan.computed[0].op].outputs[0]
    place = plan.placements[name]
    wrong = replace(place, offsets=tuple(0 for _ in place.offsets), external=0)
    with pytest.raises(InternalError, match="caller's memory"):
        verify_plan(replace(plan, placements={**plan.placements, name: wrong}))


@pytest.mark.parametrize("mode", MODES)
def test_resnet8_in_c(mode: InputMode, tmp_path: Path) -> None:
    graph = resnet8()
    check_c(graph, planner(graph, mode).plan(), tmp_path)


def test_rows_that_all_lie_in_one_place_compile(tmp_path: Path) -> None:
    """Then the address of a window's only row does not depend on the row."""
    b = GraphBuilder()
    x = b.conv(b.input((1, 6, 3, 4)), 5)
    graph = b.graph([b.mean(b.conv(x, 2))])
    plan = planner(graph, InputMode.STREAMED).plan()
    assert plan.placements[x].affine == (plan.placements[x].offsets[0], 0)
    check_c(graph, plan, tmp_path)


def test_with_room_enough_operators_make_all_their_rows_at_once() -> None:
    graph = resnet8()
    plan = planner(graph).plan(1 << 20)
    order = [s.op for s in plan.computed]
    assert sum(a != b for a, b in pairwise(order)) == len(set(order)) - 1
    whole = plan_graph(graph, PlainTarget())
    assert plan.arena_bytes <= whole.arena_bytes * 5 // 4
    check(graph, plan)


def test_several_streamed_inputs_are_refused() -> None:
    b = GraphBuilder()
    graph = b.graph([b.add(b.input((1, 4, 4, 2)), b.input((1, 4, 4, 2)))])
    with pytest.raises(UsageError, match="cannot be streamed"):
        planner(graph, InputMode.STREAMED)
