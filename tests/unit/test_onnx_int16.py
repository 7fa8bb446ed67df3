"""ONNX models with 16-bit activations: symmetric ones compute in integers, within a step of onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import ModelMaker, check, evaluate, kinds, lower, quantise, runtime, samples
from test_onnx_frontend import NETS, integer_graph

from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_samples
from tinycompile.ir.types import DType
from tinycompile.pipeline import ImportOptions, build_model
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target

Case = Callable[[ModelMaker], str]
WIDE = 0.0001
SHAPE = [1, 4, 6, 5]


def maker() -> ModelMaker:
    return ModelMaker(SHAPE, opset=21)


def wide(m: ModelMaker, x: str, scale: float = WIDE, dtype: Any = np.int16) -> str:
    return m.qdq(x, scale, 1 << 15 if dtype == np.uint16 else 0, dtype)


def conv(bias: bool = True, groups: int = 1, relu: bool = False, dtype: Any = np.int16) -> Case:
    def build(m: ModelMaker) -> str:
        inputs = [wide(m, "x", dtype=dtype), m.qweight(8, 4 // groups, 3, 3, axis=0)]
        y = m.node("Conv", *inputs, *([m.weight(8)] if bias else []), group=groups, pads=[1, 1, 1, 1])
        return wide(m, m.node("Relu", y) if relu else y, 0.0007, dtype)

    return build


def unary(kind: str, scale: float = WIDE, out: float = WIDE, **attrs: Any) -> Case:
    return lambda m: wide(m, m.node(kind, wide(m, "x", scale), **attrs), out)


def binary(kind: str, out: float = WIDE) -> Case:
    return lambda m: wide(m, m.node(kind, wide(m, "x"), wide(m, "x", 0.00013)), out)


def constant(kind: str, out: float = WIDE) -> Case:
    def build(m: ModelMaker) -> str:
        return wide(m, m.node(kind, wide(m, "x"), m.const(np.float32(0.3))), out)

    return build


def gemm(m: ModelMaker) -> str:
    x = m.node("Flatten", wide(m, "x"))
    return wide(m, m.node("Gemm", x, m.qweight(7, 120, axis=0), m.weight(7), transB=1), 0.002)


def joined(m: ModelMaker) -> str:
    return wide(m, m.node("Concat", wide(m, "x"), wide(m, "x", 0.0002), axis=1), 0.0002)


CASES: dict[str, Case] = {
    "conv": conv(),
    "conv_without_bias": conv(bias=False, relu=True),
    "conv_uint16": conv(dtype=np.uint16),
    "depthwise": conv(groups=4, relu=True),
    "gemm": gemm,
    "add": binary("Add", 0.0002),
    "mul": binary("Mul", 0.0003),
    "add_constant": constant("Add"),
    "mul_constant": constant("Mul"),
    "average_pool": unary("AveragePool", kernel_shape=[2, 3], strides=[1, 2]),
    "average_pool_rescales": unary("AveragePool", out=0.00005, kernel_shape=[2, 3], pads=[1, 1, 0, 1]),
    "max_pool": unary("MaxPool", out=0.00012, kernel_shape=[2, 2]),
    "global_average": unary("GlobalAveragePool", out=0.00004),
    "relu": unary("Relu", out=0.00009),
    "leaky_relu": unary("LeakyRelu", alpha=0.2),
    "sigmoid": unary("Sigmoid", out=2.0**-15),
    "sigmoid_rescales": unary("Sigmoid", out=0.00004),
    "tanh": unary("Tanh", out=2.0**-15),
    "concat": joined,
    "reshape": unary("Flatten", out=WIDE),
}


@pytest.mark.parametrize("name", CASES)
def test_within_a_step_of_onnxruntime(name: str, tmp_path: Path) -> None:
    """Interpolated functions are three steps of 1 / 32768 from exact at most."""
    m = maker()
    lsb = 3.01 if name.startswith(("sigmoid", "tanh")) else 1.01
    graph = check(m, CASES[name](m), tmp_path, lsb)
    assert integer_graph(graph), kinds(graph)
    assert any(t.dtype == DType.INT16 for t in graph.tensors.values())


def mixed(first: Any, last: Any, kind: str = "Conv") -> Case:
    def build(m: ModelMaker) -> str:
        scales = {np.int8: 0.025, np.int16: WIDE}
        x = m.qdq("x", scales[first], 3 if first == np.int8 else 0, first)
        if kind == "Conv":
            y = m.node("Conv", x, m.qweight(8, 4, 3, 3, axis=0), m.weight(8))
        elif kind == "Add":
            y = m.node("Add", x, wide(m, "x", 0.00013))
        elif kind == "Relu":
            y = m.node("Relu", x)
        elif kind == "MaxPool":
            y = m.node("MaxPool", x, kernel_shape=[2, 2])
        else:
            y = x
        return m.qdq(y, 0.12 if last == np.int8 else 0.0007, -9 if last == np.int8 else 0, last)

    return build


@pytest.mark.parametrize("kind", ["Conv", "Add", "Relu", "MaxPool", "Identity"])
@pytest.mark.parametrize(("first", "last"), [(np.int8, np.int16), (np.int16, np.int8)])
def test_types_may_change_at_an_operator(kind: str, first: Any, last: Any, tmp_path: Path) -> None:
    m = maker()
    graph = check(m, mixed(first, last, kind)(m), tmp_path)
    assert integer_graph(graph), kinds(graph)
    assert {DType.INT8, DType.INT16} <= {t.dtype for t in graph.tensors.values() if t.quant and not t.is_const}


def test_int8_becomes_int16_once_for_all_readers(tmp_path: Path) -> None:
    m = maker()
    x = m.qdq("x", 0.025, 3)
    parts = [wide(m, m.node(kind, x)) for kind in ("Sigmoid", "Tanh")]
    graph = check(m, wide(m, m.node("Add", *parts), 0.0002), tmp_path, 3.01)
    assert kinds(graph).count("requantize") == 1


@pytest.mark.parametrize("name", ["asymmetric", "asymmetric unsigned", "HardSwish", "Softmax"])
def test_what_has_no_integer_form_computes_in_float(name: str, tmp_path: Path) -> None:
    m = maker()
    if not name.startswith("asymmetric"):
        out = wide(m, m.node(name, wide(m, "x")))
    else:
        dtype, zero = (np.uint16, 1000) if name.endswith("unsigned") else (np.int16, -300)
        out = m.qdq(m.node("Relu", m.qdq("x", 0.001, zero, dtype)), 0.001, zero, dtype)
    onnx.save(m.model(out), tmp_path / "m.onnx")
    graph = lower(tmp_path / "m.onnx")
    assert not integer_graph(graph)
    for x in samples(SHAPE, 3, seed=2):
        (want,) = runtime(tmp_path / "m.onnx", {"x": x})
        np.testing.assert_allclose(evaluate(graph, [x])[graph.outputs[0]], want, atol=0.00101)


@pytest.mark.parametrize("net", sorted(set(NETS) - {"wave_net"}))  # its ReduceMean is of an older opset
@pytest.mark.parametrize("types", ["QInt16 QInt8 per channel", "QUInt16 QInt8"])
def test_quantised_by_onnxruntime(net: str, types: str, tmp_path: Path) -> None:
    """A network's end is within what roundings of all layers add up to."""
    model, shape = NETS[net]()
    activation, weight = types.split()[:2]
    path = quantise(model, tmp_path / "q.onnx", shape, "QDQ", activation, weight, "per channel" in types)
    graph = lower(path)
    assert integer_graph(graph) or net == "residual_net", kinds(graph)  # that ends with a softmax
    quant = graph.tensors[next(op for op in graph.ops if op.outputs[0] == graph.outputs[0]).inputs[0]].quant
    assert quant is not None
    for x in samples(shape, 4, seed=5):
        (want,) = runtime(path, {"x": x})
        got = evaluate(graph, [x])[graph.outputs[0]]
        assert np.abs(got - want).max() <= 8 * quant.scale[0]


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_ports_of_16_bits(dtype: Any, tmp_path: Path) -> None:
    m = maker()
    zero = np.asarray(dtype(1 << 15 if dtype == np.uint16 else 0))
    parameters = m.const(np.float32(WIDE)), m.const(zero)
    y = m.node("Relu", m.node("DequantizeLinear", "x", *parameters))
    out = m.node("QuantizeLinear", y, *parameters)
    elem = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    onnx.save(m.model(out, elem=elem), tmp_path / "m.onnx")
    graph = lower(tmp_path / "m.onnx")
    assert not any(t.dtype == DType.FLOAT32 for t in graph.tensors.values()), kinds(graph)
    info = np.iinfo(dtype)
    x = np.random.default_rng(1).integers(info.min, info.max + 1, SHAPE).astype(dtype)
    (want,) = runtime(tmp_path / "m.onnx", {"x": x})
    np.testing.assert_array_equal(evaluate(graph, [x])[graph.outputs[0]], want)


def test_a_state_of_int16_is_kept(tmp_path: Path) -> None:
    """``h' = 0.5 x + 0.25 h``, all in int16: what an inference leaves is what the next one begins with."""
    m = maker()
    x, h = wide(m, "x"), wide(m, "h")
    parts = [wide(m, m.node("Mul", v, m.const(np.float32(f)))) for v, f in ((x, 0.5), (h, 0.25))]
    out = wide(m, m.node("Add", *parts))
    model = m.model(wide(m, m.node("Relu", out)), out)
    model.graph.input.append(onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, SHAPE))
    path, folder = tmp_path / "m.onnx", tmp_path / "out"
    onnx.save(model, path)
    options = ImportOptions(io="quantized", states={"h": out})
    built = build_model(path, load_target("host"), Budgets(None, None), options)
    folder.mkdir()
    for name, text in built.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    assert built.plan.interface.inputs[0].dtype == DType.INT16
    given = np.random.default_rng(3).integers(-20000, 20000, (5, *SHAPE)).astype(np.int16)
    (ours,) = run_samples(built.plan, [given])
    (in_c,) = run_host(folder, built.plan.interface, [given]).outputs
    np.testing.assert_array_equal(in_c.reshape(ours.shape), ours)
    kept, want = np.zeros(SHAPE), []
    for sample in given:
        kept = np.rint(sample * 0.5) + np.rint(kept * 0.25)
        want.append(np.maximum(kept, 0))
    assert np.abs(ours.reshape(5, -1) - np.stack(want).reshape(5, -1)).max() <= 3
    assert "int16_t" in built.files["m.h"]
