"""Estimated cycles: what a plan executes, counted by hand, and what more work costs."""

from __future__ import annotations

from dataclasses import replace

from random_networks import conv, depthwise
from schedule_graphs import GraphBuilder, resnet8

from tinycompile.costs import Work, estimated_cycles, work_of
from tinycompile.ir.interface import InputMode
from tinycompile.passes.fuse_bottlenecks import bottlenecks, fuse_bottlenecks
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.planning.choose import choose_plan
from tinycompile.planning.goal import Goal, Patches
from tinycompile.schedule import RowPlanner, plan_graph
from tinycompile.target import list_targets, load_target

TARGET = load_target("cortex-m7")


def test_work_of_a_hand_counted_network() -> None:
    b = GraphBuilder()
    x = conv(b, b.input((1, 6, 5, 2)), 4, (3, 3), pad=(1, 1, 1, 1))
    graph = b.graph([depthwise(b, x, (3, 3), pad=(1, 1, 1, 1))])
    weights = (4 * 9 * 2 + 4 * 4) + (4 * 9 + 4 * 4)
    want = Work(30 * 4 * 9 * 2, 30 * 4 * 9, 2 * 30 * 4, 0, 0, 12, 2, 6 * weights)
    assert work_of(plan_graph(graph, TARGET)) == want
    plain = Work(0, 0, 0, 30 * 4 * 9 * 2 + 30 * 4 * 9, 2 * 30 * 4, 12, 2, 6 * weights)
    assert work_of(plan_graph(graph, load_target("cortex-m3"))) == plain
    turns = work_of(RowPlanner(graph, TARGET, input_mode=InputMode.STREAMED).plan())
    assert replace(turns, runs=2) == want
    assert turns.runs > 2


def test_elements_inside_of_a_fused_bottleneck_count() -> None:
    b = GraphBuilder()
    y = depthwise(b, conv(b, b.input((1, 6, 5, 2)), 8, (1, 1)), (3, 3), pad=(1, 1, 1, 1))
    graph = b.graph([conv(b, y, 2, (1, 1))])
    (block,) = bottlenecks(graph)
    apart = work_of(plan_graph(graph, TARGET)).elems
    kept = work_of(plan_graph(fuse_bottlenecks(graph, {}, [block.name]), TARGET)).plain_elems
    again = work_of(plan_graph(fuse_bottlenecks(graph, {block.name: 1}), TARGET)).plain_elems
    assert kept == apart == 30 * (8 + 8 + 2)
    assert again == apart + (3 * 6 - 2 - 6) * 5 * 8


def test_more_work_takes_longer() -> None:
    b = GraphBuilder()
    x = b.conv(b.input((1, 12, 12, 3)), 8, 3)
    graph = b.graph([b.mean(b.conv(b.conv(x, 8, 3, 2), 4, 3))])
    whole = plan_graph(graph, TARGET)
    tiles = choose_plan(graph, TARGET, "net", Goal(minimize_sram=True, patches=Patches(1, 4)))
    rows = RowPlanner(stream_reductions(graph), TARGET).plan()
    cycles = [estimated_cycles(p, TARGET) for p in (whole, rows, tiles)]
    assert None not in cycles
    assert cycles[0] < cycles[2]  # type: ignore[operator]
    assert cycles[1] < cycles[2]  # type: ignore[operator]


def test_every_core_has_costs() -> None:
    assert [name for name in list_targets() if load_target(name).costs is None] == ["host"]
    assert estimated_cycles(plan_graph(resnet8(), TARGET), load_target("host")) is None
