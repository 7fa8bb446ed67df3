"""fuse_bottlenecks: which chains are bottlenecks, and that a fused graph gives the integers of the graph before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import bottleneck_networks, conv, depthwise
from schedule_graphs import GraphBuilder, PlainTarget, random_inputs

from tinycompile.emulate.interpreter import run_graph, run_plan
from tinycompile.errors import InternalError
from tinycompile.ir.graph import Graph
from tinycompile.ir.quant import Quant
from tinycompile.ir.verify import verify_graph
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.registry import OPERATORS
from tinycompile.passes.fuse_bottlenecks import bottlenecks, fuse_bottlenecks
from tinycompile.passes.lowering_check import check_supported
from tinycompile.schedule import plan_graph, verify_plan
from tinycompile.zoo.architectures import mobilenet_v2

INNER = Quant((0.11,), (-40,))


def names(graph: Graph) -> list[str]:
    return [block.name for block in bottlenecks(graph)]


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops]


def same(before: Graph, after: Graph, seed: int = 3) -> bool:
    """Whether two graphs give the same outputs."""
    inputs = random_inputs(before, seed)
    old, new = run_graph(before, inputs), run_graph(after, inputs)
    return all(np.array_equal(old[name], new[name]) for name in before.outputs)


def block(b: GraphBuilder, x: str, channels: int = 3, stride: int = 1) -> tuple[str, str, str]:
    """What the three convolutions of a bottleneck make."""
    expanded = conv(b, x, 8, (1, 1), quant=INNER, clamp=(-40, 127))
    filtered = depthwise(b, expanded, (3, 3), (stride, stride), pad=(1, 1, 1, 1), quant=INNER)
    return expanded, filtered, conv(b, filtered, channels, (1, 1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bottleneck_networks(), st.data())
def test_fused_graphs_give_the_same(graph: Graph, data: st.DataObject) -> None:
    found = names(graph)
    assert len(found) == kinds(graph).count("depthwise_conv2d")
    chosen = data.draw(st.lists(st.sampled_from(found), unique=True))
    after = fuse_bottlenecks(graph, dict.fromkeys(chosen, 1))
    verify_graph(after, "fuse_bottlenecks", OPERATORS)
    check_supported(after)
    assert kinds(after).count("inverted_bottleneck") == len(chosen)
    added = {block.name for block in bottlenecks(graph) if block.add is not None}
    assert len(after.ops) == len(graph.ops) - 2 * len(chosen) - len(added & set(chosen))
    residual = {op.name for op in after.ops if op.kind == "inverted_bottleneck" and op.attrs.residual is not None}  # type: ignore[attr-defined]
    assert residual == added & set(chosen)
    assert names(after) == [name for name in found if name not in chosen]
    for name in (*chosen, *graph.outputs):
        assert (after.tensors[name].shape, after.tensors[name].quant) == (
            graph.tensors[name].shape,
            graph.tensors[name].quant,
        )
    assert same(graph, after)


def test_mobilenet_v2() -> None:
    graph = mobilenet_v2(0.35, 32, classes=10)
    found = bottlenecks(graph)
    residual = (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)
    assert [b.name for b in found] == [  # the first block expands nothing
        f"block{k}_{'add' if k in residual else 'project'}" for k in range(1, 17)
    ]
    after = fuse_bottlenecks(graph, dict.fromkeys(names(graph), 1))
    assert kinds(after).count("inverted_bottleneck") == 16
    fused = next(op for op in after.ops if op.kind == "inverted_bottleneck")
    assert str(fused.source) == "conv2d + depthwise_conv2d + conv2d 'block1_expand .. block1_project'"
    assert fused.name == "block1_project"
    assert same(graph, after)


def test_none_chosen_is_no_change() -> None:
    graph = mobilenet_v2(0.35, 32, classes=10)
    assert fuse_bottlenecks(graph, {}).ops == graph.ops


@pytest.mark.parametrize("which", [0, 1])
def test_an_inner_map_that_others_read_is_kept(which: int) -> None:
    b = GraphBuilder()
    made = block(b, b.input((1, 6, 5, 3)))
    assert names(b.graph([made[2]])) == [made[2]]
    assert names(b.graph([made[2], made[which]])) == []
    assert names(b.graph([made[2], b.relu(made[which])])) == []


def test_the_input_of_a_block_may_have_other_readers() -> None:
    b = GraphBuilder()
    x = b.input((1, 6, 5, 3))
    y = block(b, x)[2]
    graph = b.graph([b.add(x, y), y])
    assert names(graph) == [y]
    assert same(graph, fuse_bottlenecks(graph, {y: 1}))


def test_blocks_that_share_a_convolution_are_not_both_listed() -> None:
    b = GraphBuilder()
    x = b.input((1, 6, 5, 3))
    made = []
    for _ in range(3):
        x = conv(b, x, 4, (1, 1))
        made.append(x)
        x = depthwise(b, x, (3, 3), pad=(1, 1, 1, 1))
    x = conv(b, x, 4, (1, 1))
    graph = b.graph([x])
    assert names(graph) == [made[1], x]  # and not the one between them, with a convolution of each
    assert same(graph, fuse_bottlenecks(graph, dict.fromkeys(names(graph), 1)))


def test_other_chains_are_no_bottlenecks() -> None:
    b = GraphBuilder()
    x = b.input((1, 6, 5, 3))
    wide = conv(b, depthwise(b, conv(b, x, 4, (3, 3)), (3, 3)), 2, (1, 1))
    strided = conv(b, depthwise(b, conv(b, x, 4, (1, 1), (2, 2)), (3, 3)), 2, (1, 1))
    padded = conv(b, depthwise(b, conv(b, x, 4, (1, 1)), (3, 3)), 2, (1, 1), pad=(1, 0, 0, 0))
    clipped = conv(b, depthwise(b, b.relu(conv(b, x, 4, (1, 1))), (3, 3)), 2, (1, 1))
    assert names(b.graph([wide, strided, padded, clipped])) == []


def test_weights_without_a_kernel_are_left() -> None:
    b = GraphBuilder()
    y = block(b, b.input((1, 6, 5, 3)))[2]
    graph = b.graph([y])
    weights = graph.tensors[graph.ops[2].inputs[1]]
    wide = graph.rebuild(graph.ops, [replace(weights, quant=Quant((0.02,), (90,)))])
    assert names(graph) == [y]
    assert names(wide) == []


def test_a_name_that_is_no_bottleneck_is_refused() -> None:
    b = GraphBuilder()
    expanded, _, y = block(b, b.input((1, 6, 5, 3)))
    with pytest.raises(InternalError, match="no inverted bottleneck"):
        fuse_bottlenecks(b.graph([y]), {expanded: 1})


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("subtract", [False, True])
def test_the_addition_of_the_input_is_taken_along(turned: bool, subtract: bool) -> None:
    b = GraphBuilder()
    x = b.input((1, 6, 5, 3))
    y = block(b, x)[2]
    out = b.op("add", (x, y) if turned else (y, x), AddAttrs(subtract, (-30, 90)), Quant((0.07,), (5,)))
    graph = b.graph([out])
    taken = not (turned and subtract)  # the input less the projected map is another operator
    assert names(graph) == [out if taken else y]
    after = fuse_bottlenecks(graph, dict.fromkeys(names(graph), 1))
    assert kinds(after) == ["inverted_bottleneck"] + ["add"] * (not taken)
    assert same(graph, after)
    if taken:
        assert str(after.ops[0].source) == "conv2d + depthwise_conv2d + conv2d + add '0 .. 3'"


def test_other_additions_are_left() -> None:
    """Of another map; behind a stride; with a projected map that others read too; of a broadcast one."""
    shapes = ((1, 6, 5, 3), (1, 1, 1, 3), (1, 6, 5, 3), (1, 6, 5, 3))
    for k, shape in enumerate(shapes):
        b = GraphBuilder()
        x = b.input(shape)
        y = block(b, x, channels=1 if k == 3 else 3, stride=2 if k == 1 else 1)[2]
        added = b.add(y, b.relu(x) if k == 0 else x)
        graph = b.graph([added, y] if k == 2 else [added])
        assert names(graph) == [y]
        assert same(graph, fuse_bottlenecks(graph, {y: 1}))


def test_whole_buffers_of_a_fused_graph() -> None:
    """The expanded map is out of the peak; scratch is in it."""
    b = GraphBuilder()
    x = conv(b, b.input((1, 12, 10, 3)), 3, (3, 3), pad=(1, 1, 1, 1))
    y = b.add(x, block(b, x)[2])
    graph = b.graph([b.mean(y)])
    after = fuse_bottlenecks(graph, dict.fromkeys(names(graph), 1))
    plan = plan_graph(after, PlainTarget())
    verify_plan(plan)
    assert [s is not None for s in plan.scratch] == [op.kind == "inverted_bottleneck" for op in plan.ops]
    assert plan.arena_bytes == 2 * x_bytes(graph, x) + 10 * 8
    assert plan.arena_bytes < plan_graph(graph, PlainTarget()).arena_bytes
    inputs = random_inputs(graph)
    np.testing.assert_array_equal(run_plan(plan, inputs)[0], run_graph(graph, inputs)[graph.outputs[0]])


def x_bytes(graph: Graph, name: str) -> int:
    return graph.tensors[name].nbytes


# Control: what the comparison of integers must notice.


def test_control_another_zero_point_of_the_expanded_map() -> None:
    b = GraphBuilder()
    y = block(b, b.input((1, 6, 5, 3)))[2]
    graph = b.graph([y])
    after = fuse_bottlenecks(graph, {y: 1})
    (op,) = after.ops
    other = replace(op, attrs=replace(op.attrs, expanded=Quant(INNER.scale, (-39,))))  # type: ignore[call-arg]
    assert same(graph, after)
    assert not same(graph, after.rebuild([other]))
