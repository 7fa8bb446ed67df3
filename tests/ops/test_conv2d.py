"""conv2d against LiteRT's reference kernels and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from convolution_cases import (
    brute_force,
    convolution,
    count_macs,
    litert_inputs,
    litert_padding,
    near_halves,
    reference,
)
from litert_models import run_litert, schema, single_op_model
from operator_cases import Case

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Node
from tinycompile.ops.conv2d import Conv2d

NODES = {
    "near_halves": near_halves(depthwise=False),
    "pointwise": convolution((5, 6), 7, 9, (1, 1)),
    "pointwise_stride2": convolution((5, 6), 4, 8, (1, 1), stride=(2, 2), relu=True),
    "3x3": convolution((6, 7), 3, 5, (3, 3)),
    "3x3_stride2_relu": convolution((8, 7), 3, 8, (3, 3), stride=(2, 2), relu=True, per_channel=False),
    "3x3_stride3_valid": convolution((9, 8), 2, 4, (3, 3), stride=(3, 3), pad="VALID", bias=False),
    "3x3_dilated": convolution((9, 8), 2, 3, (3, 3), dilation=(2, 3)),
    "5x5_width1": convolution((6, 1), 3, 4, (5, 5)),
    "5x5_width2": convolution((3, 2), 3, 4, (5, 5), zero_points=(0, 0)),
    "7x7_small_map": convolution((3, 3), 1, 2, (7, 7), stride=(2, 2), zero_points=(-128, -128)),
    "10x4": convolution((12, 5), 1, 6, (10, 4), stride=(2, 2)),
    "1x4": convolution((2, 9), 3, 5, (1, 4), stride=(1, 2)),
    "groups": convolution((4, 5), 6, 10, (3, 3), groups=2),
    "asymmetric_pad": convolution((5, 6), 2, 3, (3, 3), pad=(2, 0, 1, 3)),
    "pad_beyond_kernel": convolution((2, 3), 2, 3, (2, 2), pad=(3, 4, 4, 3)),
    "weight_zero_points": convolution((4, 5), 3, 6, (3, 3), w_zero_point=90),
    "weight_zero_points_groups": convolution((4, 5), 4, 6, (2, 3), groups=2, w_zero_point=128, stride=(1, 2)),
    "extreme_weights": convolution((3, 4), 16, 4, (3, 3), extreme=True, zero_points=(127, -128)),
    "large_multiplier": convolution((3, 4), 3, 4, (1, 1), out_scale=1e-7, zero_points=(0, 127)),
    "ties": convolution((3, 4), 9, 7, (1, 1), ties=True),
    "ties_3x3": convolution((4, 4), 3, 4, (3, 3), ties=True, zero_points=(3, -4)),
    "ties_3x3_many_channels": convolution((3, 5), 23, 3, (3, 3), ties=True),
    "pointwise_one_pixel": convolution((3, 1), 21, 3, (1, 1)),
    "pointwise_one_output": convolution((2, 5), 16, 1, (1, 1)),
    "3x3_many_channels": convolution((4, 7), 20, 5, (3, 3)),
    "3x3_many_channels_stride2_relu": convolution((5, 8), 20, 4, (3, 3), stride=(2, 2), relu=True),
    "3x3_odd_channels_width1": convolution((4, 1), 23, 2, (3, 3), zero_points=(0, 0)),
    "3x3_odd_channels_width2": convolution((2, 2), 21, 2, (3, 3), zero_points=(-128, 5)),
    "7x7_many_channels_small_map": convolution((3, 3), 5, 3, (7, 7)),
    "tiny_multiplier": convolution((3, 4), 3, 4, (1, 1), out_scale=1e6),
    **{f"narrow_pointwise_{n}": convolution((3, 4), n, 5, (1, 1), narrow=True) for n in (1, 2, 7, 8, 9, 16, 20)},
    "narrow_3x3": convolution((6, 7), 3, 5, (3, 3), stride=(2, 1), narrow=True, relu=True),
    "narrow_3x3_of_8": convolution((5, 6), 8, 8, (3, 3), narrow=True),
    "narrow_3x3_of_12": convolution((4, 5), 12, 6, (3, 3), narrow=True, per_channel=False, bias=False),
    "narrow_dilated": convolution((9, 8), 10, 3, (3, 3), dilation=(2, 3), narrow=True),
    "narrow_groups": convolution((4, 5), 18, 10, (3, 2), groups=2, narrow=True),
    "narrow_10x4": convolution((12, 5), 1, 6, (10, 4), stride=(2, 2), narrow=True),
    "narrow_extreme": convolution((3, 4), 17, 4, (3, 3), narrow=True, extreme=True, zero_points=(127, -128)),
    "narrow_weight_zero_points": convolution((4, 5), 3, 6, (3, 3), w_zero_point=90, narrow=True),
}


def cases() -> list[Case]:
    return [Case(name, Conv2d(), node, macs=count_macs) for name, node in NODES.items()]


def litert(node: Node, x: Array) -> Array:
    s, a = schema(), node.attrs
    model = single_op_model(
        "CONV_2D",
        litert_inputs(node),
        node.out,
        "Conv2DOptions",
        padding=getattr(s.Padding, litert_padding(node) or ""),
        strideH=a.stride[0],
        strideW=a.stride[1],
        dilationHFactor=a.dilation[0],
        dilationWFactor=a.dilation[1],
        fusedActivationFunction=s.ActivationFunctionType.RELU if a.clamp else s.ActivationFunctionType.NONE,
    )
    return run_litert(model, [x])


EXPRESSIBLE = [n for n, node in NODES.items() if litert_padding(node) and "weight_zero_points" not in n]


@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_equals_litert(name: str) -> None:
    case = Case(name, Conv2d(), NODES[name])
    for seed in range(5):
        (x, *_) = case.inputs(seed)
        assert x is not None
        np.testing.assert_array_equal(reference(case.node, x), litert(case.node, x))


@pytest.mark.parametrize("name", [n for n in NODES if n != "large_multiplier"])
def test_equals_brute_force(name: str) -> None:
    x = Case(name, Conv2d(), NODES[name]).inputs(7)[0]
    assert x is not None
    np.testing.assert_array_equal(reference(NODES[name], x), brute_force(NODES[name], x)[0])


def test_channels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="groups"):
        convolution((4, 4), 6, 4, (1, 1), groups=4)


def test_a_window_larger_than_the_padded_map_is_refused() -> None:
    with pytest.raises(ShapeError, match="do not fit"):
        convolution((2, 2), 1, 1, (3, 3), pad="VALID")
