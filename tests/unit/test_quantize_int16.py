"""Post-training quantisation to int16 activations, all of them or some."""

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
from tinycompile.ops.evaluate import evaluate
from tinycompile.pipeline import ImportOptions, import_model, plan_model
from tinycompile.quantize.measure import measure
from tinycompile.quantize.quantizer import QuantizeOptions, load_float_model, quantize_graph
from tinycompile.quantize.scheme import make_scheme
from tinycompile.target import load_target
from tinycompile.watch import Watch


@pytest.mark.parametrize("name", NETWORKS)
def test_int16_is_nearer_to_the_floats(name: str, tmp_path: Path) -> None:
    """What is left is the noise of int8 weights."""
    graph, narrow = quantized(name, tmp_path)
    _, wide = quantized(name, tmp_path, wide=None)
    held_out = inputs(graph, 6, seed=9)
    coarse, fine = (measure(m.reference, m.lowered, held_out, Watch()) for m in (narrow, wide))
    assert fine.sqnr > coarse.sqnr
    assert all(layer.own > 60 for layer in fine.layers if layer.tensor in graph.inputs)  # extremes may be cut
    assert {wide.scheme.dtype(n) for n in wide.scheme.stored} == {DType.INT16}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_is_what_is_built_and_onnxruntime_agrees(name: str, tmp_path: Path) -> None:
    graph, made = quantized(name, tmp_path, wide=None)
    path = tmp_path / "int16.onnx"
    path.write_bytes(made.data)
    onnx.checker.check_model(path, full_check=True)
    plan = plan_model(path, load_target("host"))
    for x in inputs(graph, 3, seed=11):
        want = evaluate(made.lowered, dict(zip(made.lowered.inputs, x.values(), strict=True)))[made.lowered.outputs[0]]
        (got,) = run_plan(plan, list(x.values()))
        np.testing.assert_array_equal(got.reshape(want.shape), want)
        (other,) = runtime(path, x)
        assert np.abs(other - want).max() <= 2e-3 * np.abs(want).max()


def test_softmax_stays_float(tmp_path: Path) -> None:
    """LiteRT's int16 kernel is too far from the function."""
    _, made = quantized("residual_network", tmp_path, wide=None)
    assert list(made.scheme.kept_float.values()) == ["softmax has no int16 kernel"]


def test_edges_without_floats_are_int16(tmp_path: Path) -> None:
    graph, made = quantized("sequence", tmp_path, wide=None)
    (tmp_path / "int16.onnx").write_bytes(made.data)
    ports = import_model(tmp_path / "int16.onnx", ImportOptions(io="quantized"))
    assert {ports.tensors[n].dtype for n in (*ports.inputs, *ports.outputs)} == {DType.INT16}
    assert not any(t.dtype == DType.FLOAT32 for t in ports.tensors.values())
    assert ports.inputs == graph.inputs


def test_some_tensors_of_int16(tmp_path: Path) -> None:
    """Every scale of a network by itself: the others stay int8, and the network can be built."""
    graph, narrow = quantized("branches", tmp_path)
    before = measure(narrow.reference, narrow.lowered, inputs(graph, 4, seed=9), Watch(), layers=False).sqnr
    for root, group in narrow.scheme.groups().items():
        made = quantize_graph(graph, inputs(graph, 20), QuantizeOptions(wide=frozenset(group)), Watch())
        types = {name: made.scheme.dtype(name) for name in made.scheme.stored}
        assert {n for n, t in types.items() if t == DType.INT16} == set(group), root
        assert measure(made.reference, made.lowered, inputs(graph, 4, seed=9), Watch(), layers=False).sqnr > before - 3


def test_operators_without_an_int16_kernel_stay_float(tmp_path: Path) -> None:
    """hard_swish computes in int8 unless what it reads or makes is int16."""
    m = ModelMaker([1, 2, 6, 6])
    y = m.node("HardSwish", m.node("Conv", "x", m.weight(4, 2, 3, 3), m.weight(4)))
    graph = load_float_model(save(m, tmp_path / "m.onnx", m.node("Conv", y, m.weight(3, 4, 1, 1), m.weight(3))))
    assert make_scheme(graph).kept_float == {}
    (swish,) = (op for op in graph.ops if op.kind == "hard_swish")
    scheme = make_scheme(graph, wide=None)
    assert "only int8" in scheme.kept_float[swish.outputs[0]]
    made = quantize_graph(graph, inputs(graph, 10), QuantizeOptions(wide=None), Watch())
    assert measure(made.reference, made.lowered, inputs(graph, 4, seed=3), Watch()).sqnr > 35


def test_from_python_it_is_the_same(tmp_path: Path) -> None:
    graph, made = quantized("sequence", tmp_path, wide=None)
    stack = np.stack([next(iter(x.values())) for x in inputs(graph, 40)])
    path = tinycompile.quantize_model(tmp_path / "sequence.onnx", stack, tmp_path / "int16.onnx", activations="int16")
    assert path.read_bytes() == made.data
    with pytest.raises(UsageError, match="int4"):
        tinycompile.quantize_model(tmp_path / "sequence.onnx", stack, path, activations="int4")


def test_scales_are_symmetric_and_hold_all_values(tmp_path: Path) -> None:
    _, made = quantized("residual_network", tmp_path, wide=None)
    stored = [t for t in made.lowered.tensors.values() if t.dtype == DType.INT16]
    assert all(t.quant is not None and not any(t.quant.zero_point) for t in stored)
