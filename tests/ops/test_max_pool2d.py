"""max_pool2d against LiteRT's reference kernel and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from convolution_cases import litert_padding, reference, same_padding
from litert_models import run_litert, schema, single_op_model
from operator_cases import Case, activation, make_node

from tinycompile.ir.graph import Node
from tinycompile.ops.max_pool2d import MaxPool2d, MaxPool2dAttrs

OPERATOR = MaxPool2d()


def pool(shape: tuple[int, int, int], same: bool = True, **attrs: object) -> Node:
    full = MaxPool2dAttrs(**attrs)  # type: ignore[arg-type]
    if same:
        full = MaxPool2dAttrs(**{**attrs, "pad": same_padding(shape[:2], full.kernel, full.stride, full.dilation)})  # type: ignore[arg-type]
    x, y = activation("x", (1, *shape), 0.05, 3), activation("y", (), 0.05, 3)
    return make_node(OPERATOR, (x,), y, full)


NODES = {
    "2x2": pool((6, 8, 3), kernel=(2, 2), stride=(2, 2)),
    "3x3_same": pool((5, 7, 5), kernel=(3, 3)),
    "3x3_stride2": pool((6, 5, 4), kernel=(3, 3), stride=(2, 2), clamp=(3, 127)),
    "valid": pool((7, 6, 2), False, kernel=(3, 2), stride=(3, 1)),
    "width1": pool((5, 1, 3), kernel=(3, 3)),
    "global": pool((4, 3, 5), False, kernel=(4, 3)),
    "1x1": pool((4, 3, 5), False, kernel=(1, 1), stride=(2, 2)),
    "dilated": pool((9, 9, 2), False, kernel=(3, 3), dilation=(2, 3), pad=(1, 2, 2, 0)),
    "asymmetric_pad": pool((4, 5, 3), False, kernel=(3, 3), stride=(2, 2), pad=(2, 0, 0, 2), clamp=(-10, 90)),
}


def cases() -> list[Case]:
    return [Case(name, OPERATOR, node) for name, node in NODES.items()]


@pytest.mark.parametrize("name", [n for n, node in NODES.items() if litert_padding(node)])
def test_equals_litert(name: str) -> None:
    s, node = schema(), NODES[name]
    a = node.attrs
    model = single_op_model(
        "MAX_POOL_2D",
        node.inputs,
        node.out,
        "Pool2DOptions",
        padding=getattr(s.Padding, litert_padding(node) or ""),
        strideH=a.stride[0],
        strideW=a.stride[1],
        filterHeight=a.kernel[0],
        filterWidth=a.kernel[1],
        fusedActivationFunction=s.ActivationFunctionType.RELU if a.clamp else s.ActivationFunctionType.NONE,
    )
    for seed in range(5):
        x = Case(name, OPERATOR, node).inputs(seed)[0]
        assert x is not None
        np.testing.assert_array_equal(reference(node, x), run_litert(model, [x]))


@pytest.mark.parametrize("name", ["dilated", "asymmetric_pad"])
def test_equals_the_largest_tap(name: str) -> None:
    node = NODES[name]
    a = node.attrs
    x = Case(name, OPERATOR, node).inputs(5)[0]
    assert x is not None
    lo, hi = a.clamp or (-128, 127)
    for (_, oy, ox, c), got in np.ndenumerate(reference(node, x)):
        taps = [-128]
        for ky in range(a.kernel[0]):
            for kx in range(a.kernel[1]):
                iy = oy * a.stride[0] - a.pad[0] + ky * a.dilation[0]
                ix = ox * a.stride[1] - a.pad[2] + kx * a.dilation[1]
                if 0 <= iy < x.shape[1] and 0 <= ix < x.shape[2]:
                    taps.append(int(x[0, iy, ix, c]))
        assert got == min(max(max(taps), lo), hi)


def test_other_output_quantisation_is_unsupported() -> None:
    node = make_node(
        OPERATOR, (activation("x", (1, 4, 4, 1), 0.05),), activation("y", (), 0.06), MaxPool2dAttrs(kernel=(2, 2))
    )
    assert "quantisation" in (OPERATOR.unsupported(node) or "")
    assert OPERATOR.unsupported(NODES["2x2"]) is None
