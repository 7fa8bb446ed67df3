"""softmax against LiteRT's reference kernel, and against the real function for other output scales."""

from __future__ import annotations

import numpy as np
import pytest
from litert_models import run_litert, single_op_model
from operator_cases import Case, activation, make_node

from tinycompile.ir.graph import Node
from tinycompile.ops.softmax import Softmax, SoftmaxAttrs

OPERATOR = Softmax()


def node(shape: tuple[int, ...], scale: float, beta: float = 1.0, out: tuple[float, int] = (1 / 256, -128)) -> Node:
    x, y = activation("x", shape, scale, 11), activation("y", (), *out)
    return make_node(OPERATOR, (x,), y, SoftmaxAttrs(beta))


def cases() -> list[Case]:
    return [
        Case("ten", OPERATOR, node((1, 10), 0.14)),
        Case("one", OPERATOR, node((1, 1), 0.14)),
        Case("map", OPERATOR, node((1, 3, 4, 5), 0.05)),
        Case("other_scale", OPERATOR, node((4, 7), 0.1, out=(0.004, -120))),
    ]


@pytest.mark.parametrize("scale", [0.001, 0.02, 0.1, 0.144693, 0.5, 2.0])
@pytest.mark.parametrize("beta", [1.0, 0.3, 4.0])
@pytest.mark.parametrize("size", [2, 12, 100, 500])
def test_equals_litert(scale: float, beta: float, size: int) -> None:
    n = node((8, size), scale, beta)
    model = single_op_model("SOFTMAX", n.inputs, n.out, "SoftmaxOptions", beta=beta)
    for seed in range(4):
        x = Case("", OPERATOR, n).inputs(seed)[0]
        assert x is not None
        np.testing.assert_array_equal(OPERATOR.reference(n, [x]), run_litert(model, [x]))


@pytest.mark.parametrize("out", [(1 / 255, -128), (0.004, -120), (0.01, 3)])
def test_other_output_scales_are_within_one_lsb_of_the_real_function(out: tuple[float, int]) -> None:
    n = node((50, 10), 0.1, out=out)
    x = Case("", OPERATOR, n).inputs(7)[0]
    assert x is not None
    e = np.exp((x.astype(float) - x.max(axis=1, keepdims=True)) * float(np.float32(0.1)))
    want = np.clip(np.round(e / e.sum(axis=1, keepdims=True) / float(np.float32(out[0]))) + out[1], -128, 127)
    assert np.abs(OPERATOR.reference(n, [x]) - want).max() <= 1
