"""fully_connected_rows against plain sums of products."""

from __future__ import annotations

import numpy as np
import pytest
from convolution_cases import random_weights
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.quant import Quant, narrowed
from tinycompile.ir.types import DType
from tinycompile.ops.fully_connected_rows import FullyConnectedRows

OPERATOR = FullyConnectedRows()
QUANT = Quant((0.01,), (0,))


def layer(shape: tuple[int, ...], outputs: int, extreme: bool = False, bias: int = 3000, narrow: bool = False) -> Node:
    rng = np.random.default_rng(len(shape) + outputs)
    x = activation("x", shape, 0.05, 3)
    w = random_weights((x.form.rows, outputs, x.form.row_elems), rng, extreme, narrow)
    quant = narrowed(w, QUANT) if narrow else QUANT
    values = rng.integers(-bias, bias, outputs, endpoint=True).astype(np.int32)
    inputs = (x, constant("w", w.astype(np.int8), quant), constant("b", values))
    return make_node(OPERATOR, inputs, activation("y", ()), Attrs())


NODES = {
    "map": layer((1, 4, 3, 5), 7),
    "four_outputs": layer((1, 5, 2, 3), 4),
    "one_output": layer((1, 3, 4, 2), 1),
    "nine_outputs": layer((1, 2, 2, 2), 9),
    "one_row": layer((1, 1, 4, 4), 5),
    "sequence": layer((1, 6, 5), 6),
    "extreme_weights": layer((1, 4, 9, 9), 5, extreme=True),
    "narrow": layer((1, 4, 3, 5), 7, narrow=True),
    "narrow_of_8": layer((1, 5, 2, 4), 4, narrow=True),
    "narrow_of_3": layer((1, 3, 1, 3), 5, narrow=True, extreme=True),
    "wraps": layer((1, 4, 9, 9), 8, extreme=True, bias=2**31 - 1),
}


def count_macs(node: Node) -> int:
    return sum(1 for _ in np.ndindex(node.const(1).shape))


def cases() -> list[Case]:
    return [Case(name, OPERATOR, node, macs=count_macs) for name, node in NODES.items()]


@pytest.mark.parametrize("name", NODES)
def test_rows_are_the_products_so_far(name: str) -> None:
    node = NODES[name]
    rows, outputs, count = node.const(1).shape
    assert node.out.shape == (1, rows, 1, outputs)
    x = Case(name, OPERATOR, node).inputs(4)[0]
    assert x is not None
    got = OPERATOR.reference(node, (x, None, None))
    flat, weights = x.reshape(rows, count).tolist(), node.const(1).tolist()
    for o in range(outputs):
        acc = int(node.const(2)[o])
        for y in range(rows):
            acc += sum(a * b for a, b in zip(flat[y], weights[y][o], strict=True))
            assert got[0, y, 0, o] == (acc + 2**31) % 2**32 - 2**31


def test_weights_that_do_not_fit_are_refused() -> None:
    x, bias = activation("x", (1, 4, 3, 5)), constant("b", np.zeros(2, dtype=np.int32))
    for shape in ((4, 2, 14), (3, 2, 15), (2, 60), (4, 3, 15)):
        w = constant("w", np.zeros(shape, dtype=np.int8), QUANT)
        with pytest.raises(ShapeError, match="do not fit"):
            make_node(OPERATOR, (x, w, bias), activation("y", ()), Attrs())


def test_only_constant_int8_weights() -> None:
    x, _, bias = NODES["map"].inputs
    out = activation("y", ())
    assert OPERATOR.unsupported(NODES["map"]) is None
    run_time = activation("w", (4, 7, 15))
    assert "run time" in (OPERATOR.unsupported(make_node(OPERATOR, (x, run_time, bias), out, Attrs())) or "")
    wide = activation("w", (4, 7, 15), dtype=DType.INT16)
    assert "int16" in (OPERATOR.unsupported(make_node(OPERATOR, (x, wide, bias), out, Attrs())) or "")
