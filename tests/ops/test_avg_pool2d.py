"""avg_pool2d against LiteRT's reference kernel; other output scales against exact rational means."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from convolution_cases import litert_padding, reference, same_padding
from litert_models import run_litert, schema, single_op_model
from operator_cases import Case, activation, make_node

from tinycompile.ir.graph import Node
from tinycompile.ops.avg_pool2d import AvgPool2d, AvgPool2dAttrs

OPERATOR = AvgPool2d()


def pool(shape: tuple[int, int, int], same: bool = True, out: tuple[float, int] = (0.05, 3), **attrs: object) -> Node:
    full = AvgPool2dAttrs(**attrs)  # type: ignore[arg-type]
    if same:
        full = AvgPool2dAttrs(**{**attrs, "pad": same_padding(shape[:2], full.kernel, full.stride, (1, 1))})  # type: ignore[arg-type]
    return make_node(OPERATOR, (activation("x", (1, *shape), 0.05, 3),), activation("y", (), *out), full)


NODES = {
    "2x2": pool((6, 8, 3), kernel=(2, 2), stride=(2, 2)),
    "3x3_same": pool((5, 7, 5), kernel=(3, 3)),
    "3x3_stride2_relu": pool((6, 5, 4), kernel=(3, 3), stride=(2, 2), clamp=(3, 127)),
    "valid": pool((7, 6, 2), False, kernel=(3, 2), stride=(3, 1)),
    "width1": pool((5, 1, 3), kernel=(3, 3)),
    "global_even": pool((4, 6, 5), False, kernel=(4, 6)),
    "global_odd": pool((25, 5, 3), False, kernel=(25, 5)),
    "more_taps_than_the_reciprocal_takes": pool((47, 44, 1), False, kernel=(47, 44)),
    "include_pad": pool((5, 6, 3), kernel=(3, 3), stride=(2, 1), include_pad=True),
    "asymmetric_include_pad": pool((4, 5, 3), False, kernel=(3, 3), pad=(2, 0, 0, 2), include_pad=True),
    "other_scale": pool((5, 6, 3), kernel=(3, 3), out=(0.021, -30)),
    "other_scale_include_pad": pool((5, 6, 3), kernel=(3, 3), out=(0.07, 5), include_pad=True, clamp=(5, 100)),
}


def cases() -> list[Case]:
    return [Case(name, OPERATOR, node) for name, node in NODES.items()]


LITERT = [n for n, node in NODES.items() if litert_padding(node) and "include" not in n and "other" not in n]


@pytest.mark.parametrize("name", LITERT)
def test_equals_litert(name: str) -> None:
    s, node = schema(), NODES[name]
    a = node.attrs
    model = single_op_model(
        "AVERAGE_POOL_2D",
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
    for seed in range(8):
        x = Case(name, OPERATOR, node).inputs(seed)[0]
        assert x is not None
        np.testing.assert_array_equal(reference(node, x), run_litert(model, [x]))


@pytest.mark.parametrize("name", [n for n in NODES if n not in LITERT])
def test_is_the_rational_mean_rounded(name: str) -> None:
    """Within half a step plus the multiplier's 31 bits of the exact mean; padding is real zero with include_pad."""
    node = NODES[name]
    a, (s_y, zp_y) = node.attrs, node.out.quant.scalar()  # type: ignore[union-attr]
    x = Case(name, OPERATOR, node).inputs(5)[0]
    assert x is not None
    lo, hi = a.clamp or (-128, 127)
    ratio = Fraction(float(np.float32(0.05))) / Fraction(s_y)
    for (_, oy, ox, c), got in np.ndenumerate(reference(node, x)):
        ys = [oy * a.stride[0] - a.pad[0] + k for k in range(a.kernel[0])]
        xs = [ox * a.stride[1] - a.pad[2] + k for k in range(a.kernel[1])]
        taps = [int(x[0, i, j, c]) - 3 for i in ys for j in xs if 0 <= i < x.shape[1] and 0 <= j < x.shape[2]]
        count = a.kernel[0] * a.kernel[1] if a.include_pad else len(taps)
        exact = Fraction(sum(taps), count) * ratio + zp_y
        clamped = min(max(exact, Fraction(lo)), Fraction(hi))
        assert abs(int(got) - clamped) <= Fraction(1, 2) + Fraction(1, 10**6)
