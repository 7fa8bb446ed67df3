"""TFLite's resource variables as states: LiteRT keeps them itself, and gives the same outputs call after call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_models import ModelMaker, calls, saved

from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_samples
from tinycompile.errors import MalformedModelError, UnsupportedError
from tinycompile.frontends import load_model
from tinycompile.ir.graph import Array
from tinycompile.ir.interface import InputMode
from tinycompile.pipeline import ImportOptions, build_model
from tinycompile.planning.goal import Goal
from tinycompile.quantize.quantizer import load_float_model
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target
from tinycompile.verify.layers import verify_layers
from tinycompile.verify.litert import LiteRt

SHAPE = (1, 4)


class StatefulMaker(ModelMaker):
    """A model with variables; `initial` goes into the subgraph that runs once."""

    def __init__(self) -> None:
        super().__init__()
        self.main = self.graph
        self.once = self.schema.SubGraphT()
        self.once.tensors, self.once.operators, self.once.inputs, self.once.outputs = [], [], [], []
        self.model.subgraphs.append(self.once)
        self.call(1)

    def call(self, subgraph: int) -> None:
        self.op("CALL_ONCE", [], 0, "CallOnceOptions", initSubgraphIndex=subgraph)
        self.graph.operators[-1].outputs = []

    def handle(self, name: str) -> int:
        out = self.tensor((), None, dtype="RESOURCE")
        return self.op("VAR_HANDLE", [], out, "VarHandleOptions", container="", sharedName=name)

    def assign(self, handle: int, value: int) -> None:
        self.op("ASSIGN_VARIABLE", [handle, value], 0, "AssignVariableOptions")
        self.graph.operators[-1].outputs = []

    def read(self, handle: int, dtype: str = "FLOAT32", scale: float | None = None) -> int:
        return self.op("READ_VARIABLE", [handle], self.tensor(SHAPE, scale, 3, dtype), "ReadVariableOptions")

    def initial(self, name: str, value: Array, dtype: str = "FLOAT32", scale: float | None = None) -> None:
        self.graph = self.once
        self.assign(self.handle(name), self.tensor(SHAPE, scale, 3, dtype, value))
        self.graph = self.main


def running_sum(begin: float = 1.5, initialised: bool = True) -> bytes:
    """``sum += x`` and ``last = x``; the outputs: the sum, read anew, and what is left of the last input."""
    m = StatefulMaker()
    if initialised:
        m.initial("sum", np.full(SHAPE, begin, np.float32))
        m.initial("last", np.full(SHAPE, -2.0, np.float32))
        m.initial("half", np.full(SHAPE, 0.5, np.float32))
    x = m.input(SHAPE, None, dtype="FLOAT32")
    total, last, half = m.handle("sum"), m.handle("last"), m.handle("half")
    made = m.op("ADD", [m.read(total), x], m.tensor(SHAPE, None, dtype="FLOAT32"), "AddOptions")
    m.assign(total, made)
    before = m.read(last)
    m.assign(last, m.op("RELU", [x], m.tensor(SHAPE, None, dtype="FLOAT32")))
    scaled = m.op("MUL", [before, m.read(half)], m.tensor(SHAPE, None, dtype="FLOAT32"), "MulOptions")
    return m.build(made, m.op("ADD", [m.read(total), scaled], m.tensor(SHAPE, None, dtype="FLOAT32"), "AddOptions"))


SAMPLES: Array = np.random.default_rng(1).normal(size=(5, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("mode", [InputMode.RESIDENT, InputMode.EXTERNAL])
def test_variables_are_kept_as_litert_keeps_them(mode: InputMode, tmp_path: Path) -> None:
    path = saved(tmp_path / "sum.tflite", running_sum())
    build = build_model(path, load_target("host"), Budgets(2**62, 2**62), ImportOptions(), goal=Goal(mode))
    assert [p.c_name for p in build.plan.interface.inputs] == ["input"]
    assert [p.c_name for p in build.plan.interface.outputs] == ["output_0", "output_1"]
    assert build.plan.interface.state_bytes == 2 * 16
    out = tmp_path / "out"
    out.mkdir()
    for name, text in build.files.items():
        (out / name).write_text(text, encoding="utf-8")
    in_c = run_host(out, build.plan.interface, [SAMPLES]).outputs
    want = calls(path, SAMPLES)
    for ours, c, litert in zip(run_samples(build.plan, [SAMPLES]), in_c, want, strict=True):
        assert ours.tobytes() == litert.tobytes() == c.tobytes()
    assert not np.array_equal(want[0][1:], np.stack([calls(path, SAMPLES[k : k + 1])[0][0] for k in range(1, 5)]))
    verified = verify_layers(build.plan, LiteRt(path), [SAMPLES], 0.0, exact_floats=True)
    assert verified.first_difference is None
    assert len(verified.outputs) >= 2


def test_an_int8_variable_begins_as_the_file_says(tmp_path: Path) -> None:
    m = StatefulMaker()
    m.initial("v", np.array([[3, -8, 100, 0]]), "INT8", 0.05)
    x = m.input(SHAPE)
    handle = m.handle("v")
    made = m.op("ADD", [m.read(handle, "INT8", 0.05), x], m.tensor(SHAPE), "AddOptions")
    m.assign(handle, made)
    path = saved(tmp_path / "v.tflite", m.build(made))
    samples = np.random.default_rng(2).integers(-50, 50, (6, *SHAPE)).astype(np.int8)
    build = build_model(path, load_target("host"), Budgets(2**62, 2**62), ImportOptions())
    (ours,) = run_samples(build.plan, [samples])
    (want,) = calls(path, samples)
    assert ours.tobytes() == want.tobytes()


def test_a_state_that_is_an_output_too(tmp_path: Path) -> None:
    """Under the name that it has behind a reshape that vanishes."""
    m = StatefulMaker()
    m.initial("v", np.full(SHAPE, 2.0, np.float32))
    x = m.input(SHAPE, None, dtype="FLOAT32")
    handle = m.handle("v")
    made = m.op("ADD", [m.read(handle), x], m.tensor(SHAPE, None, dtype="FLOAT32"), "AddOptions")
    same = m.op("RESHAPE", [made], m.tensor(SHAPE, None, dtype="FLOAT32"), "ReshapeOptions", newShape=SHAPE)
    m.assign(handle, same)
    path = saved(tmp_path / "v.tflite", m.build(same))
    build = build_model(path, load_target("host"), Budgets(2**62, 2**62), ImportOptions())
    assert run_samples(build.plan, [SAMPLES])[0].tobytes() == calls(path, SAMPLES)[0].tobytes()


def test_a_variable_that_begins_with_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="'sum' before anything is assigned"):
        load_model(saved(tmp_path / "m.tflite", running_sum(initialised=False)))


def test_variables_are_not_quantised(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="keeps variables"):
        load_float_model(saved(tmp_path / "m.tflite", running_sum()))


@pytest.mark.parametrize("subgraph", [0, 2, -1, 2**31 - 1])
def test_a_subgraph_that_is_not_there(subgraph: int, tmp_path: Path) -> None:
    m = StatefulMaker()
    m.call(subgraph)
    x = m.input(SHAPE, None, dtype="FLOAT32")
    with pytest.raises(MalformedModelError, match="CALL_ONCE"):
        load_model(saved(tmp_path / "m.tflite", m.build(m.op("RELU", [x], m.tensor(SHAPE, None, dtype="FLOAT32")))))


def test_an_assignment_of_nothing(tmp_path: Path) -> None:
    m = StatefulMaker()
    x = m.input(SHAPE, None, dtype="FLOAT32")
    m.assign(x, x)
    with pytest.raises(MalformedModelError, match="ASSIGN_VARIABLE"):
        load_model(saved(tmp_path / "m.tflite", m.build(m.op("RELU", [x], m.tensor(SHAPE, None, dtype="FLOAT32")))))
