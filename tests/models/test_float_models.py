"""Real float32 models: their C is within 1e-4 of what LiteRT and onnxruntime compute, the same bits however planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from reference_models import Arrays, golden, model_path

from tinycompile.codegen.c import emit_c
from tinycompile.costs import estimated_cycles
from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_plan
from tinycompile.emulate.target import run_target
from tinycompile.errors import UsageError
from tinycompile.ir.graph import Graph
from tinycompile.ir.plan import Plan
from tinycompile.pipeline import ImportOptions, import_model
from tinycompile.planning.choose import choose_plan
from tinycompile.planning.goal import Goal
from tinycompile.schedule import plan_graph, verify_plan
from tinycompile.target import load_target

RELATIVE = 1e-4
"""Largest difference over the largest value of the golden output."""
COMPILED = ("zoo/simplenet_mini", "micro_kws_m_float", "mlperf_vww96_float")
SLOW = ("st_mobilenetv2_035_128", "nanoflownet_float")
# Their row programs take more than a few minutes to plan.
WHOLE_ONLY = (
    "zoo/pcdarts_mini",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("zoo/segnet_mini_unpool", "zoo/compactflow_mini_64x64")),
)
GOALS = {"whole buffers": Goal(), "least sram": Goal(minimize_sram=True)}


def samples(path: Path, count: int) -> tuple[Arrays, Arrays]:
    """Inputs and outputs with a leading axis of samples, which those of the zoo lack."""
    ins, outs = golden(path)
    if path.parent.name == "zoo":
        return [a[None] for a in ins], [a[None] for a in outs]
    return [a[:count] for a in ins], [a[:count] for a in outs]


def lowered(stem: str) -> tuple[Path, Graph]:
    path = model_path(stem)
    return path, import_model(path, ImportOptions())


def planned(graph: Graph, goal: Goal) -> Plan:
    target = load_target("cortex-m7")
    plan = plan_graph(graph, target, prefix="m") if goal == Goal() else choose_plan(graph, target, "m", goal, None)
    verify_plan(plan)
    return plan


def run_c(plan: Plan, inputs: Arrays, folder: Path) -> list[Any]:
    for name, text in emit_c(plan).files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return run_host(folder, plan.interface, inputs).outputs


def error(got: Arrays, want: Arrays) -> float:
    return max(float(np.abs(g.reshape(w.shape) - w).max() / np.abs(w).max()) for g, w in zip(got, want, strict=True))


def assert_right(stem: str, folder: Path, count: int, goals: tuple[str, ...] = tuple(GOALS)) -> None:
    path, graph = lowered(stem)
    inputs, want = samples(path, count)
    outputs = []
    for name in goals:
        goal = GOALS[name]
        plan = planned(graph, goal)
        assert plan.row_program == (name == "least sram")
        (folder / name).mkdir()
        outputs.append(run_c(plan, inputs, folder / name))
        assert error(outputs[-1], want) <= RELATIVE
    assert all(a.tobytes() == b.tobytes() for run in outputs[1:] for a, b in zip(run, outputs[0], strict=True))


@pytest.mark.parametrize("stem", COMPILED)
def test_golden_outputs(stem: str, tmp_path: Path) -> None:
    assert_right(stem, tmp_path, 2)


@pytest.mark.parametrize("stem", WHOLE_ONLY)
def test_golden_outputs_of_whole_buffers(stem: str, tmp_path: Path) -> None:
    assert_right(stem, tmp_path, 1, ("whole buffers",))


@pytest.mark.slow
@pytest.mark.parametrize("stem", SLOW)
def test_golden_outputs_of_slow_ones(stem: str, tmp_path: Path) -> None:
    assert_right(stem, tmp_path, 1)


def test_no_cycles_are_estimated_of_float_arithmetic() -> None:
    """The targets' costs are fitted to integer kernels."""
    _, graph = lowered("zoo/simplenet_mini")
    assert estimated_cycles(planned(graph, Goal()), load_target("cortex-m7")) is None


def test_the_interpreter_has_the_bits_of_the_c_code(tmp_path: Path) -> None:
    path, graph = lowered("zoo/simplenet_mini")
    inputs, _ = samples(path, 1)
    plan = planned(graph, GOALS["least sram"])
    for got, want in zip(run_plan(plan, [a[0] for a in inputs]), run_c(plan, inputs, tmp_path), strict=True):
        assert got.tobytes() == want[0].tobytes()


def test_a_weight_that_is_a_little_off_is_noticed(tmp_path: Path) -> None:
    """The control: one weight off by a tenth of its layer's largest is outside of the tolerance."""
    path, graph = lowered("zoo/simplenet_mini")
    inputs, want = samples(path, 1)
    name = next(op for op in graph.ops if op.kind == "conv2d").inputs[1]
    data = graph.tensors[name].data
    assert data is not None
    wrong = data.copy()
    wrong.flat[0] += np.float32(np.abs(data).max() / 10)
    tensors = {**graph.tensors, name: replace(graph.tensors[name], data=wrong)}
    plan = planned(replace(graph, tensors=tensors), Goal())
    assert error(run_c(plan, inputs, tmp_path), want) > RELATIVE


@pytest.mark.parametrize("emulator", ["unicorn", "qemu"])
def test_an_emulated_cortex_m7_has_the_bits_of_the_host(emulator: str, tmp_path: Path) -> None:
    path, graph = lowered("zoo/simplenet_mini")
    inputs, want = samples(path, 1)
    plan = planned(graph, GOALS["least sram"])
    host = run_c(plan, inputs, tmp_path)
    run = run_target(tmp_path, plan.interface, load_target("cortex-m7"), inputs, emulator=emulator)
    assert [a.tobytes() for a in run.outputs] == [a.tobytes() for a in host]
    assert error(run.outputs, want) <= RELATIVE


def test_a_c_library_that_computes_in_doubles_is_emulated_by_qemu(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy"]
    softmax = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "g", values[:1], values[1:])
    path = tmp_path / "softmax.onnx"
    onnx.save(helper.make_model(softmax, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    plan = planned(import_model(path, ImportOptions()), Goal())
    inputs = [np.linspace(-3, 3, 16, dtype=np.float32).reshape(2, 1, 8)]
    folder = tmp_path / "build"
    folder.mkdir()
    host, target = run_c(plan, inputs, folder), load_target("cortex-m7")
    run = run_target(folder, plan.interface, target, inputs)
    assert "qemu" in run.emulator.lower()
    assert error(run.outputs, host) <= RELATIVE
    with pytest.raises(UsageError, match="double-precision"):
        run_target(folder, plan.interface, target, inputs, emulator="unicorn")
