"""The frontier of bytes against recompute: every plan on it computes its network, in no more MACs than allowed; what is
estimated is close to what is planned."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import bottleneck_networks, conv, depthwise, networks
from schedule_graphs import GraphBuilder, random_inputs, resnet8
from test_row_planner import check, check_c

from tinycompile.codegen.c import stack_estimate_bytes
from tinycompile.emulate.interpreter import run_graph
from tinycompile.errors import UsageError
from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.plan import Plan
from tinycompile.passes.fuse_bottlenecks import bottlenecks
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.passes.tile_stage import Stage
from tinycompile.planning.advice import recomputed_layers
from tinycompile.planning.choose import Chooser, choose_plan
from tinycompile.planning.goal import Goal, Patches
from tinycompile.planning.patches import pinned
from tinycompile.planning.recompute import Recompute, rewrite
from tinycompile.schedule.assembly import network_macs
from tinycompile.schedule.row_model import build_row_model
from tinycompile.schedule.segments import ENTRY, Segments
from tinycompile.schedule.stages import staged_order
from tinycompile.schedule.storage import analyse_storage
from tinycompile.target import load_target

MODES = [InputMode.RESIDENT, InputMode.STREAMED, InputMode.EXTERNAL]
TARGET = load_target("cortex-m7")


def chooser(graph: Graph, mode: InputMode, max_recompute: float = 3.0, sram: int | None = None) -> Chooser:
    goal = Goal(mode, sram is None, sram, max_recompute=max_recompute)
    return Chooser(graph, TARGET, "net", goal)


def mobile() -> Graph:
    """A small MobileNetV2 whose first maps are by far the largest."""
    b = GraphBuilder()
    x = conv(b, b.input((1, 36, 36, 3)), 8, (3, 3), (2, 2), pad=(0, 0, 1, 1))
    for expanded, channels, stride in ((24, 8, 1), (32, 12, 2), (36, 12, 1), (36, 16, 2)):
        y = depthwise(b, conv(b, x, expanded, (1, 1)), (3, 3), (stride, stride), pad=(1, 1, 1, 1))
        y = conv(b, y, channels, (1, 1))
        x = b.add(x, y) if stride == 1 else y
    return b.graph([b.dense(b.reshape(b.mean(x), (1, 16)), 10)])


def executed(plan: Plan) -> float:
    return network_macs(plan.graph) / plan.network_macs


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.sampled_from(MODES))
def test_every_plan_on_the_frontier_computes_its_network(graph: Graph, mode: InputMode) -> None:
    if mode is not InputMode.RESIDENT and set(graph.inputs) & set(graph.outputs):
        return
    for plan in chooser(graph, mode).frontier_plans():
        check(graph, plan)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bottleneck_networks(), st.sampled_from(MODES))
def test_every_plan_of_bottlenecks_on_the_frontier_computes_its_network(graph: Graph, mode: InputMode) -> None:
    for plan in chooser(graph, mode).frontier_plans():
        check(graph, plan)


def every_plan_in_c(graph: Graph, mode: InputMode, results: OutputMode) -> None:
    """Verifier, interpreter and sanitised C agree with the layers for every plan on the frontier, on inputs to which
    the outputs answer."""
    assume(mode is InputMode.RESIDENT or not set(graph.inputs) & set(graph.outputs))
    goal = Goal(mode, True, max_recompute=3.0, effort=0, output_mode=results)
    given = [[run_graph(graph, random_inputs(graph, seed))[n] for n in graph.outputs] for seed in (3, 4)]
    assume(any(not np.array_equal(a, b) for a, b in zip(*given, strict=True)))
    for plan in Chooser(graph, TARGET, "net", goal).frontier_plans():
        check(graph, plan)
        with tempfile.TemporaryDirectory() as folder:
            check_c(graph, plan, Path(folder))


DRAWN = (
    st.one_of(networks(ops=4), bottleneck_networks()),
    st.sampled_from(MODES),
    st.sampled_from(OutputMode),
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(*DRAWN)
def test_every_plan_on_the_frontier_in_c(graph: Graph, mode: InputMode, results: OutputMode) -> None:
    every_plan_in_c(graph, mode, results)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(*DRAWN)
def test_every_plan_on_the_frontier_of_many_networks_in_c(graph: Graph, mode: InputMode, results: OutputMode) -> None:
    every_plan_in_c(graph, mode, results)


@pytest.mark.parametrize("mode", [InputMode.STREAMED, pytest.param(InputMode.EXTERNAL, marks=pytest.mark.slow)])
def test_the_frontier_of_a_mobilenet_in_c(mode: InputMode, tmp_path: Path) -> None:
    graph = mobile()
    plans = list(chooser(graph, mode).frontier_plans())
    least = min(p.arena_bytes for p in plans if executed(p) == 1.0)
    again = [p for p in plans if executed(p) > 1.0]
    assert again
    assert min(p.arena_bytes for p in again) < least
    assert any("@" in op.name for p in again for op in p.ops) == (mode is InputMode.EXTERNAL)  # pushed once
    assert any(op.kind == "inverted_bottleneck" for p in again for op in p.ops)
    for k, plan in enumerate((again[0], again[-1])):
        (tmp_path / str(k)).mkdir()
        check(graph, plan)
        check_c(graph, plan, tmp_path / str(k))


@pytest.mark.parametrize("most", [1.0, 1.02, 1.1, 1.5])
def test_no_more_is_executed_than_allowed(most: float) -> None:
    graph = mobile()
    plan = choose_plan(graph, TARGET, "net", Goal(InputMode.EXTERNAL, True, max_recompute=most))
    assert 1.0 <= executed(plan) <= most


def test_recompute_is_used_only_where_nothing_else_fits() -> None:
    graph = mobile()
    c = chooser(graph, InputMode.EXTERNAL)
    least = c._planner(c.streamed).plan()
    stack = stack_estimate_bytes(least)
    for sram, again in ((1 << 20, False), (least.arena_bytes + stack + 200, False), (least.arena_bytes + stack, True)):
        plan = chooser(graph, InputMode.EXTERNAL, sram=sram - 1).plan()
        assert (executed(plan) > 1.0) == again
        assert plan.arena_bytes + stack_estimate_bytes(plan) < sram


def least_of_segments(segments: Segments) -> int:
    """The least peak of any way to stream a network between its cuts, by the estimates of its segments."""
    best = {ENTRY: segments.nbytes(ENTRY)}
    for end in segments.cuts:
        for begin in [b for b in best if b < end]:
            profile = segments.profile(begin, end, 1 << 40)
            assert profile is not None
            best[end] = min(best.get(end, 1 << 40), max(best[begin], segments.peak(profile)))
    return best[segments.cuts[-1]]


def test_estimates_of_streamed_segments_are_what_orders_need() -> None:
    for graph in (stream_reductions(resnet8()), stream_reductions(mobile())):
        model = build_row_model(graph, analyse_storage(graph), InputMode.EXTERNAL)
        assert least_of_segments(Segments(model)) == staged_order(model).peak_bytes


@pytest.mark.parametrize("mode", [InputMode.RESIDENT, InputMode.EXTERNAL])
def test_estimated_points_are_close_to_their_plans(mode: InputMode) -> None:
    graph = mobile()
    c = chooser(graph, mode)
    least = c._planner(c.streamed).plan()
    points = [p for p in c.points(least.certificate.schedule_bound_bytes) if p.how]
    assert points
    assert [p.peak_bytes for p in points] == sorted((p.peak_bytes for p in points), reverse=True)
    assert [p.recompute for p in points] == sorted(p.recompute for p in points)
    for point in points[:: max(len(points) // 4, 1)]:
        plan = c.recomputing(point.how)
        assert max(plan.live_bytes) <= point.peak_bytes * 1.05
        assert executed(plan) == pytest.approx(point.recompute, rel=1e-3)


def test_layers_of_which_part_is_computed_twice_add_up() -> None:
    graph = stream_reductions(mobile())
    end = next(op.outputs[0] for op in graph.ops if op.kind == "add")
    fused = frozenset([(bottlenecks(graph)[1].name, 1)])
    how = Recompute(fused, (Stage(graph.inputs, end, 2, 3),))
    layers = recomputed_layers(graph, how)
    extra = network_macs(rewrite(graph, how).graph) - network_macs(graph)
    assert extra > 0
    assert sum(r.extra_macs for r in layers) == extra
    assert any(r.saved_macs > 0 for r in layers)
    assert all(r.saved_macs <= sum(x.extra_macs for x in layers) for r in layers)


def small() -> Graph:
    b = GraphBuilder()
    x = b.conv(b.input((1, 12, 12, 3)), 8, 3, 2)
    return b.graph([b.dense(b.reshape(b.mean(b.conv(b.conv(x, 8, 3), 4, 3)), (1, 4)), 3)])


def test_pinned_patches() -> None:
    graph = small()
    for patches in (Patches(2, 2), Patches(1, 3, graph.ops[1].outputs[0]), Patches(3, 1, graph.ops[2].name)):
        goal = Goal(InputMode.EXTERNAL, True, patches=patches)
        plan = choose_plan(graph, TARGET, "net", goal)
        check(graph, plan)
        made = {op.outputs[0] for op in plan.ops}
        ends = {n.rpartition("@")[0] for n in made if n.rpartition("@")[2].isdigit()}
        assert ends
        if patches.stage_end is not None:
            position = {op.outputs[0]: k for k, op in enumerate(graph.ops)}
            wanted = {op.outputs[0] for op in graph.ops if patches.stage_end in (op.name, op.outputs[0])}
            assert max(ends, key=lambda e: position[e]) in wanted


@pytest.mark.parametrize(
    ("patches", "mode", "message"),
    [
        (Patches(2, 2), InputMode.STREAMED, "cannot be read again"),
        (Patches(50, 50), InputMode.EXTERNAL, "has 50 rows"),
        (Patches(2, 2, "nowhere"), InputMode.EXTERNAL, "no node or tensor 'nowhere'"),
        (Patches(2, 9, "conv2d_2"), InputMode.EXTERNAL, "cannot be cut into 2x9"),
    ],
)
def test_patches_that_cannot_be(patches: Patches, mode: InputMode, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pinned(stream_reductions(small()), patches, mode)


def test_a_plan_says_what_it_computes_twice() -> None:
    plan = choose_plan(small(), TARGET, "net", Goal(InputMode.EXTERNAL, True, patches=Patches(2, 2)))
    assert plan.network_macs == network_macs(small())
    assert plan.recomputed
    assert "2x2 tiles" in plan.certificate.space
