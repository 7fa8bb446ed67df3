"""States between inferences: which pairs there may be, what they begin with, and that interpreter, C on the host and C
on an emulated core carry them as the reference does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_samples
from tinycompile.errors import QuantError, UsageError
from tinycompile.ir.graph import Array, State
from tinycompile.ir.interface import InputMode, Interface
from tinycompile.ir.states import initial_value, with_states
from tinycompile.pipeline import Build, ImportOptions, build_model, import_model
from tinycompile.planning.goal import Goal
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target

STATES = {"h_in": "h_out", "line_in": "line_out"}
UNLIMITED = Budgets(2**62, 2**62)


def cell(path: Path, scale: float = 0.9) -> Path:
    """``h' = tanh(x W + scale h U)``, and a delay line of four inputs whose sum is added: both are kept."""
    rng = np.random.default_rng(3)
    arrays = {
        "w": rng.normal(size=(6, 5)).astype(np.float32),
        "u": (scale * rng.normal(size=(5, 5))).astype(np.float32),
        "from": np.array([1], np.int64),
        "to": np.array([4], np.int64),
        "axis": np.array([0], np.int64),
        "line_shape": np.array([1, 5], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"]),
        helper.make_node("MatMul", ["h_in", "u"], ["hu"]),
        helper.make_node("Add", ["xw", "hu"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["h_out"]),
        helper.make_node("Slice", ["line_in", "from", "to", "axis"], ["kept"]),
        helper.make_node("Concat", ["kept", "h_out"], ["line_out"], axis=0),
        helper.make_node("ReduceSum", ["line_out", "axis"], ["y"], keepdims=1),
    ]

    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "cell",
        [value("h_in", 1, 5), value("x", 1, 6), value("line_in", 4, 5)],
        [value("line_out", 4, 5), value("y", 1, 5), value("h_out", 1, 5)],
        [numpy_helper.from_array(a, n) for n, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cell(tmp_path_factory.mktemp("cell") / "cell.onnx")


def built(model: Path, mode: InputMode, minimize: bool = False, target: str = "host") -> Build:
    goal = Goal(mode, minimize_sram=minimize)
    return build_model(model, load_target(target), UNLIMITED, ImportOptions(states=STATES), goal=goal)


def written(build: Build, folder: Path) -> Path:
    folder.mkdir()
    for name, text in build.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def reference(model: Path, samples: Array) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    h, line, outputs = np.zeros((1, 5), np.float32), np.zeros((4, 5), np.float32), []
    for x in samples:
        line, y, h = session.run(["line_out", "y", "h_out"], {"x": x, "h_in": h, "line_in": line})
        outputs.append(y)
    return np.stack(outputs)


SAMPLES: Array = np.random.default_rng(5).normal(size=(7, 1, 6)).astype(np.float32)


@pytest.mark.parametrize("mode", [InputMode.RESIDENT, InputMode.EXTERNAL])
@pytest.mark.parametrize("minimize", [False, True])
def test_what_is_kept_reaches_the_next_inference(model: Path, mode: InputMode, minimize: bool, tmp_path: Path) -> None:
    build = built(model, mode, minimize)
    want = reference(model, SAMPLES)
    (ours,) = run_samples(build.plan, [SAMPLES])
    (in_c,) = run_host(written(build, tmp_path / "out"), build.plan.interface, [SAMPLES]).outputs
    np.testing.assert_allclose(ours, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(in_c, want, rtol=1e-5, atol=1e-6)
    alone = np.concatenate([reference(model, SAMPLES[k : k + 1]) for k in range(len(SAMPLES))])
    assert np.abs(alone - want)[1:].max() > 0.1  # the control: without a state the outputs are others


def test_the_emulated_core_keeps_them_too(model: Path, tmp_path: Path) -> None:
    from tinycompile.emulate.target import run_target

    build = built(model, InputMode.EXTERNAL, target="cortex-m7")
    (result,) = run_target(
        written(build, tmp_path / "out"), build.plan.interface, load_target("cortex-m7"), [SAMPLES]
    ).outputs
    np.testing.assert_allclose(result, reference(model, SAMPLES), rtol=1e-5, atol=1e-6)


def test_a_reset_that_does_nothing_is_noticed(model: Path, tmp_path: Path) -> None:
    build = built(model, InputMode.EXTERNAL)
    folder = written(build, tmp_path / "out")
    source = folder / "cell.c"
    text = source.read_text()
    assert text.count("    memset(state->") == 2
    source.write_text(text.replace("    memset(state->", "    if (0) memset(state->"))
    from tinycompile.errors import CheckFailed

    with pytest.raises(CheckFailed, match="depends on what"):
        run_host(folder, build.plan.interface, [SAMPLES])


def test_they_are_counted_beside_the_arena(model: Path) -> None:
    build = built(model, InputMode.EXTERNAL)
    interface = build.plan.interface
    assert interface.state_bytes == 4 * (5 + 20)
    assert [p.name for p in interface.inputs] == ["x"]
    assert [p.name for p in interface.outputs] == ["y"]
    fit = build.report.fits[0]
    assert fit.needs.value == build.plan.arena_bytes + 100 + build.report.stack.value
    assert Interface.from_json(interface.to_json()) == interface
    assert "kept between inferences" in build.report.files()["report.html"]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"g": "h_out"}, "no input 'g'"),
        ({"h_in": "g"}, "no output 'g'"),
        ({"h_in": "line_out"}, "cannot be"),
        ({"h_in": "h_out", "line_in": "h_out"}, "another state"),
    ],
)
def test_pairs_that_are_none(model: Path, pairs: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_states(import_model(model, ImportOptions()), pairs)


def test_rows_cannot_be_pushed(model: Path) -> None:
    with pytest.raises(UsageError, match="whole"):
        built(model, InputMode.STREAMED)


def test_initial_values_follow_the_type_of_the_port(model: Path) -> None:
    from dataclasses import replace

    from tinycompile.ir.quant import Quant
    from tinycompile.ir.types import DType

    port = import_model(model, ImportOptions()).tensors["h_in"]
    small = replace(port, dtype=DType.INT8, quant=Quant((0.5,), (-3,)))
    assert initial_value(State("h_in", "h_out"), small).tolist() == [[-3] * 5]
    of_bytes = State("h_in", "h_out", np.array([0, 1, 125, 128, 255], np.uint8))
    assert initial_value(of_bytes, small).tolist() == [[-128, -127, -3, 0, 127]]
    wide = replace(port, dtype=DType.INT16, quant=Quant((0.5,), (0,)))
    of_words = State("h_in", "h_out", np.array([0, 1, 32765, 32768, 65535], np.uint16))
    assert initial_value(of_words, wide).tolist() == [[-32768, -32767, -3, 0, 32767]]
    of_floats = State("h_in", "h_out", np.array([0.0, 1.0, -1.25, 200, 0.26], np.float32))
    assert initial_value(of_floats, small).tolist() == [[-3, -1, -5, 127, -2]]
    assert initial_value(State("h_in", "h_out"), port).tolist() == [[0.0] * 5]


def test_two_scales_are_no_state(model: Path) -> None:
    from dataclasses import replace

    from tinycompile.ir.quant import Quant
    from tinycompile.ir.verify import verify_graph
    from tinycompile.ops.registry import OPERATORS

    graph = import_model(model, ImportOptions(states=STATES))
    other = replace(graph.tensors["h_in"], quant=Quant((0.5,), (0,)))
    with pytest.raises(QuantError, match="different scales"):
        verify_graph(replace(graph, tensors={**graph.tensors, "h_in": other}), "quantized_io", OPERATORS)
