"""Operators with variable tensors, called again and again: LiteRT keeps them itself, and gives the same outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recurrent_models import HIDDEN, INPUTS, KEEPING, lstm, rnn, svdf
from tflite_models import ModelMaker, calls, random_value, saved

from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_samples
from tinycompile.errors import MalformedModelError, ModelError, ShapeError, UnsupportedError
from tinycompile.frontends import load_model
from tinycompile.ir.graph import Array
from tinycompile.ir.interface import InputMode
from tinycompile.ops.single_rounding import multiply_nearest
from tinycompile.pipeline import Build, ImportOptions, build_model
from tinycompile.planning.goal import Goal
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target
from tinycompile.verify.layers import verify_layers
from tinycompile.verify.litert import LiteRt


def built(path: Path) -> Build:
    return build_model(path, load_target("host"), Budgets(2**62, 2**62), ImportOptions())


def written(build: Build, folder: Path) -> None:
    folder.mkdir()
    for name, text in build.files.items():
        (folder / name).write_text(text, encoding="utf-8")


def in_c(build: Build, folder: Path, samples: list[Array]) -> list[Array]:
    written(build, folder)
    return list(run_host(folder, build.plan.interface, samples).outputs)


def samples_of(build: Build, count: int, seed: int = 1) -> list[Array]:
    rng = np.random.default_rng(seed)
    ports = build.plan.interface.inputs
    return [random_value(rng, (count, *p.shape), p.dtype.numpy) for p in ports]


def assert_same_calls(path: Path, folder: Path, count: int = 6) -> Build:
    """The interpreter, C on the host and LiteRT agree call by call, and a call depends on those before it."""
    build = built(path)
    samples = samples_of(build, count)
    want = calls(path, samples[0])
    for ours, c, litert in zip(run_samples(build.plan, samples), in_c(build, folder, samples), want, strict=True):
        assert ours.tobytes() == litert.tobytes()
        assert c.tobytes() == litert.tobytes()
    alone = np.stack([calls(path, samples[0][k : k + 1])[0][0] for k in range(count)])
    assert not np.array_equal(want[0][1:], alone[1:])
    verified = verify_layers(build.plan, LiteRt(path), samples, 0.0, exact_floats=True)
    assert verified.first_difference is None
    assert verified.outputs
    return build


def assert_near_calls(path: Path, folder: Path, count: int = 6) -> None:
    """As `assert_same_calls`, of floats: LiteRT adds in another order."""
    build = built(path)
    samples = [np.random.default_rng(2).normal(0, 1, (count, *build.plan.interface.inputs[0].shape)).astype(np.float32)]
    (want,) = calls(path, samples[0])
    near = {"rtol": 1e-5, "atol": 2e-6 * max(1.0, float(np.abs(want).max()))}
    for got in (*run_samples(build.plan, samples), *in_c(build, folder, samples)):
        np.testing.assert_allclose(got, want, **near)
    alone = np.concatenate([calls(path, samples[0][k : k + 1])[0] for k in range(count)])
    assert not np.allclose(alone[1:], want[1:], **near)


INTEGER: dict[str, dict[str, Any]] = {
    "plain": {},
    "time_major": {"time_major": True},
    "batch": {"batch": 3},
    "batch_time_major": {"batch": 2, "time_major": True},
    "coupled": {"coupled": True},
    "clipped": {"cell_clip": 0.6},
    "fine_cells": {"cell_exponent": -15, "gain": 0.2},
    "coarse_cells": {"cell_exponent": -9, "gain": 2.0},
    "saturated": {"gain": 30.0, "hidden_zero_point": -101},
}


@pytest.mark.parametrize("name", INTEGER)
def test_integer_lstm_is_bit_exact(name: str, tmp_path: Path) -> None:
    m = ModelMaker(len(name))
    build = assert_same_calls(saved(tmp_path / "m.tflite", m.build(lstm(m, True, **INTEGER[name]))), tmp_path / "out")
    batch = INTEGER[name].get("batch", 1)
    assert build.plan.interface.state_bytes == batch * HIDDEN * 3


MUTANTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "truncated_products": ("rounding_divide_by_pot", lambda x, exponent: x >> exponent),
    "other_requantisation": ("multiply_by_quantized_multiplier", multiply_nearest),
    "float_gates": ("logistic16", lambda x: np.rint(32768 / (1 + np.exp(-x / 4096))).astype(np.int64)),
    "wrapped": ("_saturated", lambda x: x.astype(np.int16).astype(np.int64)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_control_other_arithmetic_is_noticed(mutant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = ModelMaker(3)
    path = saved(tmp_path / "m.tflite", m.build(lstm(m, True, gain=3.0)))
    build = built(path)
    samples = samples_of(build, 6)
    (want,) = calls(path, samples[0])
    assert np.array_equal(run_samples(build.plan, samples)[0], want)
    name, function = MUTANTS[mutant]
    monkeypatch.setattr(f"tinycompile.ops.integer_lstm.{name}", function)
    assert not np.array_equal(run_samples(build.plan, samples)[0], want)


FLOAT: dict[str, dict[str, Any]] = {
    "plain": {},
    "time_major": {"time_major": True},
    "batch": {"batch": 3},
    "coupled": {"coupled": True},
    "clipped": {"cell_clip": 0.3},
    "relu": {"activation": 1, "gain": 0.2},
    "peepholes": {"peepholes": True},
    "coupled_peepholes": {"peepholes": True, "coupled": True, "batch": 2, "time_major": True},
}


@pytest.mark.parametrize("name", FLOAT)
def test_float_lstm(name: str, tmp_path: Path) -> None:
    m = ModelMaker(len(name))
    assert_near_calls(saved(tmp_path / "m.tflite", m.build(lstm(m, False, **FLOAT[name]))), tmp_path / "out")


def quant(m: ModelMaker, position: int) -> Any:
    return m.graph.tensors[m.graph.operators[-1].inputs[position]].quantization


def replaced(position: int, shape: tuple[int, ...], dtype: str) -> Callable[[ModelMaker], None]:
    def change(m: ModelMaker) -> None:
        m.graph.operators[-1].inputs[position] = m.tensor(shape, 0.1, 0, dtype, np.ones(shape))

    return change


def given_state(m: ModelMaker) -> None:
    state = m.graph.operators[-1].inputs[18]
    m.graph.tensors[state].isVariable = False
    m.graph.inputs.append(state)


def without_intermediates(m: ModelMaker) -> None:
    for index in m.graph.operators[-1].intermediates:
        m.graph.tensors[index].shape = [1]
    m.graph.operators[-1].intermediates = []


RNN: dict[str, dict[str, Any]] = {
    "plain": {},
    "time_major": {"time_major": True},
    "batch": {"batch": 3, "activation": 1},
}


@pytest.mark.parametrize("name", RNN)
def test_float_rnn(name: str, tmp_path: Path) -> None:
    m = ModelMaker(len(name))
    assert_near_calls(saved(tmp_path / "m.tflite", m.build(rnn(m, **RNN[name]))), tmp_path / "out")


@pytest.mark.parametrize(("position", "source"), [(1, 2), (2, 1), (3, 1), (4, 0), (0, 3)])
def test_an_rnn_that_does_not_fit(position: int, source: int, tmp_path: Path) -> None:
    m = ModelMaker(5)
    out = rnn(m)
    move_input(m, position, source)
    with pytest.raises(ModelError):
        load_model(saved(tmp_path / "m.tflite", m.build(out)))


REFUSED: dict[str, tuple[Callable[[ModelMaker], None], str]] = {
    "projection": (replaced(16, (HIDDEN, HIDDEN), "INT8"), "projection"),
    "layer_norm": (replaced(21, (HIDDEN,), "INT16"), "normalisation"),
    "peepholes": (replaced(10, (HIDDEN,), "INT16"), "peepholes"),
    "no_variable": (given_state, "no variable"),
    "no_intermediates": (without_intermediates, "intermediate"),
    "cells": (lambda m: setattr(quant(m, 19), "scale", [0.001]), "cells of scale"),
    "state_scale": (lambda m: setattr(quant(m, 18), "scale", [0.001]), "another scale"),
    "weights_zero_point": (lambda m: setattr(quant(m, 2), "zeroPoint", [4]), "zero point"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    m = ModelMaker(5)
    out = lstm(m, True)
    change, message = REFUSED[name]
    change(m)
    with pytest.raises(UnsupportedError, match=message):
        load_model(saved(tmp_path / "m.tflite", m.build(out)))


BROKEN: dict[str, tuple[int, int, type[Exception]]] = {
    "missing_weights": (3, -1, MalformedModelError),
    "input_gate_alone": (1, -1, MalformedModelError),
    "weights_of_another_shape": (6, 2, ShapeError),
    "bias_as_weights": (2, 12, ModelError),
    "state_as_weights": (7, 19, ModelError),
    "input_as_state": (19, 0, ModelError),
}


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize("name", BROKEN)
def test_inputs_that_do_not_fit(name: str, integer: bool, tmp_path: Path) -> None:
    m = ModelMaker(5)
    out = lstm(m, integer)
    position, source, error = BROKEN[name]
    inputs = m.graph.operators[-1].inputs
    inputs[position] = inputs[source] if source >= 0 else -1
    with pytest.raises(error):
        load_model(saved(tmp_path / "m.tflite", m.build(out)))


@pytest.mark.parametrize("integer", [False, True])
def test_a_variable_tensor_of_several(integer: bool, tmp_path: Path) -> None:
    """Its use by two operators, or as an input or an output of the graph, is refused."""
    for use in ("operator", "input", "output"):
        m = ModelMaker(6)
        outputs = [svdf(m, integer)]
        state = m.graph.operators[-1].inputs[4]
        if use == "operator":
            outputs.append(svdf(m, integer))
            m.graph.operators[-1].inputs[4] = state
        elif use == "input":
            m.graph.inputs.append(state)
        else:
            outputs.append(state)
        with pytest.raises(UnsupportedError, match="something else uses"):
            load_model(saved(tmp_path / "m.tflite", m.build(*outputs)))


SVDF: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank_1": {"rank": 1, "memory": 6},
    "batch": {"batch": 3, "rank": 3},
    "no_bias": {"bias": False},
    "saturated": {"gain": 300.0},
}


@pytest.mark.parametrize("name", SVDF)
def test_integer_svdf_is_bit_exact(name: str, tmp_path: Path) -> None:
    m = ModelMaker(len(name))
    assert_same_calls(saved(tmp_path / "m.tflite", m.build(svdf(m, True, **SVDF[name]))), tmp_path / "out", 9)


@pytest.mark.parametrize("name", [*SVDF, "no_activation"])
def test_float_svdf(name: str, tmp_path: Path) -> None:
    m = ModelMaker(len(name))
    model = m.build(svdf(m, False, **SVDF.get(name, {"activation": 0})))
    assert_near_calls(saved(tmp_path / "m.tflite", model), tmp_path / "out", 9)


SVDF_BROKEN: dict[str, tuple[Callable[[ModelMaker], None], type[Exception]]] = {
    "activation": (
        lambda m: setattr(m.graph.operators[-1].builtinOptions, "fusedActivationFunction", 0),
        UnsupportedError,
    ),
    "rank": (lambda m: setattr(m.graph.operators[-1].builtinOptions, "rank", 3), ShapeError),
    "no_rank": (lambda m: setattr(m.graph.operators[-1].builtinOptions, "rank", 0), ShapeError),
    "negative_rank": (lambda m: setattr(m.graph.operators[-1].builtinOptions, "rank", -2), ShapeError),
    "weights_as_time": (lambda m: move_input(m, 2, 1), ShapeError),
    "bias_as_weights": (lambda m: move_input(m, 1, 3), ShapeError),
    "weights_as_bias": (lambda m: move_input(m, 3, 1), ShapeError),
    "input_as_state": (lambda m: move_input(m, 4, 0), UnsupportedError),
    "missing": (lambda m: setattr(m.graph.operators[-1], "inputs", [0]), ModelError),
    "time_zero_point": (lambda m: setattr(quant(m, 2), "zeroPoint", [4]), UnsupportedError),
}


def move_input(m: ModelMaker, position: int, source: int) -> None:
    m.graph.operators[-1].inputs[position] = m.graph.operators[-1].inputs[source]


@pytest.mark.parametrize("name", SVDF_BROKEN)
def test_an_svdf_that_does_not_fit(name: str, tmp_path: Path) -> None:
    m = ModelMaker(5)
    out = svdf(m, True)
    change, error = SVDF_BROKEN[name]
    change(m)
    with pytest.raises(error):
        load_model(saved(tmp_path / "m.tflite", m.build(out)))


def test_an_svdf_that_remembers_one_feature(tmp_path: Path) -> None:
    for integer in (False, True):
        m = ModelMaker(7)
        path = saved(tmp_path / "m.tflite", m.build(svdf(m, integer, memory=1)))
        build = built(path)
        x = random_value(np.random.default_rng(1), (4, 1, INPUTS), build.plan.interface.inputs[0].dtype.numpy)
        np.testing.assert_allclose(run_samples(build.plan, [x])[0], calls(path, x)[0], rtol=1e-5, atol=1e-5)


SVDF_MUTANTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "memory_not_moved": ("svdf_memory.np.roll", lambda x, shift, axis: x.copy()),
    "other_requantisation": ("svdf_memory.multiply_by_quantized_multiplier", multiply_nearest),
    "other_output": ("svdf_time.multiply_by_quantized_multiplier", lambda x, m, s: (x * m) >> (31 - s)),
}


@pytest.mark.parametrize("mutant", SVDF_MUTANTS)
def test_control_another_svdf_is_noticed(mutant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = ModelMaker(3)
    path = saved(tmp_path / "m.tflite", m.build(svdf(m, True)))
    build = built(path)
    samples = samples_of(build, 20)
    (want,) = calls(path, samples[0])
    assert np.array_equal(run_samples(build.plan, samples)[0], want)
    name, function = SVDF_MUTANTS[mutant]
    monkeypatch.setattr(f"tinycompile.ops.{name}", function)
    assert not np.array_equal(run_samples(build.plan, samples)[0], want)


@pytest.mark.parametrize("name", ["wake_word", "lstm"])
def test_a_network_called_again_and_again(name: str, tmp_path: Path) -> None:
    """On the host and on an emulated Cortex-M4, whole buffers and rows: LiteRT's outputs, call by call."""
    from tinycompile.emulate.target import run_target

    m = ModelMaker(8)
    path = saved(tmp_path / "m.tflite", m.build(KEEPING[name](m)))
    assert_same_calls(path, tmp_path / "host", 12)
    target = load_target("cortex-m4")
    goals = (Goal(InputMode.EXTERNAL), Goal(minimize_sram=True))
    for k, goal in enumerate(goals):
        build = build_model(path, target, Budgets(2**62, 2**62), ImportOptions(), goal=goal)
        folder = tmp_path / f"m4_{k}"
        written(build, folder)
        samples = samples_of(build, 12)
        (got,) = run_target(folder, build.plan.interface, target, samples).outputs
        assert got.tobytes() == calls(path, samples[0])[0].tobytes()
