"""RNN, GRU and LSTM of ONNX, in all their forms, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import ModelMaker, evaluate, lower, runtime

from tinycompile.errors import UnsupportedError

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("RNN", {}),
    "rnn_relu": ("RNN", {"activations": ["Relu"], "clip": 0.6}),
    "rnn_affine": ("RNN", {"activations": ["Affine"], "activation_alpha": [0.6], "activation_beta": [0.1]}),
    "rnn_leaky_both": (
        "RNN",
        {
            "direction": "bidirectional",
            "activations": ["LeakyRelu", "HardSigmoid"],
            "activation_alpha": [0.05, 0.3],
            "activation_beta": [0.4],
        },
    ),
    "gru": ("GRU", {}),
    "gru_after": ("GRU", {"linear_before_reset": 1, "direction": "reverse"}),
    "gru_both": ("GRU", {"direction": "bidirectional", "clip": 0.7}),
    "lstm": ("LSTM", {"clip": 0.5}),
    "lstm_reverse": ("LSTM", {"direction": "reverse"}),
    "lstm_both": ("LSTM", {"direction": "bidirectional", "activations": ["Sigmoid", "Tanh", "Softsign"] * 2}),
    "lstm_coupled": ("LSTM", {"input_forget": 1}),
}


def made(
    kind: str, lengths: list[int] | None, attrs: dict[str, Any], extras: bool = True
) -> tuple[ModelMaker, list[str]]:
    m = ModelMaker([STEPS, BATCH, INPUTS], seed=4, opset=14)
    directions, gates = 2 if attrs.get("direction") == "bidirectional" else 1, GATES[kind]

    def weights(*shape: int) -> str:
        return m.const(m.rng.normal(0, 0.5, (directions, *shape)).astype(np.float32))

    inputs = ["x", weights(gates * HIDDEN, INPUTS), weights(gates * HIDDEN, HIDDEN)]
    if extras:
        inputs.append(weights(2 * gates * HIDDEN))
        inputs.append("" if lengths is None else m.const(np.array(lengths, dtype=np.int32)))
        inputs += [weights(BATCH, HIDDEN) for _ in range(2 if kind == "LSTM" else 1)]
        if kind == "LSTM" and not attrs.get("input_forget"):
            inputs.append(weights(3 * HIDDEN))
    outputs = ["Y", "Y_h", "Y_c"] if kind == "LSTM" else ["Y", "Y_h"]
    m.nodes.append(onnx.helper.make_node(kind, inputs, outputs, hidden_size=HIDDEN, **attrs))
    return m, outputs


def assert_equal(m: ModelMaker, outputs: list[str], path: Path) -> None:
    onnx.save(m.model(*outputs), path)
    x = np.random.default_rng(6).normal(0, 1, m.shape).astype(np.float32)
    graph = lower(path)
    found = evaluate(graph, [x])
    for name, want in zip(graph.outputs, runtime(path, {"x": x}), strict=True):
        assert found[name].shape == want.shape
        np.testing.assert_allclose(found[name], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("lengths", [None, [5, 2, 4]])
def test_equals_onnxruntime(name: str, lengths: list[int] | None, tmp_path: Path) -> None:
    assert_equal(*made(FORMS[name][0], lengths, FORMS[name][1]), tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", GATES)
def test_without_optional_inputs(kind: str, tmp_path: Path) -> None:
    assert_equal(*made(kind, None, {}, extras=False), tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_samples_first(kind: str, direction: str, tmp_path: Path) -> None:
    """layout 1 is layout 0 with the first dimensions exchanged."""
    attrs = {"direction": direction}
    m, outputs = made(kind, None, attrs, extras=False)
    onnx.save(m.model(*outputs), tmp_path / "m.onnx")
    x = np.random.default_rng(6).normal(0, 1, m.shape).astype(np.float32)
    want = runtime(tmp_path / "m.onnx", {"x": x})
    m.shape = [BATCH, STEPS, INPUTS]
    m.nodes[0].attribute.append(onnx.helper.make_attribute("layout", 1))
    onnx.save(m.model(*outputs), tmp_path / "m.onnx")
    graph = lower(tmp_path / "m.onnx")
    found = evaluate(graph, [x.swapaxes(0, 1)])
    orders: list[tuple[int, ...]] = [(2, 0, 1, 3), (1, 0, 2), (1, 0, 2)]
    for name, value, order in zip(graph.outputs, want, orders, strict=False):
        np.testing.assert_allclose(found[name], np.transpose(value, order), rtol=1e-4, atol=1e-5)


def test_a_state_made_at_run_time(tmp_path: Path) -> None:
    m, outputs = made("GRU", None, {}, extras=False)
    first = m.node("ReduceMean", "x", axes=[0, 2], keepdims=1)
    tiles = m.const(np.array([1, 1, HIDDEN], dtype=np.int64))
    m.nodes[0].input.extend(["", "", m.node("Tile", first, tiles)])
    m.nodes.append(m.nodes.pop(0))
    assert_equal(m, outputs, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        ({"activations": ["Affine"]}, "without activation_alpha"),
        ({"activations": ["Gelu"]}, "activations gelu"),
        ({"activations": ["Elu"], "activation_alpha": [1.0, 2.0]}, "2 values of activation_alpha"),
    ],
)
def test_what_is_refused(attrs: dict[str, Any], words: str, tmp_path: Path) -> None:
    m, outputs = made("RNN", None, attrs, extras=False)
    onnx.save(m.model(*outputs), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match=words):
        lower(tmp_path / "m.onnx")
