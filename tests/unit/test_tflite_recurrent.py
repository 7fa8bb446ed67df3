"""Operators with variable tensors, called again and again: LiteRT keeps them itself, and gives the same outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_models import ModelMaker, calls, random_value, saved

from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_samples
from tinycompile.errors import MalformedModelError, ModelError, ShapeError, UnsupportedError
from tinycompile.frontends import load_model
from tinycompile.ir.graph import Array
from tinycompile.ops.single_rounding import multiply_nearest
from tinycompile.pipeline import Build, ImportOptions, build_model
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target
from tinycompile.verify.layers import verify_layers
from tinycompile.verify.litert import LiteRt

STEPS, INPUTS, HIDDEN = 4, 5, 6
TANH = 4


def lstm(
    m: ModelMaker,
    integer: bool,
    batch: int = 1,
    time_major: bool = False,
    coupled: bool = False,
    peepholes: bool = False,
    cell_clip: float = 0.0,
    cell_exponent: int = -11,
    gain: float = 0.5,
    hidden_zero_point: int = 3,
    activation: int = TANH,
) -> int:
    """The output of one LSTM over [batch,STEPS,INPUTS], or [STEPS,batch,INPUTS]."""
    shape = (STEPS, batch) if time_major else (batch, STEPS)
    float_or = {True: "INT8", False: "FLOAT32"}[integer]

    def constant(size: tuple[int, ...], bias: bool = False) -> int:
        if not integer:
            return m.tensor(size, None, dtype="FLOAT32", data=m.rng.normal(0, gain, size))
        if bias:
            return m.tensor(size, None, dtype="INT32", data=m.rng.integers(-3000, 3000, size))
        scale = float(m.rng.uniform(0.5, 1.5) * gain * 0.02)
        return m.tensor(size, scale, 0, data=m.rng.integers(-127, 128, size))

    x = m.input((*shape, INPUTS), 0.04 if integer else None, -4, float_or)
    w, r = ([constant((HIDDEN, k)) for _ in range(4)] for k in (INPUTS, HIDDEN))
    peep = [constant((HIDDEN,)) for _ in range(3)] if peepholes else [-1] * 3
    bias = [constant((HIDDEN,), True) for _ in range(4)]
    if coupled:
        w[0] = r[0] = bias[0] = peep[0] = -1
    states = [
        m.variable((batch, HIDDEN), 0.006 if integer else None, hidden_zero_point, float_or),
        m.variable((batch, HIDDEN), 2.0**cell_exponent if integer else None, 0, "INT16" if integer else "FLOAT32"),
    ]
    out = m.tensor((*shape, HIDDEN), 0.006 if integer else None, hidden_zero_point, float_or)
    inputs = [x, *w, *r, *peep, *bias, -1, -1, *states, -1, -1, -1, -1]
    options = {"fusedActivationFunction": activation, "timeMajor": time_major, "cellClip": cell_clip}
    m.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, out, "UnidirectionalSequenceLSTMOptions", **options)
    if integer:
        m.graph.operators[-1].intermediates = [m.tensor((0,), 2.0**-12, 0, "INT16") for _ in range(4)]
        m.graph.operators[-1].intermediates += [m.tensor((0,), 0.006, hidden_zero_point)]
    return out


def built(path: Path) -> Build:
    return build_model(path, load_target("host"), Budgets(2**62, 2**62), ImportOptions())


def in_c(build: Build, folder: Path, samples: list[Array]) -> list[Array]:
    folder.mkdir()
    for name, text in build.files.items():
        (folder / name).write_text(text, encoding="utf-8")
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
    "float_gates": ("logistic", lambda x: np.rint(32768 / (1 + np.exp(-x / 4096))).astype(np.int64)),
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
    path = saved(tmp_path / "m.tflite", m.build(lstm(m, False, **FLOAT[name])))
    build = built(path)
    samples = [np.random.default_rng(2).normal(0, 1, (6, *build.plan.interface.inputs[0].shape)).astype(np.float32)]
    (want,) = calls(path, samples[0])
    for got in (*run_samples(build.plan, samples), *in_c(build, tmp_path / "out", samples)):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)
    alone = np.concatenate([calls(path, samples[0][k : k + 1])[0] for k in range(6)])
    assert np.abs(alone - want)[1:].max() > 0.01


def test_one_variable_of_two_operators(tmp_path: Path) -> None:
    """The second reads what the first left in it; a cut of the state before either reads the call before."""
    m = ModelMaker(4)
    lstm(m, True)
    first = m.graph.operators[-1]
    out = m.tensor((1, STEPS, HIDDEN), 0.006, 3)
    inputs = list(first.inputs)
    m.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, out, "UnidirectionalSequenceLSTMOptions", fusedActivationFunction=TANH)
    m.graph.operators[-1].intermediates = first.intermediates
    before = m.tensor((1, HIDDEN), 0.01)
    relu = m.op("QUANTIZE", [inputs[18]], before)
    m.graph.operators = [m.graph.operators[2], *m.graph.operators[:2]]
    build = assert_same_calls(saved(tmp_path / "m.tflite", m.build(first.outputs[0], out, relu)), tmp_path / "out")
    assert build.plan.interface.state_bytes == HIDDEN * 3


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


def test_a_variable_tensor_that_is_an_input_of_the_graph(tmp_path: Path) -> None:
    m = ModelMaker(6)
    out = lstm(m, True)
    m.graph.inputs.append(m.graph.operators[-1].inputs[18])
    with pytest.raises(MalformedModelError, match="variables of the model"):
        load_model(saved(tmp_path / "m.tflite", m.build(out)))
