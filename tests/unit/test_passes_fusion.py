"""QDQ fusion: integer operators where float ones stood between dequantise and quantise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_models import ModelMaker, check, evaluate, kinds, lower, runtime

from tinycompile.errors import QuantError
from tinycompile.ir.graph import Graph
from tinycompile.ir.types import DType


def op(graph: Graph, kind: str) -> Any:
    return next(op for op in graph.ops if op.kind == kind)


@pytest.mark.parametrize(("bounds", "clamp"), [((0, None), (5, 127)), ((0, 0.6), (5, 25)), ((-99, 99), None)])
def test_clip_becomes_clamp(bounds: tuple[Any, Any], clamp: Any, tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 5, 4])
    y = m.node("Conv", m.qdq("x"), m.qweight(4, 3, 1, 1))
    limits = [m.const(np.float32(v)) for v in bounds if v is not None]
    graph = check(m, m.qdq(m.node("Clip", y, *limits), 0.03, 5), tmp_path)
    assert op(graph, "conv2d").attrs.clamp == clamp
    assert "clip" not in kinds(graph)


def test_functions_of_one_value_are_a_table(tmp_path: Path) -> None:
    """Every one of the 256 results is that of the float operators: bits, not steps."""
    m = ModelMaker([1, 16, 16])
    x = m.qdq("x", 0.04, -7)
    y = m.node("Mul", x, m.node("Add", m.node("Erf", x), m.const(np.float32(1.5))))
    graph = check(m, m.qdq(m.node("Exp", m.node("Neg", y)), 0.02, -128), tmp_path)
    assert kinds(graph) == ["quantize", "lookup", "dequantize"]
    every = ((np.arange(-128, 128) + 7) * np.float32(0.04)).astype(np.float32).reshape(1, 16, 16)
    (got,) = [v for n, v in evaluate(graph, [every]).items() if n in graph.outputs]
    real = every.astype(np.float64)
    erf = np.vectorize(math.erf)(real).astype(np.float32) + np.float32(1.5)
    exact = np.exp(-(every * erf).astype(np.float64)).astype(np.float32)
    want = np.clip(np.rint(exact / np.float32(0.02)) - 128, -128, 127) + 128
    np.testing.assert_array_equal(got, (want * np.float32(0.02)).astype(np.float32).reshape(got.shape))


@pytest.mark.parametrize("reason", ["two values", "other shape", "per channel"])
def test_what_is_no_function_of_one_value_is_no_table(reason: str, tmp_path: Path) -> None:
    m = ModelMaker([1, 4, 4])
    x = m.qdq("x", 0.04, -7)
    other = {"two values": m.qdq("x", 0.05, 3), "other shape": m.node("Exp", x), "per channel": m.weight(4)}[reason]
    y = m.node("ReduceMax", x, axes=[2], keepdims=1) if reason == "other shape" else m.node("Exp", x)
    assert "lookup" not in kinds(check(m, m.qdq(m.node("Div", y, other), 0.02, -128), tmp_path))


def test_relu_and_clip_together_are_one_clamp(tmp_path: Path) -> None:
    m = ModelMaker([1, 8])
    y = m.node("Relu", m.node("MatMul", m.qdq("x"), m.qweight(8, 4)))
    y = m.node("Clip", y, m.const(np.float32(-1)), m.const(np.float32(0.9)))
    graph = check(m, m.qdq(y, 0.03, 5), tmp_path)
    assert op(graph, "fully_connected").attrs.clamp == (5, 35)


@pytest.mark.parametrize("kind", ["Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish"])
def test_activation_by_itself_is_a_table(kind: str, tmp_path: Path) -> None:
    m = ModelMaker([1, 40])
    lsb = 2.01 if kind == "HardSwish" else 1.01  # LiteRT's 16-bit hard swish is coarser than the float one
    graph = check(m, m.qdq(m.node(kind, m.qdq("x", 0.02, -7)), 0.011, 9), tmp_path, lsb)
    assert kinds(graph)[0] == "quantize"
    assert kinds(graph)[-1] == "dequantize"
    assert len(kinds(graph)) == 3


@pytest.mark.parametrize("kind", ["Relu", "Sigmoid"])
def test_activation_after_an_operator_without_clamp(kind: str, tmp_path: Path) -> None:
    """A mean takes no clamp: relu follows as an operator. With a sigmoid unquantised between, both stay floats."""
    m = ModelMaker([1, 3, 6, 5])
    y = m.qdq(m.node(kind, m.node("GlobalAveragePool", m.qdq("x"))), 0.005, 1)
    if kind == "Relu":
        assert "clip" in kinds(check(m, y, tmp_path))
        return
    path = tmp_path / "m.onnx"
    onnx.save(m.model(y), path)
    assert kinds(lower(path))[1:] == ["dequantize", "reduce", "elementwise", "elementwise", "quantize", "dequantize"]


def test_requantisation(tmp_path: Path) -> None:
    m = ModelMaker([1, 50])
    graph = check(m, m.qdq(m.qdq(m.qdq("x", 0.02, -7), 0.05, 9), 0.05, 9), tmp_path)
    assert kinds(graph) == ["quantize", "requantize", "dequantize"]


@pytest.mark.parametrize("same", [True, False])
def test_max_pool_keeps_the_scale(same: bool, tmp_path: Path) -> None:
    m = ModelMaker([1, 1, 6, 6])
    y = m.qdq(m.node("MaxPool", m.qdq("x", 0.03, 5), kernel_shape=[2, 2]), *((0.03, 5) if same else (0.04, -3)))
    assert ("requantize" in kinds(check(m, y, tmp_path))) is not same


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("form", ["float", "int32", "int32 at another scale", "int8"])
def test_bias(form: str, axis: int | None, tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 5, 4])
    w = m.qweight(4, 3, 1, 1, axis=axis)
    scales = onnx.numpy_helper.to_array(next(i for i in m.initializers if i.name == "c1")).reshape(-1)
    values = np.array([300, -200, 7, 90])
    if form == "float":
        bias = m.const((values * 0.0004).astype(np.float32))
    else:
        dtype = np.int8 if form == "int8" else np.int32
        factor = 1.0 if form == "int32" else 1.7
        parts = [m.const(np.clip(values, -128, 127).astype(dtype) if dtype is np.int8 else values.astype(dtype))]
        parts.append(m.const((scales * np.float32(0.03) * np.float32(factor)).astype(np.float32)))
        parts.append(m.const(np.zeros(scales.size, dtype=dtype)))
        bias = m.node("DequantizeLinear", *parts, axis=0)
    graph = check(m, m.qdq(m.node("Conv", m.qdq("x", 0.03, 5), w, bias), 0.05, 5), tmp_path)
    stored = graph.tensors[op(graph, "conv2d").inputs[2]]
    assert stored.dtype == DType.INT32
    if form == "int32":
        assert stored.data is not None
        np.testing.assert_array_equal(stored.data, values)


def test_bias_added_after_a_product(tmp_path: Path) -> None:
    m = ModelMaker([1, 8])
    y = m.node("Add", m.node("MatMul", m.qdq("x"), m.qweight(8, 4)), m.weight(4))
    graph = check(m, m.qdq(y), tmp_path)
    assert kinds(graph) == ["quantize", "fully_connected", "dequantize"]
    assert op(graph, "fully_connected").inputs[2]


@pytest.mark.parametrize(
    ("kind", "value"), [("Mul", 0.37), ("Mul", -2.0), ("Add", 0.37), ("Add", 0.0), ("Sub", -2.0), ("Div", 4.0)]
)
def test_scalar_operands_are_exact(kind: str, value: float, tmp_path: Path) -> None:
    m = ModelMaker([1, 40])
    check(m, m.qdq(m.node(kind, m.qdq("x"), m.const(np.float32(value))), 0.04, 0), tmp_path)


def test_rows_of_a_sequence_through_one_matrix(tmp_path: Path) -> None:
    m = ModelMaker([1, 6, 8])
    graph = check(m, m.qdq(m.node("MatMul", m.qdq("x"), m.qweight(8, 4, axis=1))), tmp_path)
    assert graph.tensors[graph.outputs[0]].shape == (1, 6, 4)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_integer_ports_keep_their_type(dtype: Any, tmp_path: Path) -> None:
    """A model from QuantizeLinear's output to DequantizeLinear's input, as QOperator tools cut it."""
    m = ModelMaker([1, 3, 6, 5])
    zero = 128 if dtype is np.uint8 else 3
    parameters = m.const(np.float32(0.03)), m.const(np.asarray(dtype(zero)))
    y = m.node("Conv", m.node("DequantizeLinear", "x", *parameters), m.qweight(4, 3, 3, 3, dtype=np.int8, scale=0.003))
    elem = TensorProto.UINT8 if dtype is np.uint8 else TensorProto.INT8
    model = m.model(m.node("QuantizeLinear", y, *parameters), elem=elem)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    graph = lower(path)
    assert [graph.tensors[n].dtype.value for n in (*graph.inputs, *graph.outputs)] == [np.dtype(dtype).name] * 2
    assert kinds(graph).count("requantize") == (2 if dtype is np.uint8 else 0)
    info = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(info.min, info.max + 1, m.shape).astype(dtype)
    (want,) = runtime(path, {"x": x})
    got = evaluate(graph, [x])[graph.outputs[0]]
    assert got.dtype == want.dtype
    assert np.abs(got.astype(int) - want.astype(int)).max() <= 1


def test_weights_with_zero_point_stay_bytes(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 6, 5])
    names = m.const(m.rng.integers(0, 256, (4, 3, 3, 3)).astype(np.uint8)), m.const(np.float32(0.005))
    w = m.node("DequantizeLinear", *names, m.const(np.uint8(100)))
    graph = check(m, m.qdq(m.node("Conv", m.qdq("x"), w), 0.2, 5), tmp_path)
    weights = graph.tensors[op(graph, "conv2d").inputs[1]]
    assert weights.dtype == DType.INT8
    assert weights.quant is not None
    assert weights.quant.zero_point == (-28,)


def test_weights_along_the_wrong_axis(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 6, 5])
    y = m.qdq(m.node("Conv", m.qdq("x"), m.qweight(4, 3, 3, 3, axis=1)))
    path = tmp_path / "m.onnx"
    onnx.save(m.model(y), path)
    with pytest.raises(QuantError, match="dimension"):
        lower(path)


def test_float_weights_are_not_quantised_behind_the_users_back(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 6, 5])
    y = m.qdq(m.node("Conv", m.qdq("x"), m.weight(4, 3, 3, 3)))
    path = tmp_path / "m.onnx"
    onnx.save(m.model(y), path)
    graph = lower(path)
    (conv,) = [op for op in graph.ops if op.kind == "conv2d"]
    assert graph.tensors[conv.inputs[0]].dtype == graph.tensors[conv.outputs[0]].dtype == DType.FLOAT32
