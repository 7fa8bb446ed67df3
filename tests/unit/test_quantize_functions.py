"""Which operators are a function of one value together, and what of it is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import ModelMaker
from ptq_models import save

from tinycompile.ir.graph import Graph
from tinycompile.quantize.functions import Functions
from tinycompile.quantize.quantizer import load_float_model
from tinycompile.quantize.scheme import make_scheme


def network(folder: Path, read_within: bool = False, clipped: bool = False) -> Graph:
    """conv -> exp -> + 1 -> sqrt -> conv, the sum read by another conv as well, or all of a clipped sum."""
    m = ModelMaker([1, 3, 5, 5], 2)
    y = m.node("Conv", "x", m.weight(4, 3, 1, 1), m.weight(4))
    if clipped:
        y = m.node(
            "Relu", m.node("Add", y, m.node("Conv", "x", m.weight(4, 3, 1, 1), m.weight(4)), out="sum"), out="clip"
        )
    total = m.node("Add", m.node("Exp", y, out="exp"), m.const(np.float32(1)), out="total")
    last = m.node("Conv", m.node("Sqrt", total, out="root"), m.weight(2, 4, 1, 1))
    if read_within:
        last = m.node("Add", last, m.node("Conv", total, m.weight(2, 4, 1, 1)))
    return load_float_model(save(m, folder / "m.onnx", last))


def parts(graph: Graph, functions: Functions) -> list[tuple[str, bool]]:
    """Of the operators in functions: kind or function, and whether it is inner."""
    ops = [op for op in graph.ops if op.outputs[0] in functions.of]
    return [(getattr(op.attrs, "function", op.kind), op.outputs[0] in functions.inner) for op in ops]


def test_a_chain_stores_its_end(tmp_path: Path) -> None:
    graph = network(tmp_path)
    functions = Functions(graph, ())
    assert parts(graph, functions) == [("exp", True), ("add", True), ("sqrt", False)]
    assert len(set(functions.of.values())) == 1
    exp = next(op for op in graph.ops if op.outputs[0] in functions.of)
    assert functions.together(exp) == set(functions.of)


def test_what_a_layer_reads_is_stored_and_begins_anew(tmp_path: Path) -> None:
    graph = network(tmp_path, read_within=True)
    functions = Functions(graph, ())
    assert parts(graph, functions) == [("exp", True), ("add", False), ("sqrt", False)]
    assert len(set(functions.of.values())) == 2


def test_what_is_kept_float_is_no_part(tmp_path: Path) -> None:
    graph = network(tmp_path)
    total = next(op.outputs[0] for op in graph.ops if op.kind == "add")
    functions = Functions(graph, [total])
    assert parts(graph, functions) == [("exp", False), ("sqrt", False)]


def test_a_function_of_what_is_float_stays_float(tmp_path: Path) -> None:
    """The table would want its input in int8: of a sum of squares, too little to have a root."""
    m = ModelMaker([1, 3, 5, 5], 2)
    y = m.node("Conv", "x", m.weight(4, 3, 1, 1), m.weight(4))
    total = m.node("ReduceSum", m.node("Mul", y, y), m.const(np.array([2, 3], dtype=np.int64)), keepdims=1)
    root = m.node("Sqrt", m.node("Add", total, m.const(np.float32(1e-3))))
    graph = load_float_model(save(m, tmp_path / "m.onnx", m.node("Conv", root, m.weight(2, 4, 1, 1))))
    kept = {
        getattr(op.attrs, "function", op.kind) for op in graph.ops if op.outputs[0] in make_scheme(graph).kept_float
    }
    assert kept == {"sum", "add", "sqrt"}


@pytest.mark.parametrize("clipped", [False, True])
def test_a_clip_within_a_table_is_no_clamp(clipped: bool, tmp_path: Path) -> None:
    """The sum before it is stored then: the table reads it."""
    graph = network(tmp_path, clipped=clipped)
    scheme = make_scheme(graph)
    assert not scheme.kept_float
    sums = {
        op.outputs[0] for op in graph.ops if op.kind == "add" and not any(graph.tensors[i].is_const for i in op.inputs)
    }
    assert len(sums) == int(clipped)
    assert sums <= scheme.stored.keys()
    assert not {op.outputs[0] for op in graph.ops if op.kind == "clip"} & scheme.stored.keys()
