"""TFLite models with int16 activations (16x8): what LiteRT would compute otherwise than asked is refused, a network of
them is bit exact everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_models import ModelMaker, evaluate, litert, lower

from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_plan
from tinycompile.emulate.target import run_target
from tinycompile.errors import UnsupportedError
from tinycompile.frontends import load_model
from tinycompile.ir.types import DType
from tinycompile.pipeline import build_model
from tinycompile.planning.goal import Goal
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target

INT32, INT64 = 2, 4


def version(m: ModelMaker, number: int) -> None:
    for code in m.model.operatorCodes:
        code.version = number


def layer(m: ModelMaker, builtin: str, bias: str, stated: int) -> int:
    shape = (1, 12) if builtin == "FULLY_CONNECTED" else (1, 4, 4, 3)
    x = m.input(shape)
    w = m.weights((5, 12) if builtin == "FULLY_CONNECTED" else (5, 3, 3, 3), 0)
    b = m.tensor((5,), None, dtype=bias, data=m.rng.integers(-(10**6), 10**6, 5))
    y = m.tensor((1, 5) if builtin == "FULLY_CONNECTED" else (1, 2, 2, 5), 0.9)
    options = {"quantizedBiasType": stated}
    if builtin == "CONV_2D":
        options |= {"padding": 1, "strideH": 1, "strideW": 1}
    return m.op(builtin, [x, w, b], y, "FullyConnectedOptions" if len(shape) == 2 else "Conv2DOptions", **options)


@pytest.mark.parametrize("builtin", ["CONV_2D", "FULLY_CONNECTED"])
@pytest.mark.parametrize(("bias", "stated"), [("INT64", 0), ("INT64", INT64), ("INT32", INT32)])
def test_biases_of_both_types(builtin: str, bias: str, stated: int, tmp_path: Path) -> None:
    m = ModelMaker(wide=True)
    out = layer(m, builtin, bias, stated)
    version(m, 8 if builtin == "CONV_2D" else 12)
    path = tmp_path / "m.tflite"
    path.write_bytes(data := m.build(out))
    graph = lower(path)
    x = np.random.default_rng(1).integers(-32768, 32768, graph.tensors[graph.inputs[0]].shape).astype(np.int16)
    (want,) = litert(data, [x])
    np.testing.assert_array_equal(evaluate(graph, [x])[graph.outputs[0]].reshape(want.shape), want)


@pytest.mark.parametrize("builtin", ["CONV_2D", "FULLY_CONNECTED"])
@pytest.mark.parametrize(("bias", "stated"), [("INT32", 0), ("INT32", INT64), ("INT64", INT32)])
def test_a_bias_that_litert_reads_as_another_type_is_refused(
    builtin: str, bias: str, stated: int, tmp_path: Path
) -> None:
    m = ModelMaker(wide=True)
    path = tmp_path / "m.tflite"
    path.write_bytes(m.build(layer(m, builtin, bias, stated)))
    with pytest.raises(UnsupportedError, match="where LiteRT reads"):
        load_model(path)


@pytest.mark.parametrize("builtin", ["ADD", "SUB"])
@pytest.mark.parametrize(("scales", "refused"), [((0.5, 2.0, 2.0), True), ((2.0, 2.0, 2.0), False)])
def test_sums_by_shifts_are_refused(
    builtin: str, scales: tuple[float, float, float], refused: bool, tmp_path: Path
) -> None:
    m = ModelMaker(wide=True)
    a, b, y = (m.input((1, 400), scales[0]), m.input((1, 400), scales[1]), m.tensor((1, 400), scales[2]))
    m.op(builtin, [a, b], y, f"{builtin.capitalize()}Options", potScaleInt16=True)
    version(m, 3)
    path = tmp_path / "m.tflite"
    path.write_bytes(data := m.build(y))
    rng = np.random.default_rng(2)
    inputs = [rng.integers(-32768, 32768, (1, 400)).astype(np.int16) for _ in range(2)]
    if refused:
        with pytest.raises(UnsupportedError, match="powers of two"):
            load_model(path)
        return
    np.testing.assert_array_equal(evaluate(graph := lower(path), inputs)[graph.outputs[0]], litert(data, inputs)[0])


@pytest.mark.parametrize("builtin", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pooling_between_scales_is_refused(builtin: str, tmp_path: Path) -> None:
    m = ModelMaker(wide=True)
    window = {"padding": 1, "strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 2}
    y = m.op(builtin, [m.input((1, 4, 4, 3))], m.tensor((1, 3, 3, 3), 0.06), "Pool2DOptions", **window)
    path = tmp_path / "m.tflite"
    path.write_bytes(m.build(y))
    with pytest.raises(UnsupportedError, match="other quantisation parameters"):
        load_model(path)


def network(float_edges: bool = False) -> bytes:
    """A small residual network of every layer, ends as a classifier."""
    m = ModelMaker(seed=11, wide=True)
    window = {"padding": 0, "strideH": 1, "strideW": 1}
    x = m.input((1, 10, 8, 3), None, dtype="FLOAT32") if float_edges else m.input((1, 10, 8, 3), 0.02)
    if float_edges:
        x = m.op("QUANTIZE", [x], m.tensor((1, 10, 8, 3), 0.02))
    w, b = m.weights((8, 3, 3, 3), 0), m.bias(8)
    first = m.op(
        "CONV_2D", [x, w, b], m.tensor((1, 10, 8, 8), 0.04), "Conv2DOptions", fusedActivationFunction=1, **window
    )
    w, b = m.weights((1, 3, 3, 8), 3), m.bias(8)
    spread = m.op(
        "DEPTHWISE_CONV_2D",
        [first, w, b],
        m.tensor((1, 10, 8, 8), 0.05),
        "DepthwiseConv2DOptions",
        depthMultiplier=1,
        **window,
    )
    w, b = m.weights((8, 1, 1, 8), 0), m.bias(8)
    mixed = m.op("CONV_2D", [spread, w, b], m.tensor((1, 10, 8, 8), 0.06), "Conv2DOptions", **window)
    total = m.op("ADD", [first, mixed], m.tensor((1, 10, 8, 8), 0.07), "AddOptions", potScaleInt16=False)
    small = m.op(
        "AVERAGE_POOL_2D",
        [total],
        m.tensor((1, 5, 4, 8), 0.07),
        "Pool2DOptions",
        padding=1,
        strideH=2,
        strideW=2,
        filterHeight=2,
        filterWidth=2,
    )
    gate = m.op("LOGISTIC", [small], m.tensor((1, 5, 4, 8), 1 / 256))
    gated = m.op("MUL", [small, gate], m.tensor((1, 5, 4, 8), 0.03), "MulOptions")
    mean = m.op("MEAN", [gated, m.ints([1, 2])], m.tensor((1, 8), 0.02), "ReducerOptions")
    w, b = m.weights((5, 8), 0), m.bias(5)
    logits = m.op("FULLY_CONNECTED", [mean, w, b], m.tensor((1, 5), 0.03), "FullyConnectedOptions")
    y = m.op("SOFTMAX", [logits], m.tensor((1, 5), 1 / 256), "SoftmaxOptions", beta=1.0)
    if float_edges:
        y = m.op("DEQUANTIZE", [y], m.tensor((1, 5), None, dtype="FLOAT32"))
    versions = {
        "ADD": 3,
        "AVERAGE_POOL_2D": 3,
        "SOFTMAX": 3,
        "LOGISTIC": 3,
        "MUL": 4,
        "FULLY_CONNECTED": 8,
        "CONV_2D": 4,
    }
    names = {v: k for k, v in vars(m.schema.BuiltinOperator).items() if isinstance(v, int)}
    for code in m.model.operatorCodes:
        code.version = versions.get(names[code.builtinCode], 3)
    return m.build(y)


@pytest.mark.parametrize("float_edges", [False, True])
@pytest.mark.parametrize("least", [False, True])
def test_a_network_is_bit_exact_everywhere(float_edges: bool, least: bool, tmp_path: Path) -> None:
    """The plan on bytes, sanitised C with dirty memory, and an emulated Cortex-M4."""
    path, folder = tmp_path / "net.tflite", tmp_path / "out"
    folder.mkdir()
    path.write_bytes(data := network(float_edges))
    target = load_target("cortex-m4")
    built = build_model(path, target, Budgets(None, None), goal=Goal(minimize_sram=least))
    for name, text in built.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    rng = np.random.default_rng(4)
    if float_edges:
        samples = rng.uniform(-3, 3, (5, 1, 10, 8, 3)).astype(np.float32)
    else:
        samples = rng.integers(-32768, 32768, (5, 1, 10, 8, 3)).astype(np.int16)
        samples[0], samples[1] = -32768, 32767
    want = np.stack([litert(data, [x])[0] for x in samples])
    got = np.stack([run_plan(built.plan, [x], 0xA5)[0] for x in samples])
    np.testing.assert_array_equal(got.reshape(want.shape), want)
    np.testing.assert_array_equal(
        run_host(folder, built.plan.interface, [samples]).outputs[0].reshape(want.shape), want
    )
    assert len(np.unique(want.reshape(5, -1), axis=0)) > 2
    assert float_edges or built.plan.interface.inputs[0].dtype == DType.INT16
    if not least:
        run = run_target(folder, built.plan.interface, target, [samples[:3]], emulator="unicorn")
        np.testing.assert_array_equal(run.outputs[0].reshape(want[:3].shape), want[:3])
