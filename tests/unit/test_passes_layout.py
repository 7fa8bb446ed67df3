"""Layout: ONNX models run channels-last, with transposes only where data enters or leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import ModelMaker, check, kinds
from test_onnx_frontend import NETS, quantise

from tinycompile.frontends import load_model
from tinycompile.ir.graph import Graph
from tinycompile.passes import PASSES
from tinycompile.passes.fold_reshape import fold_reshape
from tinycompile.passes.layout import layout


def inner_transposes(graph: Graph) -> list[str]:
    """Transposes that neither read what the network input became nor make the network output, by name."""
    producers, consumers = graph.producers(), graph.consumers()
    free = {"quantize", "dequantize", "requantize", "reshape"}

    def from_input(name: str) -> bool:
        op = producers.get(name)
        return op is None or (op.kind in free and from_input(op.inputs[0]))

    def to_output(name: str) -> bool:
        users = consumers[name]
        return name in graph.outputs or all(u.kind in free and to_output(u.outputs[0]) for u in users)

    moves = [op for op in graph.ops if op.kind == "transpose"]
    return [op.name for op in moves if not from_input(op.inputs[0]) and not to_output(op.outputs[0])]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("fmt", ["QDQ", "QOperator"])
def test_no_transposes_inside(net: str, fmt: str, tmp_path: Path) -> None:
    model, shape = NETS[net]()
    graph = load_model(quantise(model, tmp_path / "q.onnx", shape, fmt, "QInt8", "QInt8", True))
    before = kinds(graph).count("transpose")
    for _, run in PASSES:
        graph = run(graph)
    assert inner_transposes(graph) == []
    assert kinds(graph).count("transpose") <= 2 < before


def test_the_check_finds_an_inner_transpose(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 6, 5])
    a = m.qdq(m.node("Conv", m.qdq("x"), m.qweight(4, 3, 3, 3)))
    b = m.qdq(m.node("Conv", m.qdq(m.node("Transpose", a, perm=[0, 1, 3, 2])), m.qweight(4, 4, 3, 3, scale=0.002)))
    assert len(inner_transposes(check(m, b, tmp_path))) == 1


def test_skip_from_the_network_input(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 6, 5])
    x = m.qdq("x")
    y = m.qdq(m.node("Conv", x, m.qweight(3, 3, 3, 3, scale=0.003), pads=[1] * 4))
    graph = check(m, m.qdq(m.node("Relu", m.node("Add", x, y))), tmp_path)
    assert kinds(graph) == ["quantize", "transpose", "conv2d", "add", "transpose", "dequantize"]


def test_one_channel_needs_no_transpose(tmp_path: Path) -> None:
    m = ModelMaker([1, 1, 6, 5])
    y = m.qdq(m.node("Conv", m.qdq("x"), m.qweight(1, 1, 3, 3, scale=0.003), pads=[1] * 4))
    graph = check(m, m.qdq(m.node("Mul", y, y), scale=0.1), tmp_path)
    assert "transpose" not in kinds(graph)


def test_pad_concat_and_mean_turn_with_their_operands(tmp_path: Path) -> None:
    m = ModelMaker([1, 2, 6, 5])
    a = m.qdq(m.node("Conv", m.qdq("x"), m.qweight(4, 2, 1, 1)))
    pads = m.const(np.array([0, 0, 1, 2, 0, 0, 3, 0], dtype=np.int64))
    b = m.qdq(m.node("Pad", a, pads))
    c = m.qdq(m.node("Concat", b, b, axis=1))
    d = m.qdq(m.node("ReduceMean", c, axes=[-1, 2], keepdims=0), scale=0.01)
    graph = check(m, d, tmp_path)
    assert [k for k in kinds(graph) if k not in ("quantize", "dequantize", "reshape", "transpose")] == [
        "conv2d",
        "pad",
        "concat",
        "mean",
    ]
    assert inner_transposes(graph) == []


def test_broadcast_constant_turns_with_the_map(tmp_path: Path) -> None:
    """A constant of shape [C,1,1] against [1,C,H,W], on either side."""
    m = ModelMaker([1, 3, 4, 5])
    a = m.qdq(m.node("Conv", m.qdq("x"), m.qweight(3, 3, 1, 1)))
    b = m.qdq(m.node("Mul", a, m.qweight(3, 1, 1, scale=0.005)))
    c = m.qdq(m.node("Sub", m.qweight(3, 1, 5, scale=0.01), b))
    graph = check(m, c, tmp_path)
    assert inner_transposes(graph) == []
    mul = next(op for op in graph.ops if op.kind == "mul")
    assert graph.tensors[mul.inputs[1]].shape == (1, 1, 1, 3)


def test_softmax_over_channels(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 4, 5])
    a = m.qdq(m.node("Conv", m.qdq("x"), m.qweight(6, 3, 1, 1)))
    graph = check(m, m.qdq(m.node("Softmax", a, axis=1), scale=1 / 255, zero_point=-128), tmp_path)
    assert inner_transposes(graph) == []


def test_flatten_goes_into_the_weights(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 4, 5])
    a = m.qdq(m.node("Conv", m.qdq("x"), m.qweight(4, 3, 3, 3, scale=0.005)))
    b = m.qdq(m.node("Reshape", a, m.const(np.array([0, -1], dtype=np.int64))))
    c = m.qdq(m.node("Gemm", b, m.qweight(5, 24, axis=0), transB=1), scale=0.1)
    graph = check(m, c, tmp_path)
    assert [k for k in kinds(graph) if k == "transpose"] == ["transpose"]  # the network input
    assert inner_transposes(graph) == []


def test_sequences_run_as_maps_of_width_one(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 16])
    a = m.qdq(m.node("Relu", m.node("Conv", m.qdq("x"), m.qweight(4, 3, 3), pads=[1, 1])))
    b = m.qdq(m.node("Add", a, m.qweight(1, 4, 1, scale=0.02)))
    c = m.qdq(m.node("Concat", a, b, axis=1))
    d = m.qdq(m.node("Conv", c, m.qweight(8, 1, 3, scale=0.005), group=8, strides=[2]))
    graph = check(m, m.qdq(m.node("GlobalAveragePool", d), scale=0.01), tmp_path)
    assert inner_transposes(graph) == []
    assert {"conv2d", "depthwise_conv2d", "mean", "concat"} <= set(kinds(graph))


def test_layout_changes_nothing_more_the_second_time(tmp_path: Path) -> None:
    model, shape = NETS["squeeze_excite_net"]()
    graph = load_model(quantise(model, tmp_path / "q.onnx", shape, "QDQ", "QInt8", "QInt8", True))
    for _, run in PASSES:
        graph = run(graph)
    inner = [k for k in kinds(graph) if k not in ("transpose", "quantize", "dequantize")]
    assert [k for k in kinds(layout(graph)) if k in inner] == inner
    assert kinds(fold_reshape(graph)) == kinds(graph)
