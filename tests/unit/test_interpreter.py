"""The interpreter executes the plan and nothing else: right plans give the reference, wrong ones do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from schedule_graphs import GraphBuilder, PlainTarget, random_graph, random_inputs, resnet8

from tinycompile.emulate.compare import compare_arrays, first_difference, require_equal
from tinycompile.emulate.interpreter import run_graph, run_plan, run_plan_layers
from tinycompile.errors import CheckFailed, InternalError, UsageError
from tinycompile.ir.plan import Placement, Plan, Step
from tinycompile.ir.types import DType, Region
from tinycompile.schedule import plan_graph


def planned(seed: int) -> Plan:
    return plan_graph(random_graph(seed), PlainTarget())


def cut_into_columns(plan: Plan) -> Plan:
    """Every step that makes row by row as two column strips."""
    steps: list[Step] = []
    for step in plan.steps:
        r = step.region
        if step.merge or r.x1 < 2:
            steps.append(step)
        else:
            steps += [replace(step, region=replace(r, x1=1)), replace(step, region=replace(r, x0=1))]
    return replace(plan, steps=tuple(steps))


@pytest.mark.parametrize("seed", range(8))
def test_every_layer_equals_the_reference(seed: int) -> None:
    plan = planned(seed)
    inputs = random_inputs(plan.graph)
    want = run_graph(plan.graph, inputs)
    got = run_plan_layers(plan, inputs)
    assert got.keys() == want.keys()
    assert first_difference(plan.graph, got, want) is None
    require_equal(got, want, "layers")


def test_column_strips_give_the_same() -> None:
    plan = cut_into_columns(plan_graph(resnet8(), PlainTarget()))
    assert any(s.region.x0 for s in plan.steps)
    inputs = random_inputs(plan.graph)
    want = run_graph(plan.graph, inputs)[plan.graph.outputs[0]]
    # A residual add in strips overwrites only its own columns, so the plan stays right.
    np.testing.assert_array_equal(run_plan(plan, inputs, 0)[0], want)


def test_a_value_overwritten_too_early_shows_in_the_result() -> None:
    """The control: the interpreter does not hide a wrong placement."""
    b = GraphBuilder()
    x = b.conv(b.input((1, 4, 4, 2)), 2)
    y = b.conv(x, 2, 3)
    plan = plan_graph(b.graph([b.add(x, y)]), PlainTarget())
    inputs = random_inputs(plan.graph)
    want = run_graph(plan.graph, inputs)
    clobbering = replace(plan, placements={**plan.placements, y: plan.placements[x]})
    assert not np.array_equal(run_plan(clobbering, inputs, 0)[0], want[plan.graph.outputs[0]])
    found = first_difference(plan.graph, run_plan_layers(clobbering, inputs), want)
    assert found is not None
    assert found.tensor == y


def test_unwritten_bytes_show_as_the_fill_pattern() -> None:
    b = GraphBuilder()
    plan = plan_graph(b.graph([b.conv(b.input((1, 4, 4, 2)), 2)]), PlainTarget())
    inputs = random_inputs(plan.graph)
    lazy = replace(plan, steps=())
    runs = [run_plan(lazy, inputs, fill)[0] for fill in (0x00, 0x11)]
    assert not np.array_equal(runs[0], runs[1])


def test_an_output_above_its_input_eats_it_row_by_row() -> None:
    """An illegal overlap must not be repaired by computing everything before writing."""
    b = GraphBuilder()
    y = b.relu(b.input((1, 6, 2, 2)))
    plan = plan_graph(b.graph([y]), PlainTarget())
    shifted = replace(
        plan,
        placements={"in0": Placement.contiguous(0, 6, 4), y: Placement.contiguous(4, 6, 4)},
        arena_bytes=28,
    )
    inputs = random_inputs(plan.graph)
    assert not np.array_equal(run_plan(shifted, inputs, 0)[0], run_graph(plan.graph, inputs)[y])


def test_the_arena_is_exactly_as_large_as_the_plan_says() -> None:
    plan = plan_graph(resnet8(), PlainTarget())
    with pytest.raises(InternalError, match="outside the arena"):
        run_plan(replace(plan, arena_bytes=plan.arena_bytes - 1), random_inputs(plan.graph), 0)


def test_wrong_inputs_are_refused() -> None:
    plan = planned(1)
    inputs = random_inputs(plan.graph)
    for wrong in ([], [*inputs, inputs[0]], [inputs[0].astype(np.int16), *inputs[1:]], [inputs[0][:, :1], *inputs[1:]]):
        with pytest.raises(UsageError):
            run_plan(plan, wrong, 0)


def test_float_edges_and_columns_of_other_types() -> None:
    b = GraphBuilder()
    x = b.quantize(b.input((1, 4, 3, 2), DType.FLOAT32))
    plan = plan_graph(b.graph([b.dequantize(b.relu(x))]), PlainTarget())
    inputs = random_inputs(plan.graph)
    want = run_graph(plan.graph, inputs)
    np.testing.assert_array_equal(run_plan(plan, inputs, 7)[0], want[plan.graph.outputs[0]])


def test_partial_regions_leave_other_columns_alone() -> None:
    b = GraphBuilder()
    y = b.conv(b.input((1, 3, 4, 2)), 2)
    plan = plan_graph(b.graph([y]), PlainTarget())
    part = replace(plan, steps=(Step(0, Region(1, 2, 1, 3)),))
    got = run_plan(part, random_inputs(plan.graph), 0x5B)[0]
    want = run_graph(plan.graph, random_inputs(plan.graph))[y]
    np.testing.assert_array_equal(got[0, 1, 1:3], want[0, 1, 1:3])
    assert (got[0, 1, 3] == 0x5B).all()


def test_comparison_counts_and_measures() -> None:
    a = np.array([1, 2, -128, 5], np.int8)
    assert compare_arrays(a, a).exact
    c = compare_arrays(np.array([1, 3, 127, 5], np.int8), a)
    assert (c.elems, c.differing, c.max_difference, c.first) == (4, 2, 255.0, (1, 3.0, 2.0))
    zero = compare_arrays(np.array([0.0], np.float32), np.array([-0.0], np.float32))
    assert (zero.differing, zero.max_difference) == (1, 0.0)
    nan = np.array([np.nan], np.float32)
    assert compare_arrays(nan, nan).exact
    assert compare_arrays(nan, np.array([1.0], np.float32)).max_difference == np.inf
    with pytest.raises(CheckFailed):
        compare_arrays(a, a.astype(np.int16))
    with pytest.raises(CheckFailed):
        compare_arrays(a, a[:3])


def test_tolerance_is_in_lsb() -> None:
    plan = planned(2)
    want = run_graph(plan.graph, random_inputs(plan.graph))
    name = plan.graph.ops[1].outputs[0]
    off = {**want, name: np.where(want[name] > 0, want[name] - 1, want[name] + 1).astype(np.int8)}
    found = first_difference(plan.graph, off, want)
    assert found is not None
    assert (found.tensor, found.comparison.max_difference) == (name, 1.0)
    assert first_difference(plan.graph, off, want, tolerance=1) is None
    require_equal(off, want, "test", tolerance=1)
    with pytest.raises(CheckFailed, match=name):
        require_equal(off, want, "test")
