"""Post-training quantisation: the file it writes is what is built, what onnxruntime runs, and close to the floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import ModelMaker, runtime
from ptq_models import NETWORKS, inputs, quantized, save

import tinycompile
from tinycompile.emulate.interpreter import run_plan
from tinycompile.errors import UsageError
from tinycompile.ir.types import DType
from tinycompile.ops.elementwise_operator import ElementwiseAttrs
from tinycompile.ops.evaluate import evaluate
from tinycompile.pipeline import ImportOptions, import_model, plan_model
from tinycompile.quantize.measure import counterparts, measure
from tinycompile.quantize.prepare import complete
from tinycompile.quantize.quantizer import QuantizeOptions, load_float_model, quantize_graph
from tinycompile.quantize.ranges import CALIBRATORS, Histogram, calibrated, quant_of_range, squared_error
from tinycompile.quantize.scheme import make_scheme
from tinycompile.quantize.write_onnx import write_onnx
from tinycompile.target import load_target
from tinycompile.watch import Watch

WORST = {
    "residual_network": 30.0,
    "branches": 25.0,
    "islands": 25.0,
    "sequence": 25.0,
    "functions": 30.0,
    "unpooling": 20.0,  # of values that int8 makes equal, another place may be the largest
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_float_graph_survives_the_file(name: str, tmp_path: Path) -> None:
    """Written and imported again it computes the same bits, and onnxruntime computes them nearly."""
    maker, out = NETWORKS[name]()
    graph = load_float_model(save(maker, tmp_path / "float.onnx", out))
    (tmp_path / "again.onnx").write_bytes(write_onnx(graph))
    onnx.checker.check_model(tmp_path / "again.onnx", full_check=True)
    again = load_float_model(tmp_path / "again.onnx")
    (x,) = inputs(graph, 1)
    want = evaluate(complete(graph), x, graph.outputs)[graph.outputs[0]]
    got = evaluate(complete(again), x, again.outputs)[again.outputs[0]]
    np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(runtime(tmp_path / "again.onnx", x)[0], want, rtol=1e-3, atol=1e-5)


def places() -> dict[str, tuple[ModelMaker, str]]:
    """Of each operator that is written as places, with some that lie outside."""
    fold = ModelMaker([1, 8, 9], 3, opset=18)
    sizes = [fold.const(np.array(v, dtype=np.int64)) for v in ([4, 4], [2, 2])]
    fold_out = fold.node("Col2Im", "x", *sizes, pads=[1, 1, 1, 1], strides=[2, 2])
    rows = ModelMaker([6, 4], 4)
    at = rows.node("ArgMax", "x", axis=0, keepdims=0)
    taken = rows.node("Gather", "x", at)
    scattered = rows.node("ScatterND", "x", rows.node("Reshape", at, rows.const(np.array([4, 1]))), rows.weight(4, 4))
    warp = ModelMaker([1, 2, 5, 6], 5)
    grid = warp.node("Tanh", warp.node("Transpose", "x", perm=[0, 2, 3, 1]))
    return {
        "fold": (fold, fold_out),
        "rows": (rows, rows.node("Add", scattered, rows.node("ReduceMax", taken, keepdims=1))),
        "warp": (warp, warp.node("GridSample", "x", grid, mode="bilinear", padding_mode="border")),
    }


@pytest.mark.parametrize("name", ["fold", "rows", "warp"])
def test_places_survive_the_file(name: str, tmp_path: Path) -> None:
    maker, out = places()[name]
    graph = load_float_model(save(maker, tmp_path / "float.onnx", out))
    (tmp_path / "again.onnx").write_bytes(write_onnx(graph))
    again = load_float_model(tmp_path / "again.onnx")
    for x in inputs(graph, 3):
        want = evaluate(complete(graph), x, graph.outputs)[graph.outputs[0]]
        got = evaluate(complete(again), x, again.outputs)[again.outputs[0]]
        np.testing.assert_array_equal(got, want)
        np.testing.assert_allclose(runtime(tmp_path / "again.onnx", x)[0], want, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(runtime(tmp_path / "float.onnx", x)[0], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_quantised_network_is_close_to_the_float_one(name: str, tmp_path: Path) -> None:
    graph, made = quantized(name, tmp_path)
    result = measure(made.reference, made.lowered, inputs(graph, 8, seed=9), Watch())
    assert result.sqnr >= WORST[name]
    assert all(layer.own > 20 for layer in result.layers if "put" not in layer.kind)
    assert result.worst[0].own == min(layer.own for layer in result.layers)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_is_what_is_built_and_onnxruntime_agrees(name: str, tmp_path: Path) -> None:
    """The plan of the file gives the graph's bits; onnxruntime is a few steps of the output's scale away at most."""
    graph, made = quantized(name, tmp_path)
    path = tmp_path / "int8.onnx"
    path.write_bytes(made.data)
    onnx.checker.check_model(path, full_check=True)
    plan = plan_model(path, load_target("host"))
    for x in inputs(graph, 4, seed=11):
        want = evaluate(made.lowered, dict(zip(made.lowered.inputs, x.values(), strict=True)))[made.lowered.outputs[0]]
        (got,) = run_plan(plan, list(x.values()))
        np.testing.assert_array_equal(got.reshape(want.shape), want)
        (other,) = runtime(path, x)
        assert np.abs(other - want).max() <= 0.05 * np.abs(want).max() + 1 / 256


@pytest.mark.parametrize("name", ["residual_network", "branches", "sequence", "functions", "unpooling"])
def test_what_has_int8_kernels_becomes_int8(name: str, tmp_path: Path) -> None:
    _, made = quantized(name, tmp_path)
    assert made.scheme.kept_float == {}
    kinds = {op.kind for op in made.lowered.ops}
    assert "elementwise" not in kinds
    places = {DType.INT64} if name == "unpooling" else set()
    assert {t.dtype for t in made.lowered.tensors.values() if not t.is_const} == {DType.INT8, DType.FLOAT32, *places}
    floats = {n for n, t in made.lowered.tensors.items() if t.dtype == DType.FLOAT32}
    assert floats == {*made.lowered.inputs, *made.lowered.outputs}


def test_what_has_none_stays_float_and_is_named(tmp_path: Path) -> None:
    graph, made = quantized("islands", tmp_path)
    assert "sum has no int8 kernel" in made.scheme.kept_float.values()
    layers = [op for op in made.lowered.ops if op.kind.startswith("fully_connected")]
    assert len(layers) == 4
    assert all(made.lowered.tensors[op.outputs[0]].dtype == DType.INT8 for op in layers)
    everything = make_scheme(graph, [op.outputs[0] for op in graph.ops])
    assert everything.stored == {}
    assert everything.integer == frozenset()


def test_a_function_of_several_operators_is_one_table(tmp_path: Path) -> None:
    """What lies within is not stored; what others read as well is, and begins another table."""
    graph, made = quantized("functions", tmp_path)
    tables = [op for op in made.lowered.ops if op.kind == "lookup"]
    assert [op.source.kind for op in tables] == ["Mul", "Mul", "Sqrt", "HardSigmoid"]
    roots = {op.outputs[0] for op in graph.ops if op.attrs == ElementwiseAttrs("sqrt")}
    assert roots <= made.scheme.stored.keys()
    inner = {op.outputs[0] for op in graph.ops if op.attrs in (ElementwiseAttrs("erf"), ElementwiseAttrs("softplus"))}
    assert inner
    assert not inner & made.scheme.stored.keys()


def test_tensors_are_found_again_in_the_int8_graph(tmp_path: Path) -> None:
    _, made = quantized("residual_network", tmp_path)
    known = counterparts(made.lowered, made.reference)
    integer = [op.outputs[0] for op in made.lowered.ops if made.lowered.tensors[op.outputs[0]].dtype == DType.INT8]
    assert len(known) >= len(integer) - 3  # all but what layout and flattening move
    assert set(known.values()) <= set(made.scheme.stored)


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    assert quantized("branches", tmp_path)[1].data == quantized("branches", tmp_path)[1].data


def test_from_python_it_is_the_same(tmp_path: Path) -> None:
    graph, made = quantized("sequence", tmp_path)
    (name,) = graph.inputs
    stack = np.stack([x[name] for x in inputs(graph, 40)])
    np.savez(tmp_path / "samples.npz", stack)
    for samples in (stack, {name: stack}, str(tmp_path / "samples.npz")):
        path = tinycompile.quantize_model(tmp_path / "sequence.onnx", samples, tmp_path / "int8.onnx")
        assert path.read_bytes() == made.data
    with pytest.raises(UsageError, match="shape"):
        tinycompile.quantize_model(tmp_path / "sequence.onnx", stack[:, :, :2], tmp_path / "int8.onnx")
    with pytest.raises(UsageError, match="cannot write"):
        tinycompile.quantize_model(tmp_path / "sequence.onnx", stack, tmp_path / "none" / "int8.onnx")


def test_a_quantised_model_is_not_quantised_again(tmp_path: Path) -> None:
    _, made = quantized("sequence", tmp_path)
    path = tmp_path / "int8.onnx"
    path.write_bytes(made.data)
    with pytest.raises(UsageError, match="quantised already"):
        load_float_model(path)


def test_inputs_and_outputs_keep_their_names(tmp_path: Path) -> None:
    graph, made = quantized("branches", tmp_path)
    assert (made.lowered.inputs, made.lowered.outputs) == (graph.inputs, graph.outputs)
    (tmp_path / "int8.onnx").write_bytes(made.data)
    ports = import_model(tmp_path / "int8.onnx", ImportOptions(io="quantized"))
    assert ports.inputs == graph.inputs
    assert all(ports.tensors[n].dtype == DType.INT8 for n in (*ports.inputs, *ports.outputs))


@pytest.mark.parametrize("calibrator", CALIBRATORS)
def test_every_calibrator_quantises(calibrator: str, tmp_path: Path) -> None:
    graph, made = quantized("residual_network", tmp_path, calibrator=calibrator)
    result = measure(made.reference, made.lowered, inputs(graph, 4, seed=9), Watch())
    assert result.sqnr > 20


def histogram(values: np.ndarray, low: float, high: float) -> Histogram:
    return Histogram(low, high, np.histogram(values, 2048, (low, high))[0].astype(np.float64))


def test_calibrators_leave_outliers_out() -> None:
    values = np.append(np.random.default_rng(0).normal(0, 1, 200_000), [80.0])
    found = {name: calibrated(histogram(values, values.min(), 80.0), name).scale[0] for name in CALIBRATORS}
    assert found["minmax"] == pytest.approx((80 - values.min()) / 255, rel=1e-6)
    assert found["percentile"] < found["minmax"] / 5
    assert all(found[name] < found["minmax"] * 0.9 for name in ("mse", "entropy"))


def test_the_least_squared_error_is_no_larger_than_any_other() -> None:
    values = np.random.default_rng(1).standard_t(3, 50_000)
    h = histogram(values, float(values.min()), float(values.max()))

    def error(name: str) -> float:
        scale, zero_point = calibrated(h, name).scalar()
        return squared_error(h, scale * (-128 - zero_point), scale * (127 - zero_point))

    assert error("mse") <= min(error(name) for name in CALIBRATORS) * 1.001


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 3.0), (2.0, 3.0), (-5.0, -1.0), (0.0, 0.0), (0.0, 1e-42)])
def test_zero_is_exact_in_every_range(low: float, high: float) -> None:
    quant = quant_of_range(low, high)
    assert quant.scale[0] > 0
    assert -128 <= quant.zero_point[0] <= 127


def test_a_tensor_that_never_changes_is_quantised() -> None:
    for name in CALIBRATORS:
        assert calibrated(Histogram(2.0, 2.0, np.ones(2048)), name).scale[0] == pytest.approx(2 / 255, rel=1e-6)
        assert calibrated(Histogram(0.0, 0.0, np.ones(2048)), name).scale[0] == 1.0


def test_biases_too_large_for_their_weights_widen_the_scale(tmp_path: Path) -> None:
    m = ModelMaker([1, 2, 4, 4])
    w = np.array([[1e-9, 1e-9], [0.5, -0.5]], dtype=np.float32).reshape(2, 2, 1, 1)
    out = m.node("Conv", "x", m.const(w), m.const(np.array([3.0, 0.1], dtype=np.float32)))
    graph = load_float_model(save(m, tmp_path / "m.onnx", out))
    made = quantize_graph(graph, inputs(graph, 4), QuantizeOptions(), Watch())
    assert measure(made.reference, made.lowered, inputs(graph, 2), Watch()).sqnr > 30
