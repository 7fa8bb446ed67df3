"""ONNX models through the frontend and all passes, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_models import Array, ModelMaker, evaluate, kinds, lower, quantise, runtime, samples

from tinycompile.frontends import load_model as load
from tinycompile.ir.graph import Graph
from tinycompile.ir.types import DType

MODELS = Path(__file__).parents[2].parent / "shared" / "models"
INTEGER_EDGES = {"quantize", "dequantize", "requantize"}


def residual_net() -> tuple[Any, list[int]]:
    shape = [1, 3, 12, 10]
    m = ModelMaker(shape)
    a = m.node("Relu", m.node("Conv", "x", m.weight(8, 3, 3, 3), m.weight(8), pads=[1, 1, 1, 1], strides=[2, 2]))
    six = m.const(np.float32(6)), m.const(np.float32(0))
    b = m.node("Conv", a, m.weight(8, 1, 3, 3), m.weight(8), pads=[1, 1, 1, 1], group=8)
    b = m.node("Clip", b, six[1], six[0])
    b = m.node("Conv", b, m.weight(8, 8, 1, 1), m.weight(8))
    c = m.node("Add", a, b)
    d = m.node("Concat", c, m.node("MaxPool", c, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]), axis=1)
    e = m.node("AveragePool", d, kernel_shape=[2, 2], strides=[2, 2])
    f = m.node("Flatten", m.node("GlobalAveragePool", e))
    g = m.node("Gemm", f, m.weight(5, 16), m.weight(5), transB=1)
    return m.model(m.node("Softmax", g, axis=-1)), shape


def flatten_net() -> tuple[Any, list[int]]:
    shape = [1, 2, 6, 5]
    m = ModelMaker(shape, 1)
    a = m.node("Relu", m.node("Conv", "x", m.weight(4, 2, 3, 3), m.weight(4)))
    b = m.node("Reshape", a, m.const(np.array([1, -1], dtype=np.int64)))
    c = m.node("Add", m.node("MatMul", b, m.weight(48, 6)), m.weight(6))
    return m.model(m.node("LeakyRelu", c, alpha=0.3)), shape


def wave_net() -> tuple[Any, list[int]]:
    shape = [1, 4, 20]
    m = ModelMaker(shape, 2)
    a = m.node("Relu", m.node("Conv", "x", m.weight(6, 4, 5), m.weight(6), pads=[2, 2], strides=[2]))
    b = m.node("Conv", a, m.weight(6, 1, 3), m.weight(6), pads=[1, 1], group=6)
    c = m.node("Add", a, b)
    d = m.node("MaxPool", c, kernel_shape=[2], strides=[2])
    e = m.node("ReduceMean", d, axes=[2], keepdims=0)
    return m.model(m.node("Gemm", e, m.weight(6, 3), m.weight(3))), shape


def squeeze_excite_net() -> tuple[Any, list[int]]:
    shape = [1, 3, 8, 10]
    m = ModelMaker(shape, 3)
    a = m.node("LeakyRelu", m.node("Conv", "x", m.weight(8, 3, 3, 3), m.weight(8), pads=[1] * 4), alpha=0.1)
    s = m.node("GlobalAveragePool", a)
    s = m.node("Relu", m.node("Conv", s, m.weight(4, 8, 1, 1), m.weight(4)))
    s = m.node("Sigmoid", m.node("Conv", s, m.weight(8, 4, 1, 1), m.weight(8)))
    b = m.node("Mul", a, s)
    scales = m.const(np.array([1, 1, 2, 2], dtype=np.float32))
    c = m.node(
        "Resize", b, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    d = m.node("Conv", c, m.weight(2, 8, 3, 3), m.weight(2), auto_pad="SAME_UPPER", strides=[2, 2])
    return m.model(d), shape


NETS = {f.__name__: f for f in (residual_net, flatten_net, wave_net, squeeze_excite_net)}


def integer_graph(graph: Graph) -> bool:
    """Whether float32 stands only at the edges."""
    floats = {t.name for t in graph.tensors.values() if t.dtype == DType.FLOAT32}
    return floats <= {*graph.inputs, *graph.outputs}


def layer_errors(graph: Graph, path: Path, inputs: list[Array]) -> dict[str, int]:
    """Largest difference of each operator from onnxruntime, in LSB, when it reads onnxruntime's own inputs."""
    model = onnx.load(path)
    names = [o for n in model.graph.node for o in n.output if "Quantize" in n.op_type and "De" not in n.op_type]
    made = {op.outputs[0].rpartition("/quantize")[0] or op.outputs[0]: op.outputs[0] for op in graph.ops}
    made = {name: made[name] for name in dict.fromkeys(names) if name in made}
    feeds = {model.graph.input[0].name: inputs[0]}
    outputs = runtime(model, feeds, list(made))[-len(made) :]
    known = {}
    for name, value in zip(made.values(), outputs, strict=True):
        shape = graph.tensors[name].shape
        if len(shape) == 4 and value.shape != shape:
            value = value.reshape(*value.shape, *[1] * (4 - value.ndim)).transpose(0, 2, 3, 1)
        if value.dtype == np.uint8:
            value = (value.astype(np.int16) - 128).astype(np.int8)
        known[name] = value.reshape(shape)
    values = evaluate(graph, inputs, known)
    return {n: int(np.abs(values[n].astype(int) - known[n].astype(int)).max()) for n in known}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("fmt", ["QDQ", "QOperator"])
@pytest.mark.parametrize(
    "types", ["QInt8 QInt8 per channel", "QInt8 QInt8", "QUInt8 QInt8 per channel", "QUInt8 QUInt8"]
)
def test_quantised_by_onnxruntime(net: str, fmt: str, types: str, tmp_path: Path) -> None:
    model, shape = NETS[net]()
    activation, weight = types.split()[:2]
    path = quantise(model, tmp_path / "q.onnx", shape, fmt, activation, weight, "per channel" in types)
    graph = lower(path)
    assert integer_graph(graph), kinds(graph)
    scale = next(op for op in graph.ops if op.outputs[0] == graph.outputs[0]).inputs[0]
    quant = graph.tensors[scale].quant
    assert quant is not None
    step = quant.scale[0]
    worst = 0.0
    seen = set()
    for x in samples(shape, 6, seed=5):
        (want,) = runtime(path, {"x": x})
        got = evaluate(graph, [x])[graph.outputs[0]]
        assert got.shape == want.shape
        worst = max(worst, float(np.abs(got - want).max() / step))
        seen.add(want.tobytes())
    assert len(seen) > 1, "the output does not depend on the input"
    assert worst <= 4.01, f"{worst} LSB at the end of a network whose layers may each be off by one"


@pytest.mark.parametrize("net", NETS)
def test_every_layer_is_within_one_lsb(net: str, tmp_path: Path) -> None:
    model, shape = NETS[net]()
    path = quantise(model, tmp_path / "q.onnx", shape, "QDQ", "QInt8", "QInt8", True)
    graph = lower(path)
    errors = layer_errors(graph, path, samples(shape, 1, seed=9))
    assert len(errors) >= 3
    assert max(errors.values()) <= 1, errors


def test_micro_kws_is_the_runtime_within_one_lsb() -> None:
    path = MODELS / "micro_kws_m_qdq.onnx"
    if not path.is_file():
        pytest.skip("micro_kws_m_qdq: the shared model folder is not beside this checkout")
    graph = lower(path)
    assert integer_graph(graph)
    assert "transpose" not in kinds(graph)
    with np.load(path.with_suffix(".npz")) as data:
        xs, ys = data["in_0_serving_default_input_0"], data["out_0_StatefulPartitionedCall_0"]
    step = graph.tensors[graph.ops[-1].inputs[0]].quant.scale[0]  # type: ignore[union-attr]
    for x, y in zip(xs, ys, strict=True):
        assert np.abs(evaluate(graph, [x])[graph.outputs[0]] - y).max() <= step * 1.01
        errors = layer_errors(graph, path, [x])
        assert len(errors) >= 8
        assert max(errors.values()) <= 1, errors


def test_every_layer_of_the_ready_example_is_within_one_lsb() -> None:
    path = Path(__file__).parents[2] / "tinycompile" / "zoo" / "digits_qdq.onnx"
    graph = lower(path)
    assert integer_graph(graph)
    rng = np.random.default_rng(0)
    for _ in range(3):
        errors = layer_errors(graph, path, [rng.uniform(0, 1, (1, 1, 8, 8)).astype(np.float32)])
        assert len(errors) >= 10
        assert max(errors.values()) <= 1, errors


def test_a_float_padding_behind_dequantize_becomes_the_convolutions(tmp_path: Path) -> None:
    """Legal QDQ: nothing quantises the padded tensor again."""
    m = ModelMaker([1, 2, 6, 5])
    pads = m.const(np.array([0, 0, 1, 2, 0, 0, 1, 0], dtype=np.int64))
    conv = m.node("Conv", m.node("Pad", "x", pads), m.weight(4, 2, 3, 3), m.weight(4))
    path = quantise(m.model(m.node("Relu", conv)), tmp_path / "q.onnx", [1, 2, 6, 5], "QDQ", "QInt8", "QInt8", True)
    model = onnx.load(path)
    pad = next(n for n in model.graph.node if n.op_type == "Pad")
    # onnxruntime's quantiser puts a pair behind the padding: take it out.
    requantise = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == pad.output[0])
    again = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == requantise.output[0])
    again_out, pad_out = again.output[0], pad.output[0]
    model.graph.node.remove(requantise)
    model.graph.node.remove(again)
    for n in model.graph.node:
        for k, name in enumerate(n.input):
            if name == again_out:
                n.input[k] = pad_out
    onnx.save(model, path)
    graph = lower(path)
    assert integer_graph(graph)
    assert kinds(graph).count("pad") == 0
    assert layer_errors(graph, path, samples([1, 2, 6, 5], 1, seed=3))
    assert max(layer_errors(graph, path, samples([1, 2, 6, 5], 1, seed=3)).values()) <= 1


def test_onnx_standard_qlinear_conv(tmp_path: Path) -> None:
    """The case of the ONNX standard: weights of zero point 255, and scales that are inputs, frozen here."""
    node_cases = pytest.importorskip("onnx.backend.test.case.node")
    pytest.importorskip("onnx.backend.test.case.node.qlinearconv")
    # The public collector imports, and runs, the cases of all operators.
    case = next(c for c in node_cases._NodeTestCases if c.name == "test_qlinearconv")
    inputs, (want,) = case.data_sets[0]
    x, *rest = case.model.graph.input
    frozen = dict(zip([i.name for i in rest], inputs[1:], strict=True))
    graph = lower(save(case.model, tmp_path / "m.onnx"), frozen_inputs=frozen)
    got = evaluate(graph, [inputs[0]])[graph.outputs[0]]
    assert graph.inputs == (x.name,)
    assert got.dtype == want.dtype
    assert np.abs(got.astype(int) - want.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("scales", [1, 5])
def test_qlinear_matmul(dtype: Any, scales: int, tmp_path: Path) -> None:
    """Every zero point off centre, one scale or one per column, against ONNX's own reference implementation."""
    rng = np.random.default_rng(3)
    info = np.iinfo(dtype)
    consts = {
        "as": np.float32(0.02),
        "az": dtype(info.min + 100),
        "b": rng.integers(info.min, info.max + 1, (9, 5)).astype(dtype),
        "bs": np.linspace(0.01, 0.02, scales).astype(np.float32).reshape(-1 if scales > 1 else ()),
        "bz": np.full(scales, info.min + 140).astype(dtype).reshape(-1 if scales > 1 else ()),
        "ys": np.float32(0.1),
        "yz": dtype(info.min + 120),
    }
    m = ModelMaker([3, 9])
    names = [m.const(np.asarray(v), k) for k, v in consts.items()]
    model = m.model(m.node("QLinearMatMul", "x", *names), elem=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    x = rng.integers(info.min, info.max + 1, (3, 9)).astype(dtype)
    want = np.asarray(ReferenceEvaluator(model).run(None, {"x": x})[0])
    graph = lower(save(model, tmp_path / "m.onnx"))
    got = evaluate(graph, [x])[graph.outputs[0]]
    assert got.dtype == want.dtype
    assert len(np.unique(want)) > 5
    assert np.abs(got.astype(int) - want.astype(int)).max() <= 1


def save(model: Any, path: Path) -> Path:
    onnx.save(model, path)
    return path


def test_shape_chains_fold(tmp_path: Path) -> None:
    """What PyTorch writes for ``x.view(x.size(0), -1)``."""
    m = ModelMaker([1, 2, 3, 4])
    y = m.node("Relu", "x")
    batch = m.node("Gather", m.node("Shape", y), m.const(np.array(0, dtype=np.int64)), axis=0)
    axis = m.const(np.array([0], dtype=np.int64))
    rest = m.const(np.array([-1], dtype=np.int64))
    wanted = m.node("Concat", m.node("Unsqueeze", batch, axis), rest, axis=0)
    graph = load(save(m.model(m.node("Reshape", y, wanted)), tmp_path / "m.onnx"))
    assert kinds(graph) == ["clip", "reshape"]
    assert graph.tensors[graph.outputs[0]].shape == (1, 24)


def test_names_of_ports_stay(tmp_path: Path) -> None:
    m = ModelMaker([1, 4])
    graph = load(save(m.model(m.node("Relu", "x", out="the:result")), tmp_path / "m.onnx"))
    assert (graph.inputs, graph.outputs) == (("x",), ("the:result",))


def test_symbolic_dimensions(tmp_path: Path) -> None:
    from tinycompile.errors import ShapeError, UsageError

    m = ModelMaker(["n", 4])  # type: ignore[list-item]
    path = save(m.model(m.node("Relu", "x")), tmp_path / "batch.onnx")
    assert load(path).tensors["x"].shape == (1, 4)
    m = ModelMaker([1, "c", 4])  # type: ignore[list-item]
    path = save(m.model(m.node("Relu", "x")), tmp_path / "dynamic.onnx")
    with pytest.raises(ShapeError) as raised:
        load(path)
    assert "--shape x=" in raised.value.fix
    assert load(path, {"x": (1, 7, 4)}).tensors["x"].shape == (1, 7, 4)
    with pytest.raises(ShapeError):
        load(path, {"x": (2, 7, 4)})
    with pytest.raises(UsageError):
        load(path, {"y": (1, 7, 4)})


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    body = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="local")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[body], ir_version=9)
    assert kinds(load(save(model, tmp_path / "m.onnx"))) == ["add"]


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    m = ModelMaker([1, 64])
    model = m.model(m.node("MatMul", "x", m.weight(64, 32)))
    want = onnx.numpy_helper.to_array(model.graph.initializer[0])
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=16)
    graph = load(path)
    stored = [t.data for t in graph.tensors.values() if t.data is not None]
    assert any(np.array_equal(s, want.T) for s in stored)  # as the layer wants it
