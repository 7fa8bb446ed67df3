"""What is done to weights and biases: each changes what it is meant to, on layers of every form."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from onnx_models import ModelMaker
from ptq_models import inputs, save

from tinycompile.ir.graph import Graph, Node
from tinycompile.ops.evaluate import evaluate
from tinycompile.passes.fuse_qdq import LAYERS
from tinycompile.quantize.equalize import equalized
from tinycompile.quantize.measure import measure
from tinycompile.quantize.moments import as_matrices, from_matrices, input_moments
from tinycompile.quantize.prepare import complete
from tinycompile.quantize.quantizer import QuantizeOptions, load_float_model, quantize_graph
from tinycompile.quantize.weights import LIMITS, _clipped, _rounded, channel_scales, layer_weights
from tinycompile.watch import Watch

FORMS = {
    "conv": ((1, 4, 9, 7), (6, 4, 3, 3), {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
    "grouped": ((1, 4, 6, 6), (6, 2, 3, 3), {"group": 2, "dilations": [2, 1]}),
    "depthwise": ((1, 4, 6, 6), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "multiplier": ((1, 3, 6, 6), (6, 1, 3, 3), {"group": 3}),
    "fully connected": ((1, 12), (5, 12), None),
}


def layer(form: str, folder: Path) -> tuple[Graph, Node]:
    shape, weights, attributes = FORMS[form]
    m = ModelMaker(shape, 4)
    w, b = m.weight(*weights), m.weight(weights[0])
    out = m.node("Gemm", "x", w, b, transB=1) if attributes is None else m.node("Conv", "x", w, b, **attributes)
    graph = load_float_model(save(m, folder / "m.onnx", out))
    (node,) = [n for n in graph.nodes() if n.op.kind in LAYERS]
    return graph, node


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_is_the_product_that_moments_are_of(form: str, tmp_path: Path) -> None:
    """The mean of its output is that of its taps times its matrices, plus the bias."""
    graph, node = layer(form, tmp_path)
    reference, samples = complete(graph), inputs(graph, 3)
    (moments,) = input_moments(reference, [node], samples, True, Watch()).values()
    assert moments.second is not None
    outputs = np.concatenate(
        [evaluate(reference, s)[node.out.name].reshape(-1, node.out.form.channels) for s in samples]
    )
    plain = outputs - node.const(2)
    matrices = as_matrices(node, node.const(1))
    np.testing.assert_array_equal(from_matrices(node, matrices), node.const(1))
    mean = (matrices @ moments.mean[:, :, None]).reshape(-1)
    np.testing.assert_allclose(mean, plain.mean(axis=0), atol=1e-5)
    square = np.einsum("gok,gkl,gol->go", matrices, moments.second, matrices).reshape(-1)
    np.testing.assert_allclose(square, (plain**2).mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_rounding_and_bias_correction_lower_the_error_of_outputs(form: str, tmp_path: Path) -> None:
    graph, node = layer(form, tmp_path)
    samples = inputs(graph, 16)
    for sample in samples:
        sample["x"] += 1.0  # inputs whose mean is not 0, as behind a ReLU
    (moments,) = input_moments(complete(graph), [node], samples, True, Watch()).values()
    assert moments.second is not None
    errors = {}
    for adaptive, correct in itertools.product((False, True), repeat=2):
        made = layer_weights(node, 0.01, moments, adaptive, correct)
        assert made.bias is not None
        scales = np.array(made.quant.scale).reshape(-1)
        shape = as_matrices(node, node.const(1)).shape
        error = as_matrices(node, made.values) * scales.reshape(*shape[:2], 1) - as_matrices(node, node.const(1))
        assert np.all(np.abs(error) <= scales.reshape(*shape[:2], 1) * 1.001)
        moved = (made.bias - node.const(2)).reshape(shape[:2])
        mean = np.einsum("gok,gk->go", error, moments.mean)
        square = np.einsum("gok,gkl,gol->go", error, moments.second, error)
        errors[adaptive, correct] = float((square + 2 * moved * mean + moved**2).sum())
    assert errors[False, True] < errors[False, False]
    assert errors[True, False] < errors[False, False]
    assert errors[True, True] < errors[False, True]


def test_rounding_finds_what_trying_everything_finds() -> None:
    """Nearly: a weight at a time may end a little above the best of all."""
    rng = np.random.default_rng(0)
    worse = []
    for _ in range(20):
        units, x = rng.uniform(-3, 3, (1, 1, 7)), rng.normal(0.5, 1, (50, 7))
        h = (x.T @ x / 50)[None]

        def loss(q: np.ndarray, units: np.ndarray = units, h: np.ndarray = h) -> float:
            d = (q - units)[0, 0]
            return float(d @ h[0] @ d)

        ups = itertools.product((0, 1), repeat=7)
        best = min(loss(np.floor(units) + np.array(up)) for up in ups)
        found = loss(_rounded(units, h, LIMITS[8]))
        assert found <= loss(np.rint(units)) + 1e-9
        worse.append(found / best)
    assert np.median(worse) < 1.2


def test_rounding_stays_within_the_limits() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0.5, 1, (50, 7))
    found = _rounded(rng.uniform(-12, 12, (1, 4, 7)), (x.T @ x / 50)[None], LIMITS[4])
    assert (found.min(), found.max()) == (-8, 7)


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_four_bits(form: str, tmp_path: Path) -> None:
    """All 16 values may occur, no scale is larger than the weights ask for, and those chosen cost less."""
    graph, node = layer(form, tmp_path)
    samples = inputs(graph, 16)
    (moments,) = input_moments(complete(graph), [node], samples, True, Watch()).values()
    made = layer_weights(node, 0.01, moments, True, True, 4)
    assert made.quant.bits == 4
    assert -8 <= made.values.min() < made.values.max() <= 7
    weights = as_matrices(node, node.const(1))
    widest = np.abs(weights).max(axis=2).reshape(-1) / 7
    assert np.all(np.array(made.quant.scale) <= widest * 1.0001)
    losses = []
    for scales in (channel_scales(node, 0.01, 4, moments.second), widest):
        step = scales.reshape(*weights.shape[:2], 1)
        error = np.clip(np.rint(weights / step), -8, 7) * step - weights
        losses.append(np.einsum("gok,gkl,gol->go", error, moments.second, error))
    assert np.all(losses[0] <= losses[1] * 1.0001)
    assert losses[0].sum() < losses[1].sum()


def test_scales_clip_what_is_rare() -> None:
    """One weight far from all others takes the resolution of all; of 4 bits it is not worth it."""
    weights = np.concatenate([np.random.default_rng(0).normal(0, 0.1, 400), [1.0]])[None, None]
    (scale,) = _clipped(weights, np.array([[1 / 7]]), LIMITS[4], None)[0]
    assert 0.4 / 7 <= scale < 0.8 / 7


def test_a_layer_without_bias_gets_one(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 5, 5], 2)
    graph = load_float_model(save(m, tmp_path / "m.onnx", m.node("Conv", "x", m.weight(4, 3, 3, 3))))
    (node,) = [n for n in graph.nodes() if n.op.kind in LAYERS]
    (moments,) = input_moments(complete(graph), [node], inputs(graph, 4), False, Watch()).values()
    assert moments.second is None
    assert layer_weights(node, 0.01, moments, False, True).bias is not None
    assert layer_weights(node, 0.01, None, False, False).bias is None


def test_equalised_channels_compute_the_same_and_lose_less(tmp_path: Path) -> None:
    """Factors are powers of two: to the bit. Channels a hundred times larger than others no longer cost the others."""
    m = ModelMaker([1, 3, 8, 8], 6)
    sizes = np.array([100, 1, 1, 0.1, 3, 0.01, 1, 1], dtype=np.float32)
    w, b = (m.rng.standard_normal(s).astype(np.float32) for s in ((8, 3, 3, 3), (8,)))
    y = m.node("Relu", m.node("Conv", "x", m.const(w * sizes[:, None, None, None]), m.const(b * sizes)))
    w = m.rng.standard_normal((8, 1, 3, 3)).astype(np.float32)
    y = m.node("Relu", m.node("Conv", y, m.const(w), m.weight(8), group=8))
    w = m.rng.standard_normal((5, 8, 1, 1)).astype(np.float32) / sizes[:, None, None]
    graph = load_float_model(save(m, tmp_path / "m.onnx", m.node("Conv", y, m.const(w))))
    samples = inputs(graph, 12)
    other = equalized(graph, complete(graph), samples, Watch())
    found = {}
    for name, g in (("before", graph), ("after", other)):
        out = evaluate(complete(g), samples[0])[g.outputs[0]]
        np.testing.assert_array_equal(out, evaluate(complete(graph), samples[0])[graph.outputs[0]])
        made = quantize_graph(g, samples, QuantizeOptions(equalize=False), Watch())
        found[name] = measure(made.reference, made.lowered, samples, Watch()).sqnr
    assert found["after"] > found["before"] + 6
