"""The imported graph, before any pass, evaluated by operator references: bit for bit LiteRT, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference_models import INT8_MODELS, Arrays, golden, model_path

from tinycompile.frontends import load_model
from tinycompile.frontends.naming import UniqueNames, plain_name
from tinycompile.ir.graph import Array, Graph
from tinycompile.ir.verify import verify_graph
from tinycompile.ops.registry import OPERATORS, operator


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest) -> tuple[Path, Graph]:
    path = model_path(request.param)
    graph = load_model(path)
    verify_graph(graph, "import", OPERATORS)
    return path, graph


def evaluate(graph: Graph, inputs: Arrays) -> list[Array]:
    values = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes():
        given = [None if t is None or t.is_const else values[t.name] for t in node.inputs]
        values[node.out.name] = operator(node.op.kind).reference(node, given)
    return [values[name] for name in graph.outputs]


def litert_tensors(path: Path, inputs: Arrays) -> dict[str, Array]:
    """Every tensor's value in LiteRT's reference kernels, by the name that the frontend gives it."""
    module = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    interpreter = module.Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    names, values = UniqueNames(), {}
    for detail in sorted(interpreter.get_tensor_details(), key=lambda d: d["index"]):
        name = names.take(plain_name(detail["name"]))
        try:
            values[name] = np.asarray(interpreter.get_tensor(detail["index"]))
        except ValueError:  # a temporary of one kernel, not kept
            continue
    return values


def first_difference(graph: Graph, values: Mapping[str, Any]) -> str | None:
    """The first operator whose reference differs from LiteRT when both read LiteRT's inputs, None when none does."""
    for node in graph.nodes():
        given = [None if t is None or t.is_const else values[t.name] for t in node.inputs]
        if not np.array_equal(operator(node.op.kind).reference(node, given), values[node.out.name]):
            return node.op.name
    return None


@pytest.mark.parametrize("model", INT8_MODELS, indirect=True)
def test_every_operator_is_bit_exact(model: tuple[Path, Graph]) -> None:
    path, graph = model
    inputs = [a[0] for a in golden(path)[0]]
    assert first_difference(graph, litert_tensors(path, inputs)) is None


@pytest.mark.parametrize("model", INT8_MODELS, indirect=True)
def test_outputs_are_the_golden_ones(model: tuple[Path, Graph]) -> None:
    path, graph = model
    inputs, outputs = golden(path)
    for sample in range(len(inputs[0])):
        got = evaluate(graph, [a[sample] for a in inputs])
        for g, want in zip(got, outputs, strict=True):
            np.testing.assert_array_equal(g, want[sample])


@pytest.mark.parametrize("model", ["mlperf_kws_int8"], indirect=True)
def test_a_wrong_operator_is_named(model: tuple[Path, Graph]) -> None:
    """The control: one padding moved from after to before, as a wrong SAME would have it."""
    path, graph = model
    values = litert_tensors(path, [a[0] for a in golden(path)[0]])
    op = graph.ops[0]
    top, bottom, left, right = op.attrs.pad  # type: ignore[attr-defined]
    wrong = replace(op, attrs=replace(op.attrs, pad=(bottom + 1, top - 1, left, right)))  # type: ignore[call-arg]
    assert first_difference(replace(graph, ops=(wrong, *graph.ops[1:])), values) == op.name


@pytest.mark.parametrize("stem", ["mlperf_vww96_float", "nanoflownet_float"])
def test_float_models_are_imported(stem: str) -> None:
    graph = load_model(model_path(stem))
    verify_graph(graph, "import", OPERATORS)
    assert len(graph.ops) > 30
