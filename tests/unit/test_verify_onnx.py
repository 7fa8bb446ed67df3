"""Layer by layer against onnxruntime, of files whose activations, inputs, outputs and states are uint8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import ModelMaker

from tinycompile.pipeline import ImportOptions, plan_model
from tinycompile.target import load_target
from tinycompile.verify.layers import Verification, verify_layers
from tinycompile.verify.onnxruntime import OnnxRuntime

SHAPE = [1, 3, 6, 5]


def network(path: Path, zero_point: int = 131, shift: int = 0) -> Path:
    """``y = conv(x)``, ``next = y / 2 + state / 2``: everything at the edges uint8."""
    m = ModelMaker(SHAPE, 3)
    m.const(np.float32(0.02), "s")
    m.const(np.array(zero_point, dtype=np.uint8), "zp")
    m.const(np.array(zero_point + shift, dtype=np.uint8), "zp_y")
    x, state = (m.node("DequantizeLinear", name, "s", "zp") for name in ("x", "state"))
    y = m.node("QuantizeLinear", m.node("Conv", x, m.qweight(4, 3, 1, 1)), "s", "zp_y", out="y")
    half = m.const(np.float32(0.5))
    halves = [
        m.qdq(m.node("Mul", v, half), 0.01, 128, np.uint8) for v in (m.node("DequantizeLinear", y, "s", "zp_y"), state)
    ]
    m.node("QuantizeLinear", m.node("Add", *halves), "s", "zp", out="next")
    model = m.model("y", "next", elem=TensorProto.UINT8)
    model.graph.input.append(helper.make_tensor_value_info("state", TensorProto.UINT8, [1, 4, *SHAPE[2:]]))
    onnx.save(model, path)
    return path


def verified(path: Path, against: Path, states: dict[str, str] | None) -> Verification:
    plan = plan_model(path, load_target("host"), ImportOptions(states=states))
    rng = np.random.default_rng(5)
    inputs = [rng.integers(0, 256, (7, *port.shape)).astype(np.uint8) for port in plan.interface.inputs]
    return verify_layers(plan, OnnxRuntime(against), inputs, 1.0, exact_floats=False)


@pytest.mark.parametrize("states", [None, {"state": "next"}], ids=["plain", "state"])
@pytest.mark.parametrize("zero_point", [0, 131, 255])
def test_uint8_is_compared_as_what_it_is(zero_point: int, states: dict[str, str] | None, tmp_path: Path) -> None:
    path = network(tmp_path / "m.onnx", zero_point)
    found = verified(path, path, states)
    assert found.first_difference is None
    assert {r.tensor for r in found.outputs} == {"y", "next"}
    assert all(r.max_difference <= 2 for r in found.outputs)
    assert len(found.layers) >= 4


def test_a_zero_point_that_is_off_is_noticed(tmp_path: Path) -> None:
    """The control."""
    path, other = network(tmp_path / "m.onnx"), network(tmp_path / "other.onnx", shift=3)
    found = verified(path, other, {"state": "next"})
    assert found.first_difference is not None
    assert next(r for r in found.outputs if r.tensor == "y").max_difference >= 3
