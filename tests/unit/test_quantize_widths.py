"""Which layers get weights of 4 bits: what flash asks for, at the least noise; what an accuracy budget takes back."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import runtime
from ptq_models import NETWORKS, inputs, quantized, save

import tinycompile
from tinycompile.errors import CheckFailed, DoesNotFitError, UsageError
from tinycompile.ir.graph import Graph
from tinycompile.ops.evaluate import evaluate
from tinycompile.quantize.measure import measure
from tinycompile.quantize.mixed import AccuracyBudget, quantize_within
from tinycompile.quantize.quantizer import Calibration, QuantizeOptions, load_float_model
from tinycompile.quantize.widths import Excess, cheapest, narrow_layers, saving, weight_noise
from tinycompile.report.quantization import weight_bytes
from tinycompile.watch import Watch

WORST = {
    "residual_network": 15.0,
    "branches": 12.0,
    "islands": 12.0,
    "sequence": 12.0,
    "functions": 12.0,
    "unpooling": 8.0,
}


def no_limit(lowered: Graph) -> Excess:
    return Excess(0, 0)


def within(flash_bytes: int) -> tuple[list[int], object]:
    """A limit of constants, and the sizes that were asked about."""
    seen: list[int] = []

    def fit(lowered: Graph) -> Excess:
        seen.append(weight_bytes(lowered))
        return Excess(0, max(seen[-1] - flash_bytes, 0))

    return seen, fit


@pytest.mark.parametrize("name", NETWORKS)
def test_int4_weights_are_written_run_and_close(name: str, tmp_path: Path) -> None:
    """As INT4 tensors, which onnxruntime runs as well; within a few dB of what 4 bits give."""
    graph, made = quantized(name, tmp_path, weights="int4")
    model = onnx.load_from_string(made.data)
    onnx.checker.check_model(model, full_check=True)
    narrow = [t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT4 and t.dims]
    weights = [t for t in made.lowered.tensors.values() if t.quant is not None and t.quant.bits == 4]
    assert len(made.weight_bits) == len(weights) <= len(narrow)
    assert set(made.weight_bits.values()) == {4}
    assert measure(made.reference, made.lowered, inputs(graph, 8, seed=9), Watch()).sqnr >= WORST[name]
    path = tmp_path / "int4.onnx"
    path.write_bytes(made.data)
    for x in inputs(graph, 3, seed=11):
        want = evaluate(made.lowered, dict(zip(made.lowered.inputs, x.values(), strict=True)))[made.lowered.outputs[0]]
        (other,) = runtime(path, x)
        assert np.abs(other - want).max() <= 0.05 * np.abs(want).max() + 1 / 256


def test_a_file_of_eight_bits_is_as_before(tmp_path: Path) -> None:
    """Opset and version go up only where there are tensors of 4 bits."""
    versions = {}
    for weights in ("int8", "int4"):
        model = onnx.load_from_string(quantized("sequence", tmp_path, weights=weights)[1].data)
        versions[weights] = model.opset_import[0].version, model.ir_version
    assert versions == {"int8": (20, 9), "int4": (21, 10)}


def test_the_cheapest_layers_save_enough_and_none_too_many() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        names = [f"l{k}" for k in range(7)]
        noise = dict(zip(names, rng.uniform(0, 1, 7), strict=True))
        saved = dict(zip(names, rng.integers(1, 100, 7).tolist(), strict=True))
        needed = int(rng.integers(1, sum(saved.values())))
        chosen = cheapest(noise, saved, needed)
        assert sum(saved[n] for n in chosen) >= needed
        assert all(sum(saved[n] for n in chosen) - saved[n] < needed for n in chosen)
        ways = itertools.chain.from_iterable(itertools.combinations(names, k) for k in range(8))
        best = min(sum(noise[n] for n in w) for w in ways if sum(saved[n] for n in w) >= needed)
        assert sum(noise[n] for n in chosen) <= 2 * best
    assert sorted(cheapest(noise, saved, 10**6)) == names


def test_the_noise_of_a_layer_is_that_of_its_weights_alone(tmp_path: Path) -> None:
    """Of the last layer it can be told from outside; 8 bits in its place are no noise to speak of."""
    maker, out = NETWORKS["sequence"]()
    graph = load_float_model(save(maker, tmp_path / "m.onnx", out))
    samples = inputs(graph, 12)
    found = Calibration(graph, samples, QuantizeOptions(), Watch(), ())
    noise = weight_noise(found, samples, Watch())
    assert set(noise) == set(found.layers)
    assert all(0 < n < 0.2 for n in noise.values())
    total = sum(noise.values())
    made = found.quantized(dict.fromkeys(found.layers, 4))
    sqnr = measure(made.reference, made.lowered, samples, Watch(), layers=False).sqnr
    assert sqnr == pytest.approx(-10 * math.log10(total), abs=4)


def test_flash_decides_how_many_layers_are_narrow(tmp_path: Path) -> None:
    graph, eight = quantized("residual_network", tmp_path)
    samples = inputs(graph, 40)
    _, four = quantized("residual_network", tmp_path, weights="int4")
    sizes = weight_bytes(eight.lowered), weight_bytes(four.lowered)
    counts = []
    for flash_bytes in (sizes[0], sizes[0] - 1, (sizes[0] + sizes[1]) // 2, sizes[1]):
        seen, fit = within(flash_bytes)
        made = quantize_within(graph, samples, samples, QuantizeOptions(weights="auto"), AccuracyBudget(), fit, Watch())
        assert seen[-1] == weight_bytes(made.lowered) <= flash_bytes
        counts.append(len(narrow_layers(made)))
    assert counts[0] == 0 < counts[1] <= counts[2] <= counts[3] == len(eight.weight_bits)
    with pytest.raises(DoesNotFitError, match="more than it is given"):
        quantize_within(
            graph, samples, samples, QuantizeOptions(weights="auto"), AccuracyBudget(), within(100)[1], Watch()
        )


def test_int8_that_is_asked_for_stays_int8(tmp_path: Path) -> None:
    graph, eight = quantized("sequence", tmp_path)
    samples = inputs(graph, 40)
    made = quantize_within(graph, samples, samples, QuantizeOptions(), AccuracyBudget(), within(100)[1], Watch())
    assert made.data == eight.data


def test_an_accuracy_budget_widens_before_anything_is_float(tmp_path: Path) -> None:
    graph, eight = quantized("residual_network", tmp_path)
    samples = inputs(graph, 40)
    judged = inputs(graph, 10, seed=9)
    _, four = quantized("residual_network", tmp_path, weights="int4")
    exact, coarse = (measure(m.reference, m.lowered, judged, Watch(), layers=False).sqnr for m in (eight, four))
    budget = AccuracyBudget(min_sqnr=(exact + coarse) / 2)
    options = QuantizeOptions(weights="int4")
    made = quantize_within(graph, samples, judged, options, budget, no_limit, Watch())
    assert measure(made.reference, made.lowered, judged, Watch(), layers=False).sqnr >= budget.min_sqnr
    assert made.scheme.kept_float == {}
    assert 0 < len(narrow_layers(made)) < len(made.weight_bits)
    beyond = quantize_within(graph, samples, judged, options, AccuracyBudget(exact + 3), no_limit, Watch())
    assert beyond.scheme.kept_float
    assert narrow_layers(beyond) == []
    tight = within(weight_bytes(four.lowered) + 1)[1]
    with pytest.raises(CheckFailed, match="SQNR"):
        quantize_within(graph, samples, judged, options, budget, tight, Watch())


def test_saving_is_what_the_constants_lose(tmp_path: Path) -> None:
    maker, out = NETWORKS["branches"]()
    graph = load_float_model(save(maker, tmp_path / "m.onnx", out))
    found = Calibration(graph, inputs(graph, 8), QuantizeOptions(), Watch(), ())
    eight = weight_bytes(found.quantized().lowered)
    for name in found.layers:
        assert eight - weight_bytes(found.quantized({name: 4}).lowered) == saving(found, name)


def test_from_python(tmp_path: Path) -> None:
    graph, made = quantized("sequence", tmp_path, weights="int4")
    (name,) = graph.inputs
    stack = np.stack([x[name] for x in inputs(graph, 40)])
    path = tinycompile.quantize_model(tmp_path / "sequence.onnx", stack, tmp_path / "int4.onnx", weights="int4")
    assert path.read_bytes() == made.data
    with pytest.raises(UsageError, match="int2"):
        tinycompile.quantize_model(tmp_path / "sequence.onnx", stack, tmp_path / "int4.onnx", weights="int2")
