"""Stages in tiles: the same integers as the network whole, whatever the grid; wrong halos and paddings are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import bottleneck_networks, conv, depthwise, networks
from schedule_graphs import GraphBuilder, PlainTarget, random_inputs, resnet8
from test_row_planner import MODES, check, check_c, fused, planner

from tinycompile.emulate.interpreter import run_graph
from tinycompile.errors import InternalError
from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode
from tinycompile.ir.verify import verify_graph
from tinycompile.ops.registry import OPERATORS
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.passes.tile_stage import Stage, TiledGraph, stage_ops, tile_stage
from tinycompile.passes.verify_tiles import verify_tiles
from tinycompile.schedule import RowPlanner


def same_outputs(before: Graph, after: Graph) -> bool:
    inputs = random_inputs(before)
    want, got = run_graph(before, inputs), run_graph(after, inputs)
    return all(np.array_equal(want[n], got[n]) for n in before.outputs)


def tiled(graph: Graph, end: str, rows: int, columns: int) -> TiledGraph | None:
    found = tile_stage(graph, Stage(graph.inputs, end, rows, columns))
    if found is not None:
        verify_graph(found.graph, "tile_stage", OPERATORS)
        verify_tiles(graph, found)
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(networks(ops=7), st.integers(1, 4), st.integers(1, 4), st.data())
def test_tiles_compute_the_network(graph: Graph, rows: int, columns: int, data: st.DataObject) -> None:
    ends = [op.outputs[0] for op in graph.ops if stage_ops(graph, graph.inputs, op.outputs[0])]
    assume(ends)
    found = tiled(graph, data.draw(st.sampled_from(ends)), rows, columns)
    assume(found is not None)
    assert found is not None
    assert len(found.stops) == rows * columns - 1
    assert same_outputs(graph, found.graph)


def two_stages() -> tuple[Graph, str]:
    """Three convolutions with a skip connection across the last two, then one more: the stage ends at the addition."""
    b = GraphBuilder()
    x = b.conv(b.input((1, 13, 11, 3)), 4, 3, 2)
    end = b.add(b.conv(b.conv(x, 6, 3), 4, 3), x)
    return b.graph([b.conv(end, 5, 3)]), end


@pytest.mark.parametrize("mode", [InputMode.RESIDENT, InputMode.EXTERNAL])
@pytest.mark.parametrize(("rows", "columns"), [(1, 3), (2, 2), (3, 1)])
def test_plans_of_tiles_are_proven_and_run(mode: InputMode, rows: int, columns: int, tmp_path: Path) -> None:
    graph, end = two_stages()
    found = tiled(graph, end, rows, columns)
    assert found is not None
    plan = planner(found.graph, mode).plan()
    check(graph, plan)
    check_c(graph, plan, tmp_path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(networks(ops=5), st.sampled_from(MODES), st.integers(1, 3), st.integers(1, 3), st.data())
def test_every_plan_of_tiles_computes_the_network(
    graph: Graph, mode: InputMode, rows: int, columns: int, data: st.DataObject
) -> None:
    ends = [op.outputs[0] for op in graph.ops if stage_ops(graph, graph.inputs, op.outputs[0])]
    assume(ends)
    found = tiled(graph, data.draw(st.sampled_from(ends)), rows, columns)
    assume(found is not None)
    assert found is not None
    check(graph, planner(found.graph, mode).plan())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(bottleneck_networks(), st.integers(1, 3), st.integers(1, 3), st.data())
def test_tiles_of_fused_bottlenecks_compute_the_network(
    graph: Graph, rows: int, columns: int, data: st.DataObject
) -> None:
    """With and without the addition of the input, which a tile finds behind its halo."""
    one = fused(graph)
    ends = [op.outputs[0] for op in one.ops if stage_ops(one, one.inputs, op.outputs[0])]
    found = tiled(one, data.draw(st.sampled_from(ends)), rows, columns)
    assume(found is not None)
    assert found is not None
    assert same_outputs(graph, found.graph)


def residual_blocks() -> tuple[Graph, str]:
    """Two fused bottlenecks that add their inputs: the second one's name."""
    b = GraphBuilder()
    x = b.input((1, 7, 8, 3))
    for _ in range(2):
        y = depthwise(b, conv(b, x, 7, (1, 1)), (3, 3), pad=(1, 1, 1, 1))
        x = b.add(x, conv(b, y, 3, (1, 1)))
    return fused(b.graph([x])), x


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 2), (3, 1)])
def test_tiles_of_residual_blocks_in_c(mode: InputMode, rows: int, columns: int, tmp_path: Path) -> None:
    graph, end = residual_blocks()
    found = tiled(graph, end, rows, columns)
    assert found is not None
    moved = {op.attrs.residual_at for op in found.graph.ops if op.kind == "inverted_bottleneck"}  # type: ignore[attr-defined]
    assert len(moved) > 1
    plan = RowPlanner(found.graph, PlainTarget(), input_mode=mode, stops=found.stops).plan()
    check(graph, plan)
    check_c(graph, plan, tmp_path)


def test_a_tile_that_adds_another_pixel_is_found_and_would_compute_something_else() -> None:
    graph, end = residual_blocks()
    found = tiled(graph, end, 2, 2)
    assert found is not None
    caught = 0
    for k, op in enumerate(found.graph.ops):
        at = getattr(op.attrs, "residual_at", (0, 0))
        for axis in (0, 1):
            if at[axis] == 0:
                continue
            moved = tuple(a - (i == axis) for i, a in enumerate(at))
            ops = list(found.graph.ops)
            ops[k] = replace(op, attrs=replace(op.attrs, residual_at=moved))  # type: ignore[call-arg]
            wrong = replace(found, graph=replace(found.graph, ops=tuple(ops)))
            with pytest.raises(InternalError, match="attributes"):
                verify_tiles(graph, wrong)
            assert not same_outputs(graph, wrong.graph)
            caught += 1
    assert caught >= 8


def test_a_stage_must_hold_all_that_it_needs_and_nothing_that_others_need() -> None:
    graph, end = two_stages()
    first = graph.ops[0].outputs[0]
    assert stage_ops(graph, (first,), end) is not None
    assert stage_ops(graph, (graph.ops[1].outputs[0],), end) is None  # the skip connection comes from before it
    assert stage_ops(graph, graph.inputs, graph.ops[1].outputs[0]) is None  # its first map is added later
    assert tile_stage(graph, Stage(graph.inputs, end, 1, 99)) is None


def test_halos_overlap_and_nothing_else_is_computed_twice() -> None:
    graph, end = two_stages()
    found = tiled(graph, end, 1, 2)
    assert found is not None
    width = {name: graph.tensors[name].form.width for name in graph.tensors}
    for name in (op.outputs[0] for op in graph.ops[:4]):
        parts = [r for n, (of, r) in found.regions.items() if of == name and "[" not in n and n != name]
        overlap = sum(r.cols for r in parts) - width[name]
        assert overlap == {graph.ops[0].outputs[0]: 4, graph.ops[1].outputs[0]: 2}.get(name, 0)


def test_reductions_that_stream_stay_behind_the_tiles() -> None:
    graph = stream_reductions(resnet8())
    end = next(op for op in graph.ops if op.kind == "add").outputs[0]
    found = tiled(graph, end, 1, 4)
    assert found is not None
    assert same_outputs(graph, found.graph)
    check(graph, planner(found.graph).plan())


def mutant(graph: Graph, found: TiledGraph, kind: str) -> TiledGraph:
    """One operator of the tiles made wrong: a halo one column short, or a padding that is not there."""
    ops = list(found.graph.ops)
    for k, op in enumerate(ops):
        if op.kind == "conv2d" and op.outputs[0] in found.regions and op.attrs.pad[2] and kind == "padding":
            attrs = replace(op.attrs, pad=(*op.attrs.pad[:2], op.attrs.pad[2] - 1, op.attrs.pad[3] + 1))
            ops[k] = replace(op, attrs=attrs)
            break
        if op.kind == "crop" and kind == "halo":
            r = op.attrs.region
            if r.x0 > 0:
                ops[k] = replace(op, attrs=replace(op.attrs, region=replace(r, x0=r.x0 - 1, x1=r.x1 - 1)))
                break
    else:
        raise AssertionError("nothing to break")
    return replace(found, graph=replace(found.graph, ops=tuple(ops)))


@pytest.mark.parametrize("kind", ["padding", "halo"])
def test_wrong_tiles_are_found_and_would_compute_something_else(kind: str) -> None:
    graph, end = two_stages()
    found = tiled(graph, end, 1, 3)
    assert found is not None
    wrong = mutant(graph, found, kind)
    with pytest.raises(InternalError):
        verify_tiles(graph, wrong)
    assert not same_outputs(graph, wrong.graph)


def test_a_tile_that_lies_in_the_padding_cannot_be_cut() -> None:
    b = GraphBuilder()
    x = conv(b, b.input((1, 4, 4, 2)), 3, (1, 1))
    x = conv(b, x, 2, (1, 2), pad=(0, 2, 0, 0))  # its first column is made from padding alone
    graph = b.graph([x])
    assert tile_stage(graph, Stage(graph.inputs, x, 1, 2)) is not None
    assert tile_stage(graph, Stage(graph.inputs, x, 1, 5)) is None
