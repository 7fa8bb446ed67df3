"""`plan_graph`: figures of real shapes, views, in-place steps, ports of every kind; each plan verified and executed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from schedule_graphs import (
    GraphBuilder,
    PlainTarget,
    autoencoder,
    inverted_bottleneck,
    random_graph,
    random_inputs,
    resnet8,
)

from tinycompile.emulate.interpreter import run_graph, run_plan
from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Graph
from tinycompile.ir.plan import Plan
from tinycompile.ir.printer import print_plan
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.registry import operator
from tinycompile.schedule import plan_graph, verify_plan


def checked(graph: Graph) -> Plan:
    """The plan, verified, and executed against the graph's reference with two fill patterns."""
    plan = plan_graph(graph, PlainTarget())
    verify_plan(plan)
    inputs = random_inputs(graph)
    want = run_graph(graph, inputs)
    for fill in (0x00, 0xFF):
        for name, got in zip(graph.outputs, run_plan(plan, inputs, fill), strict=True):
            np.testing.assert_array_equal(got, want[name])
    return plan


@pytest.mark.parametrize(
    ("graph", "arena_bytes"),
    [(resnet8(), 49_152), (autoencoder(), 768), (inverted_bottleneck(), 96_000)],
    ids=["resnet8", "ad01", "mcunet"],
)
def test_known_shapes_reach_their_proven_peak(graph: Graph, arena_bytes: int) -> None:
    plan = checked(graph)
    assert plan.arena_bytes == arena_bytes
    assert plan.certificate.optimal
    assert plan.certificate.lower_bound_bytes == plan.certificate.schedule_bound_bytes == arena_bytes
    assert plan.live_bytes[plan.peak_step] == arena_bytes


def brute_force_peak(graph: Graph) -> int:
    """Least peak of live bytes over all orders of a graph without views, over sets of tensor names."""
    readers = {n: {o.name for o in graph.ops if n in o.inputs} for n in graph.tensors}
    run_time = {n for n, t in graph.tensors.items() if not t.is_const}

    def needed(name: str, done: set[str]) -> bool:
        return name in graph.outputs or bool(readers[name] - done)

    best: int | None = None
    for order in itertools.permutations(graph.ops):
        made, done = set(graph.inputs), set[str]()
        peak = sum(graph.tensors[n].nbytes for n in graph.inputs)
        for op in order:
            node, out = graph.node(op), op.outputs[0]
            if not {i for i in op.inputs if i in run_time} <= made:
                break
            alive = {n for n in made if needed(n, done)}
            done.add(op.name)
            over = [i for i in operator(op.kind).in_place(node) if not needed(op.inputs[i], done)]
            live = sum(graph.tensors[n].nbytes for n in alive) + (0 if over else graph.tensors[out].nbytes)
            peak = max(peak, live)
            made.add(out)
        else:
            best = peak if best is None else min(best, peak)
    assert best is not None
    return best


def branches() -> Graph:
    """Two branches whose order decides the peak, written in the worse order."""
    b = GraphBuilder()
    x = b.input((1, 4, 4, 2))
    wide_a, wide_b = b.conv(x, 12), b.conv(x, 16)
    small_a, small_b = b.conv(wide_a, 1), b.conv(wide_b, 1)
    return b.graph([b.add(small_a, small_b)])


def test_order_search_beats_the_files_own_order() -> None:
    graph = branches()
    plan = checked(graph)
    best = brute_force_peak(graph)
    assert plan.certificate.lower_bound_bytes == best == plan.arena_bytes
    assert [op.name for op in plan.ops] != [op.name for op in graph.ops]


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_are_planned_right_and_bounds_hold(seed: int) -> None:
    graph = random_graph(seed)
    plan = checked(graph)
    c = plan.certificate
    assert c.lower_bound_bytes <= c.schedule_bound_bytes <= plan.arena_bytes
    assert c.optimal == (plan.arena_bytes == c.lower_bound_bytes)
    if not any(op.kind in ("reshape", "concat") for op in graph.ops):
        assert c.lower_bound_bytes == brute_force_peak(graph)


def test_concat_of_whole_rows_is_a_view() -> None:
    b = GraphBuilder()
    x = b.input((1, 4, 4, 2))
    left, right = b.conv(x, 2), b.conv(x, 2)
    graph = b.graph([b.relu(b.concat(left, right, axis=1))])
    plan = checked(graph)
    assert all(plan.ops[s.op].kind != "concat" for s in plan.steps)
    assert plan.arena_bytes == 32 + 64
    offsets = [plan.placements[n].offsets[0] for n in (left, right)]
    assert offsets[1] - offsets[0] == 32


@pytest.mark.parametrize("how", ["twice", "scales", "channels", "two_concats"])
def test_concat_that_cannot_be_a_view_is_a_step(how: str) -> None:
    b = GraphBuilder()
    x = b.input((1, 4, 4, 2))
    left, right = b.conv(x, 2), b.conv(x, 2)
    if how == "twice":
        outs = [b.concat(left, left)]
    elif how == "scales":
        outs = [b.concat(left, right, quant=Quant((0.1,), (0,)))]
    elif how == "channels":
        outs = [b.concat(left, right, axis=3)]
    else:
        outs = [b.concat(left, right), b.concat(right, left)]
    plan = checked(b.graph(outs))
    assert sum(plan.ops[s.op].kind == "concat" for s in plan.steps) == 1


def test_growing_concats_share_one_buffer() -> None:
    """DenseNet: each concat extends the one before; all are views of the last."""
    b = GraphBuilder()
    x = b.conv(b.input((1, 4, 4, 2)), 2)
    for _ in range(3):
        x = b.concat(x, b.conv(b.reshape(x, (1, b.tensors[x].shape[1], 4, 2)), 2, 3)) if x else x
    plan = checked(b.graph([x]))
    assert all(plan.ops[s.op].kind == "conv2d" for s in plan.steps)


def test_quantize_writes_over_its_float_input() -> None:
    b = GraphBuilder()
    plan = checked(b.graph([b.quantize(b.input((1, 100), DType.FLOAT32))]))
    assert plan.arena_bytes == 400
    assert plan.certificate.optimal


def test_dequantize_gets_aligned_bytes_of_its_own() -> None:
    b = GraphBuilder()
    plan = checked(b.graph([b.dequantize(b.input((1, 5)))]))
    assert plan.placements[plan.graph.outputs[0]].offsets[0] % 4 == 0
    assert plan.arena_bytes == 25


def test_in_place_is_not_taken_from_a_value_that_is_still_needed() -> None:
    b = GraphBuilder()
    x = b.conv(b.input((1, 4, 4, 2)), 2)
    y = b.relu(x)
    plan = checked(b.graph([x, y]))
    assert plan.placements[x].offsets[0] != plan.placements[y].offsets[0]
    control = GraphBuilder()
    x = control.conv(control.input((1, 4, 4, 2)), 2)
    y = control.relu(x)
    plan = checked(control.graph([y]))
    assert plan.placements[x].offsets[0] == plan.placements[y].offsets[0]


def test_an_operand_added_to_itself_is_overwritten() -> None:
    b = GraphBuilder()
    x = b.input((1, 4, 4, 2))
    assert checked(b.graph([b.add(x, x)])).arena_bytes == 32


def test_ports_of_every_kind() -> None:
    """An input that is an output, an output that is a view of an input, an unused input, a result nobody reads."""
    b = GraphBuilder()
    through, viewed, unused, read = (b.input((1, 4, 4, 2)) for _ in range(4))
    b.conv(read, 8)
    plan = checked(b.graph([through, b.reshape(viewed, (1, 32)), b.relu(read)]))
    assert [p.c_name for p in plan.interface.inputs] == ["input_0", "input_1", "input_2", "input_3"]
    assert [p.c_name for p in plan.interface.outputs] == ["output_0", "output_1", "output_2"]
    offsets = {plan.placements[n].offsets[0] for n in (through, viewed, unused, read)}
    assert len(offsets) == 4


def test_a_graph_without_steps() -> None:
    b = GraphBuilder()
    x = b.input((1, 8))
    plan = checked(b.graph([x]))
    assert (plan.steps, plan.arena_bytes, plan.peak_step) == ((), 8, 0)
    assert plan.interface.inputs[0].c_name == "input"
    assert plan.interface.outputs[0].c_name == "output"


def test_constant_output_is_refused() -> None:
    b = GraphBuilder()
    b.input((1, 8))
    with pytest.raises(UnsupportedError, match="constant"):
        plan_graph(b.graph([b.const(np.zeros((1, 4), np.int8))]), PlainTarget())


def test_equal_graphs_give_equal_plans() -> None:
    assert print_plan(plan_graph(random_graph(11), PlainTarget())) == print_plan(
        plan_graph(random_graph(11), PlainTarget())
    )
    assert print_plan(plan_graph(random_graph(11), PlainTarget())) != print_plan(
        plan_graph(random_graph(12), PlainTarget())
    )
