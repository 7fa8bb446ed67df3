"""Float layers with int8 weights: refused, or computed in float and said so. LiteRT rounds their activations to int8 as
it runs, so that it comes near the float network: within two hundredths of the largest output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from recurrent_models import lstm, svdf
from tflite_models import ModelMaker, calls, random_value, saved

import tinycompile
from tinycompile.commands.plan import plan as plan_verb
from tinycompile.emulate.interpreter import run_samples
from tinycompile.errors import UnsupportedError, UsageError
from tinycompile.frontends import load_model
from tinycompile.pipeline import ImportOptions, plan_model
from tinycompile.target import load_target

NEAR = 0.02


def floats(m: ModelMaker, *shape: int, const: bool = False) -> int:
    return m.tensor(shape, None, dtype="FLOAT32", data=m.rng.normal(0, 1, shape) if const else None)


def given(m: ModelMaker, *shape: int) -> int:
    return m.input(shape, None, dtype="FLOAT32")


def conv(m: ModelMaker, per_channel: bool = True) -> int:
    inputs = [given(m, 1, 6, 5, 3), m.weights((4, 3, 3, 3), 0 if per_channel else None), floats(m, 4, const=True)]
    options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": 1}
    return m.op("CONV_2D", inputs, floats(m, 1, 6, 5, 4), "Conv2DOptions", **options)


def depthwise(m: ModelMaker) -> int:
    inputs = [given(m, 1, 6, 5, 3), m.weights((1, 3, 3, 3), 3), floats(m, 3, const=True)]
    options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "depthMultiplier": 1}
    return m.op("DEPTHWISE_CONV_2D", inputs, floats(m, 1, 6, 5, 3), "DepthwiseConv2DOptions", **options)


def fully_connected(m: ModelMaker) -> int:
    inputs = [given(m, 1, 20), m.weights((5, 20)), floats(m, 5, const=True)]
    return m.op("FULLY_CONNECTED", inputs, floats(m, 1, 5), "FullyConnectedOptions")


def batch_matmul(m: ModelMaker) -> int:
    return m.op("BATCH_MATMUL", [given(m, 2, 3, 8), m.weights((2, 8, 5))], floats(m, 2, 3, 5), "BatchMatMulOptions")


def hybrid(m: ModelMaker, out: int, positions: range | tuple[int, ...]) -> int:
    """The constants at these positions of the last operator in int8, near what they were in float."""
    for position in positions:
        index = m.graph.operators[-1].inputs[position]
        if index >= 0:
            tensor = m.graph.tensors[index]
            values = m.model.buffers[tensor.buffer].data.view(np.float32)
            scale = float(np.float32(np.abs(values).max() / 127))
            small = m.tensor(tensor.shape, scale, 0, data=np.rint(values / scale))
            m.graph.operators[-1].inputs[position] = small
    return out


LAYERS: dict[str, Callable[[ModelMaker], int]] = {
    "conv": conv,
    "conv_per_tensor": lambda m: conv(m, False),
    "depthwise": depthwise,
    "fully_connected": fully_connected,
    "batch_matmul": batch_matmul,
    "lstm": lambda m: hybrid(m, lstm(m, False), range(1, 9)),
    "svdf": lambda m: hybrid(m, svdf(m, False), (1, 2)),
}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    m = ModelMaker(len(request.param))
    return saved(tmp_path / f"{request.param}.tflite", m.build(LAYERS[request.param](m)))


def test_it_is_refused_by_default(layer: Path) -> None:
    with pytest.raises(UnsupportedError, match="dynamic range") as caught:
        load_model(layer)
    assert "--dynamic-range float" in caught.value.fix


def test_in_float_it_is_near_what_litert_computes(layer: Path) -> None:
    plan = plan_model(layer, load_target("host"), ImportOptions(dynamic_range="float"))
    x = random_value(np.random.default_rng(1), (5, *plan.interface.inputs[0].shape), np.dtype(np.float32)) / 50
    ours, want = run_samples(plan, [x])[0], calls(layer, x)[0]
    assert np.abs(ours - want).max() <= NEAR * np.abs(want).max()
    assert not np.array_equal(ours, want)


def test_the_weights_are_those_of_the_file(tmp_path: Path) -> None:
    m = ModelMaker(3)
    path = saved(tmp_path / "m.tflite", m.build(fully_connected(m)))
    graph = load_model(path, dynamic_range="float")
    (op,) = graph.ops
    weights = graph.tensors[op.inputs[1]].data
    stored = m.model.buffers[m.graph.tensors[1].buffer].data.view(np.int8).reshape(5, 20)
    assert weights is not None
    assert np.array_equal(weights, stored.astype(np.float32) * np.float32(0.01))


def test_the_report_says_so(tmp_path: Path) -> None:
    m = ModelMaker(3)
    path = saved(tmp_path / "m.tflite", m.build(fully_connected(m)))
    run = CliRunner().invoke(plan_verb, [str(path), "--dynamic-range", "float"])
    assert "dynamic range" in run.output
    run = CliRunner().invoke(plan_verb, [str(path), "--dynamic-range", "float", "--json"])
    assert len(json.loads(run.output)["notes"]) == 1
    built = tinycompile.build(path, "host", dynamic_range="float")
    assert "dynamic range" in built.files["report.html"]
    m = ModelMaker(3)
    m.op("RELU", [given(m, 1, 4)], floats(m, 1, 4))
    plain = saved(tmp_path / "plain.tflite", m.build(1))
    assert tinycompile.build(plain, "host", dynamic_range="float").report.notes == ()


def test_what_is_no_choice(tmp_path: Path) -> None:
    m = ModelMaker(3)
    path = saved(tmp_path / "m.tflite", m.build(fully_connected(m)))
    with pytest.raises(UsageError, match="'int8'"):
        tinycompile.build(path, "host", dynamic_range="int8")
    onnx = saved(tmp_path / "m.onnx", b"\x08\x08")
    with pytest.raises(UsageError, match="only TFLite"):
        tinycompile.build(onnx, "host", dynamic_range="float")


def test_weights_with_a_zero_point_are_refused(tmp_path: Path) -> None:
    m = ModelMaker(3)
    out = fully_connected(m)
    m.graph.tensors[1].quantization.zeroPoint = [3]
    with pytest.raises(tinycompile.errors.QuantError, match="zero point"):
        load_model(saved(tmp_path / "m.tflite", m.build(out)), dynamic_range="float")
