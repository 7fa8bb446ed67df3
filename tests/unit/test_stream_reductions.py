"""stream_reductions: the graph after the pass gives the integers of the graph before it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from schedule_graphs import QUANT, GraphBuilder, Shape, resnet8

from tinycompile.emulate.interpreter import run_graph
from tinycompile.errors import InternalError
from tinycompile.ir.graph import Array, Attrs, Graph, Node
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType, Region
from tinycompile.ir.verify import verify_graph
from tinycompile.ops.avg_pool2d import AvgPool2dAttrs
from tinycompile.ops.fully_connected import FullyConnectedAttrs
from tinycompile.ops.mean import MeanAttrs
from tinycompile.ops.registry import OPERATORS
from tinycompile.ops.row_sum import MOST_VALUES, RowSum
from tinycompile.passes.lowering_check import check_supported
from tinycompile.passes.stream_reductions import stream_reductions

OTHER = Quant((0.021,), (-30,))


def one(kind: str, shape: Shape, attrs: Attrs, quant: Quant = QUANT) -> Graph:
    """A convolution, and the reduction of its map."""
    b = GraphBuilder()
    return b.graph([b.op(kind, (b.conv(b.input(shape), shape[3]),), attrs, quant)])


def dense(
    shape: Shape,
    outputs: int,
    w_quant: Quant | None = None,
    bias: bool = True,
    attrs: FullyConnectedAttrs | None = None,
    extreme: bool = False,
    flat_shape: Shape | None = None,
    flat_output: bool = False,
) -> Graph:
    """A fully connected layer over a reshaped map, a flattened one unless `flat_shape` is given."""
    b = GraphBuilder()
    flat = b.reshape(b.input(shape), flat_shape or (1, math.prod(shape)))
    w = b.rng.integers(-100, 101, (outputs, b.tensors[flat].shape[-1])).astype(np.int8)
    w = np.where(w & 1, -128, 127).astype(np.int8) if extreme else w
    values = b.const(b.rng.integers(-5000, 5000, outputs).astype(np.int32)) if bias else ""
    weights = b.const(w, w_quant or Quant((0.004,), (0,)))
    y = b.op("fully_connected", (flat, weights, values), attrs or FullyConnectedAttrs(), OTHER)
    return b.graph([y, flat] if flat_output else [y])


def per_channel(count: int, zero_point: int = 0) -> Quant:
    zeros = tuple(zero_point * (k % 2) for k in range(count))
    return Quant(tuple(float(np.float32(0.002 * 1.2**k)) for k in range(count)), zeros, 0)


GRAPHS: dict[str, Graph] = {
    "mean": one("mean", (1, 5, 4, 7), MeanAttrs((1, 2))),
    "mean_dims_dropped": one("mean", (1, 25, 5, 6), MeanAttrs((-2, -3), False), OTHER),
    "mean_one_column": one("mean", (1, 9, 1, 5), MeanAttrs((1,)), OTHER),
    "mean_one_channel": one("mean", (1, 6, 7, 1), MeanAttrs((1, 2, 3), False), OTHER),
    "mean_upscaled": one("mean", (1, 3, 3, 4), MeanAttrs((1, 2)), Quant((1e-9,), (0,))),
    "pool": one("avg_pool2d", (1, 4, 6, 5), AvgPool2dAttrs((4, 6))),
    "pool_relu_odd": one("avg_pool2d", (1, 25, 5, 6), AvgPool2dAttrs((25, 5), (3, 2), clamp=(3, 127))),
    "pool_other_scale": one("avg_pool2d", (1, 5, 6, 3), AvgPool2dAttrs((5, 6)), OTHER),
    "pool_other_zero_point": one("avg_pool2d", (1, 5, 6, 3), AvgPool2dAttrs((5, 6)), Quant(QUANT.scale, (4,))),
    "pool_many_values": one("avg_pool2d", (1, 47, 44, 2), AvgPool2dAttrs((47, 44))),
    "dense": dense((1, 4, 3, 5), 7),
    "dense_no_bias": dense((1, 4, 3, 5), 4, bias=False),
    "dense_relu": dense((1, 7, 2, 3), 5, attrs=FullyConnectedAttrs(clamp=(-30, 90))),
    "dense_keep_dims": dense((1, 7, 2, 3), 5, attrs=FullyConnectedAttrs(True)),
    "dense_per_channel": dense((1, 4, 3, 5), 6, per_channel(6)),
    "dense_zero_points": dense((1, 4, 3, 5), 6, per_channel(6, -27)),
    "dense_extreme": dense((1, 9, 9, 9), 8, extreme=True),
    "dense_sequence": dense((1, 8, 6), 3),
    "resnet8": resnet8(),
}


def inputs(graph: Graph) -> list[list[Array]]:
    """The extremes, one row apart from the rest, and random values."""
    shape = graph.tensors[graph.inputs[0]].shape
    rng = np.random.default_rng(len(shape))
    low, high = np.full(shape, -128, np.int8), np.full(shape, 127, np.int8)
    last = low.copy()
    last[:, -1] = 127
    random = [rng.integers(-128, 128, shape).astype(np.int8) for _ in range(4)]
    narrow = rng.integers(0, 7, shape).astype(np.int8)
    return [[x] for x in (low, high, last, np.where(random[0] & 1, low, high), narrow, *random)]


def outputs(graph: Graph, given: list[Array]) -> list[Array]:
    values = run_graph(graph, given)
    return [values[name].reshape(graph.tensors[name].shape) for name in graph.outputs]


def same(before: Graph, after: Graph) -> bool:
    return all(
        np.array_equal(a, b)
        for given in inputs(before)
        for a, b in zip(outputs(before, given), outputs(after, given), strict=True)
    )


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops]


@pytest.mark.parametrize("name", GRAPHS)
def test_the_integers_stay(name: str) -> None:
    before = GRAPHS[name]
    after = stream_reductions(before)
    verify_graph(after, "stream_reductions", OPERATORS)
    check_supported(after)
    assert not {"mean", "avg_pool2d"} & set(kinds(after))
    assert ("fully_connected" in kinds(after)) is (name == "resnet8")  # over the means: one row
    assert {"row_sum", "fully_connected_rows"} & set(kinds(after))
    assert same(before, after)
    out = outputs(before, inputs(before)[-1])[0]
    assert len(np.unique(out)) > 1 or out.size == 1, "nothing to tell apart"
    for port in before.outputs:
        old, new = before.tensors[port], after.tensors[port]
        assert (new.shape, new.dtype, new.quant) == (old.shape, old.dtype, old.quant)


@pytest.mark.parametrize("name", GRAPHS)
def test_macs_stay(name: str) -> None:
    def macs(graph: Graph) -> int:
        return sum(OPERATORS[n.op.kind].macs(n) for n in graph.nodes())

    assert macs(stream_reductions(GRAPHS[name])) == macs(GRAPHS[name])


def test_nothing_is_left_to_do() -> None:
    for graph in GRAPHS.values():
        after = stream_reductions(graph)
        assert stream_reductions(after).ops == after.ops


def test_inner_names_follow_the_output() -> None:
    after = stream_reductions(GRAPHS["dense"])
    (port,) = after.outputs
    assert [op.name for op in after.ops] == [f"{port}/fully_connected_rows", port]


LEFT: dict[str, Graph] = {
    "mean_of_one_row": one("mean", (1, 1, 4, 7), MeanAttrs((1, 2))),
    "mean_over_rows_alone": one("mean", (1, 5, 4, 7), MeanAttrs((1,))),
    "mean_over_columns_alone": one("mean", (1, 5, 4, 7), MeanAttrs((2,))),
    "mean_over_channels_too": one("mean", (1, 5, 4, 7), MeanAttrs((1, 2, 3))),
    "pool_of_one_row": one("avg_pool2d", (1, 1, 6, 5), AvgPool2dAttrs((1, 6))),
    "pool_of_a_part": one("avg_pool2d", (1, 4, 6, 5), AvgPool2dAttrs((4, 5))),
    "pool_with_padding": one("avg_pool2d", (1, 4, 6, 5), AvgPool2dAttrs((4, 6), (4, 6), (1, 0, 0, 0))),
    "dense_of_one_row": dense((1, 1, 12, 5), 7),
    "dense_of_rows": dense((1, 4, 3, 5), 7, flat_shape=(12, 5)),
    "dense_of_maps": dense((1, 4, 3, 5), 7, flat_shape=(2, 30)),
    "dense_beside_another_output": dense((1, 4, 3, 5), 7, flat_output=True),
    "dense_wide_weights": dense((1, 4, 3, 5), 6, per_channel(6, 100)),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_has_no_running_sums_stays(name: str) -> None:
    after = stream_reductions(LEFT[name])
    assert after.ops == LEFT[name].ops


def test_a_flattened_map_that_two_layers_read_stays() -> None:
    b = GraphBuilder()
    flat = b.reshape(b.input((1, 4, 3, 5)), (1, 60))
    graph = b.graph([b.dense(flat, 3), b.dense(flat, 4)])
    assert stream_reductions(graph).ops == graph.ops


def test_a_map_that_others_read_is_summed_all_the_same() -> None:
    b = GraphBuilder()
    x = b.conv(b.input((1, 4, 4, 3)), 3)
    graph = b.graph([b.mean(x), b.relu(x)])
    after = stream_reductions(graph)
    assert kinds(after) == ["conv2d", "row_sum", "mean_of_sums", "clip"]
    assert same(graph, after)


def test_sums_that_would_not_fit_int32_stay() -> None:
    b = GraphBuilder()
    graph = b.graph([b.mean(b.input((1, MOST_VALUES[DType.INT8] // 1024 + 1, 1024, 1)))])
    assert kinds(stream_reductions(graph)) == ["mean"]


def test_float_graphs_stay() -> None:
    b = GraphBuilder()
    graph = b.graph([b.op("mean", (b.input((1, 4, 4, 3), DType.FLOAT32),), MeanAttrs((1, 2)), None)])
    assert kinds(stream_reductions(graph)) == ["mean"]


# Controls: what the comparison of integers must notice.

REDUCTIONS = ["mean", "pool_other_scale", "dense"]


def changed(graph: Graph, name: str, **fields: Any) -> Graph:
    return graph.rebuild(graph.ops, [replace(graph.tensors[name], **fields)])


@pytest.mark.parametrize("name", REDUCTIONS)
def test_control_wrong_zero_point(name: str) -> None:
    before = GRAPHS[name]
    after = stream_reductions(before)
    sums = after.ops[-2].outputs[0]
    if name == "dense":  # the zero point is in the bias
        flat = before.ops[-1].inputs[0]
        wrong = stream_reductions(changed(before, flat, quant=Quant(QUANT.scale, (4,))))
    else:
        count = after.ops[-1].attrs.count  # type: ignore[attr-defined]
        assert after.tensors[sums].quant == Quant(QUANT.scale, (3 * count,))
        wrong = changed(after, sums, quant=Quant(QUANT.scale, (4 * count,)))
    assert same(before, after)
    assert not same(before, wrong)


class OneRowShort(RowSum):
    """Leaves the last row out."""

    def terms(self, node: Node, out: Region, x: Array) -> Array:
        terms = super().terms(node, out, x).copy()
        terms[-1] = 0
        return terms


def test_control_one_row_short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mean", "pool", "pool_other_scale"):
        after = stream_reductions(GRAPHS[name])
        assert same(GRAPHS[name], after)
        with monkeypatch.context() as patch:
            patch.setitem(OPERATORS, "row_sum", OneRowShort())
            assert not same(GRAPHS[name], after)


def test_control_rows_of_weights_in_another_order() -> None:
    after = stream_reductions(GRAPHS["dense"])
    weights = after.tensors[after.ops[0].inputs[1]]
    assert weights.data is not None
    assert same(GRAPHS["dense"], after)
    assert not same(GRAPHS["dense"], changed(after, weights.name, data=weights.data[::-1]))


def test_control_verify_graph_sees_other_shapes() -> None:
    after = stream_reductions(GRAPHS["mean"])
    sums = after.tensors[after.ops[-2].outputs[0]]
    verify_graph(after, "stream_reductions", OPERATORS)
    with pytest.raises(InternalError, match="its inputs and attributes give"):
        verify_graph(changed(after, sums.name, shape=(1, 5, 4, 7)), "stream_reductions", OPERATORS)
