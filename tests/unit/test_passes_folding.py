"""Folding passes: batch norm, pad, activation, reshape, dead code, and the quantised ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import ModelMaker, check, evaluate, kinds, lower

from tinycompile.ir.graph import Attrs, Graph, Op, SourceLoc, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.max_pool2d import MaxPool2dAttrs
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.reshape import ReshapeAttrs
from tinycompile.passes.drop_dead import drop_dead
from tinycompile.passes.fold_activation import fold_activation
from tinycompile.passes.fold_reshape import fold_reshape
from tinycompile.passes.quantized_io import quantized_io


def batch_norm(m: ModelMaker, x: str, gamma: list[float]) -> str:
    n = len(gamma)
    parts = [np.array(gamma), m.rng.uniform(-1, 1, n), m.rng.uniform(-1, 1, n), m.rng.uniform(0.5, 2, n)]
    return m.node("BatchNormalization", x, *(m.const(p.astype(np.float32)) for p in parts))


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("group", [1, 4])
def test_batch_norm_goes_into_the_convolution(axis: int | None, bias: bool, group: int, tmp_path: Path) -> None:
    """Negative and zero gains too; -128 stands for no weight here, its negative has no int8."""
    m = ModelMaker([1, 4, 6, 5])
    w = m.qweight(4, 4 // group, 3, 3, scale=0.003, axis=axis)
    stored = onnx.numpy_helper.to_array(m.initializers[0])
    m.initializers[0].CopyFrom(onnx.numpy_helper.from_array(np.maximum(stored, -127), m.initializers[0].name))
    y = m.node("Conv", m.qdq("x"), w, *([m.weight(4)] if bias else []), group=group)
    graph = check(m, m.qdq(m.node("Relu", batch_norm(m, y, [0.5, -2.0, 1.5, 0.0])), 0.05, -100), tmp_path)
    layer = "conv2d" if group == 1 else "depthwise_conv2d"
    assert [k for k in kinds(graph) if k not in ("quantize", "transpose", "dequantize")] == [layer]


def test_batch_norm_after_a_fully_connected_layer(tmp_path: Path) -> None:
    m = ModelMaker([1, 8])
    y = m.node("Gemm", m.qdq("x"), m.qweight(3, 8, axis=0), m.weight(3), transB=1)
    graph = check(m, m.qdq(batch_norm(m, y, [0.5, 2.0, 1.5])), tmp_path)
    assert kinds(graph) == ["quantize", "fully_connected", "dequantize"]


def test_batch_norm_by_itself_is_a_depthwise_convolution(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 6, 5])
    graph = check(m, m.qdq(batch_norm(m, m.qdq("x"), [0.5, -2.0, 0.0]), 0.06, 5), tmp_path)
    assert "depthwise_conv2d" in kinds(graph)


def test_batch_norm_with_quantised_parameters(tmp_path: Path) -> None:
    """onnxruntime quantises gamma and beta too when the batch norm has not been folded."""
    m = ModelMaker([1, 3, 6, 5])
    mean, variance = m.const(np.zeros(3, dtype=np.float32)), m.const(np.ones(3, dtype=np.float32))
    gamma, beta = m.qweight(3), m.qweight(3, axis=0)
    y = m.node("BatchNormalization", m.qdq("x"), gamma, beta, mean, variance)
    assert "depthwise_conv2d" in kinds(check(m, m.qdq(y, 0.03, 5), tmp_path))


@pytest.mark.parametrize(
    ("kind", "value", "folds"),
    [("Conv", 0.0, True), ("Conv", 0.3, False), ("MaxPool", -1e9, True), ("MaxPool", 0.0, False)],
)
def test_pad_goes_into_its_reader_when_it_computes_the_same(
    kind: str, value: float, folds: bool, tmp_path: Path
) -> None:
    m = ModelMaker([1, 2, 6, 5])
    pads = m.const(np.array([0, 0, 1, 2, 0, 0, 1, 0], dtype=np.int64))
    padded = m.node("Pad", m.qdq("x"), pads, m.const(np.float32(value)))
    if kind == "MaxPool" and value < 0:
        path = tmp_path / "m.onnx"
        onnx.save(m.model(m.qdq(m.node("MaxPool", m.qdq(padded), kernel_shape=[3, 3]))), path)
        assert ("pad" in kinds(lower(path))) is not folds
        return
    if kind == "MaxPool":
        y = m.node("MaxPool", m.qdq(padded), kernel_shape=[3, 3])
    else:
        y = m.node("Conv", m.qdq(padded), m.qweight(2, 2, 3, 3, scale=0.003))
    assert ("pad" in kinds(check(m, m.qdq(y), tmp_path))) is not folds


def test_padded_average_counts_the_border(tmp_path: Path) -> None:
    """What PyTorch writes for count_include_pad: Pad, then AveragePool."""
    m = ModelMaker([1, 2, 6, 5])
    pads = m.const(np.array([0, 0, 1, 1, 0, 0, 1, 1], dtype=np.int64))
    padded = m.qdq(m.node("Pad", m.qdq("x"), pads))
    graph = check(m, m.qdq(m.node("AveragePool", padded, kernel_shape=[3, 3], strides=[2, 2])), tmp_path)
    pool = next(op for op in graph.ops if op.kind == "avg_pool2d")
    assert "pad" not in kinds(graph)
    assert pool.attrs.include_pad  # type: ignore[attr-defined]


SOURCE = SourceLoc("TEST", "0")
QUANT = Quant((0.1,), (-10,))


def chain(*steps: tuple[str, Attrs, tuple[int, ...], Quant]) -> Graph:
    """A graph of one-input int8 ops in a row: (kind, attrs, output shape, output quantisation)."""
    tensors = [Tensor("t0", (1, 4, 4, 2), DType.INT8, QUANT)]
    ops = []
    for k, (kind, attrs, shape, quant) in enumerate(steps):
        tensors.append(Tensor(f"t{k + 1}", shape, DType.INT8, quant))
        ops.append(Op(kind, f"t{k + 1}", (f"t{k}",), (f"t{k + 1}",), attrs, SOURCE))
    return Graph("g", {t.name: t for t in tensors}, tuple(ops), ("t0",), (tensors[-1].name,))


MAP = (1, 4, 4, 2)
POOL = ("max_pool2d", MaxPool2dAttrs(), MAP, QUANT)


@pytest.mark.parametrize(
    ("quant", "clamp"), [(QUANT, (-10, 50)), (Quant((0.2,), (-10,)), None)], ids=["equal scales", "other scales"]
)
def test_clip_of_integers_becomes_a_clamp_where_scales_agree(quant: Quant, clamp: Any) -> None:
    graph = chain(POOL, ("clip", ClipAttrs(0.0, 6.0), MAP, quant))
    folded = fold_activation(graph)
    assert (kinds(folded) == ["max_pool2d"]) is (clamp is not None)
    assert folded.ops[0].attrs.clamp == clamp  # type: ignore[attr-defined]
    x = np.arange(-16, 16, dtype=np.int8).reshape(MAP) * np.int8(7)
    np.testing.assert_array_equal(evaluate(folded, [x])["t2"], evaluate(graph, [x])["t2"])


def test_a_value_read_twice_is_not_clamped() -> None:
    graph = chain(POOL, ("clip", ClipAttrs(0.0, 6.0), MAP, QUANT))
    both = graph.rebuild(graph.ops, outputs=("t1", "t2"))
    assert kinds(fold_activation(both)) == ["max_pool2d", "clip"]


def test_reshape_chains() -> None:
    steps = [("reshape", ReshapeAttrs(s), s, QUANT) for s in ((1, 32), (1, 8, 4), (32,), MAP)]
    graph = fold_reshape(chain(*steps[:3]))
    assert [op.attrs for op in graph.ops] == [ReshapeAttrs((32,))]
    assert graph.outputs == ("t3",)
    back = fold_reshape(chain(*steps, POOL))
    assert kinds(back) == ["max_pool2d"]


def test_an_output_that_is_an_input_stays_an_op() -> None:
    graph = fold_reshape(chain(("reshape", ReshapeAttrs(MAP), MAP, QUANT)))
    assert kinds(graph) == ["reshape"]
    assert graph.outputs == ("t1",)


def test_dead_operators_go() -> None:
    graph = chain(POOL, POOL)
    dead = Op("pad", "dead", ("t1",), ("dead",), PadAttrs((0,) * 4, (0,) * 4), SOURCE)
    wider = graph.rebuild([*graph.ops, dead], [Tensor("dead", MAP, DType.INT8, QUANT)])
    assert kinds(drop_dead(wider)) == ["max_pool2d", "max_pool2d"]
    assert "dead" not in drop_dead(wider).tensors


def test_quantised_ports(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 6, 5])
    y = m.qdq(m.node("Conv", m.qdq("x", 0.03, 5), m.qweight(4, 3, 3, 3, scale=0.003)), 0.04, 6)
    graph = check(m, y, tmp_path)
    inner = quantized_io(graph)
    assert (inner.inputs, inner.outputs) == (graph.inputs, graph.outputs)
    assert "quantize" not in kinds(inner)
    assert "dequantize" not in kinds(inner)
    x, out = inner.tensors[inner.inputs[0]], inner.tensors[inner.outputs[0]]
    assert (x.dtype, out.dtype) == (DType.INT8, DType.INT8)
    assert x.quant == Quant((float(np.float32(0.03)),), (5,))
    value = np.random.default_rng(1).integers(-128, 128, m.shape).astype(np.int8)
    real = (value.astype(np.float32) - 5) * np.float32(0.03)
    want = evaluate(graph, [real])[graph.outputs[0]]
    got = evaluate(inner, [value])[inner.outputs[0]]
    np.testing.assert_allclose((got.astype(np.float32) - 6) * np.float32(0.04), want, rtol=1e-6)


def test_a_port_with_two_meanings_stays_float(tmp_path: Path) -> None:
    m = ModelMaker([1, 8])
    both = m.node("Add", m.qdq("x", 0.03, 5), m.qdq("x", 0.05, 0))
    graph = quantized_io(check(m, m.qdq(both, 0.06, 0), tmp_path))
    assert graph.tensors["x"].dtype == DType.FLOAT32
    assert kinds(graph) == ["quantize", "quantize", "add"]
