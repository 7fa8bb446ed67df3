"""`verify_graph`: each invariant, broken by itself; the same graph unbroken passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from schedule_graphs import QUANT, GraphBuilder, random_graph

from tinycompile.errors import InternalError, ModelError, QuantError, ShapeError
from tinycompile.ir.graph import Attrs, Graph, Op, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ir.verify import verify_graph
from tinycompile.ops.registry import OPERATORS


def good() -> Graph:
    """in0 -> conv2d (c1, c2) t3 -> clip t4."""
    b = GraphBuilder()
    return b.graph([b.relu(b.conv(b.input((1, 4, 4, 2)), 3))])


def with_tensor(name: str, /, **changes: object) -> Graph:
    g = good()
    return replace(g, tensors={**g.tensors, name: replace(g.tensors[name], **changes)})  # type: ignore[arg-type]


def with_op(index: int, **changes: object) -> Graph:
    g = good()
    ops = list(g.ops)
    ops[index] = replace(ops[index], **changes)  # type: ignore[arg-type]
    return replace(g, ops=tuple(ops))


def with_extra(tensor: Tensor) -> Graph:
    g = good()
    return replace(g, tensors={**g.tensors, tensor.name: tensor})


@pytest.mark.parametrize("stage", ["import", "fold_pad"])
def test_good_graphs_pass(stage: str) -> None:
    verify_graph(good(), stage, OPERATORS)
    for seed in range(10):
        verify_graph(random_graph(seed), stage, OPERATORS)


BUGS: dict[str, Callable[[], Graph]] = {
    "renamed": lambda: with_tensor("t3", name="other"),
    "data shape": lambda: with_tensor("c2", data=np.zeros(4, np.int32)),
    "data type": lambda: with_tensor("c2", data=np.zeros(3, np.int64)),
    "order": lambda: replace(good(), ops=good().ops[::-1]),
    "unknown input": lambda: with_op(0, inputs=("nowhere", "c1", "c2")),
    "two producers": lambda: with_op(1, outputs=("t3",)),
    "writes its input": lambda: with_op(1, outputs=("in0",)),
    "writes a constant": lambda: with_op(1, outputs=("c1",)),
    "no output": lambda: with_op(1, outputs=()),
    "constant network input": lambda: replace(good(), inputs=("in0", "c2")),
    "input listed twice": lambda: replace(good(), inputs=("in0", "in0")),
    "output from nowhere": lambda: replace(good(), outputs=("nowhere",)),
    "tensor from nowhere": lambda: with_extra(Tensor("lost", (1,), DType.INT8, QUANT)),
    "attributes": lambda: with_op(0, attrs=Attrs()),
}
MODEL_FAULTS: dict[str, tuple[Callable[[], Graph], type[ModelError]]] = {
    "zero dimension": (lambda: with_tensor("in0", shape=(1, 0, 4, 2)), ShapeError),
    "dynamic dimension": (lambda: with_tensor("in0", shape=(1, -1, 4, 2)), ShapeError),
    "over 1 GiB": (lambda: with_tensor("in0", shape=(1, 1 << 15, 1 << 15, 2)), ShapeError),
    "shape not inferred": (lambda: with_tensor("t4", shape=(1, 4, 4, 2)), ShapeError),
    "type not inferred": (lambda: with_tensor("t4", dtype=DType.UINT8), ShapeError),
    "infer refuses": (lambda: with_tensor("in0", shape=(1, 4, 4, 5)), ShapeError),
    "nan scale": (lambda: with_tensor("in0", quant=Quant((float("nan"),), (0,))), QuantError),
    "infinite scale": (lambda: with_tensor("in0", quant=Quant((float("inf"),), (0,))), QuantError),
    "zero scale": (lambda: with_tensor("c1", quant=Quant((0.1, 0.0, 0.1), (0, 0, 0), 0)), QuantError),
    "zero point range": (lambda: with_tensor("in0", quant=Quant((0.1,), (128,))), QuantError),
    "scales per channel": (lambda: with_tensor("c1", quant=Quant((0.1, 0.1), (0, 0), 0)), QuantError),
    "zero points per channel": (lambda: with_tensor("c1", quant=Quant((0.1,) * 3, (0, 0), 0)), QuantError),
    "quantised axis": (lambda: with_tensor("c1", quant=Quant((0.1,) * 3, (0,) * 3, 4)), QuantError),
    "no scale": (lambda: with_tensor("t3", quant=None), QuantError),
}


@pytest.mark.parametrize("name", BUGS)
@pytest.mark.parametrize("stage", ["import", "fold_pad"])
def test_broken_structure_is_a_bug_at_every_stage(name: str, stage: str) -> None:
    with pytest.raises(InternalError) as caught:
        verify_graph(BUGS[name](), stage, OPERATORS)
    assert stage in caught.value.where


@pytest.mark.parametrize("name", MODEL_FAULTS)
def test_what_the_file_causes_is_a_model_error_after_import_and_a_bug_after_a_pass(name: str) -> None:
    make, error = MODEL_FAULTS[name]
    with pytest.raises(error):
        verify_graph(make(), "import", OPERATORS)
    with pytest.raises(InternalError, match="fold_pad"):
        verify_graph(make(), "fold_pad", OPERATORS)


def test_byte_movers_need_no_scale() -> None:
    b = GraphBuilder()
    x = b.input((1, 4, 4, 2))
    y = b.reshape(x, (1, 32))
    g = b.graph([y])
    bare = {n: replace(t, quant=None) for n, t in g.tensors.items()}
    verify_graph(replace(g, tensors=bare), "import", OPERATORS)


def test_unknown_kinds_are_left_to_the_lowering_check() -> None:
    g = good()
    ops = (*g.ops[:1], Op("mystery", "m", ("t3",), ("t4",), Attrs(), g.ops[1].source))
    verify_graph(replace(g, ops=ops), "import", OPERATORS)
