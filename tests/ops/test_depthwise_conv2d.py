"""depthwise_conv2d against LiteRT's reference kernels and against brute force."""

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

from tinycompile.ir.graph import Array, Node
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2d

WIDTHS = {
    f"3x3_width{w}_stride{s}": convolution((3, w), 8, 0, (3, 3), stride=(1, s), multiplier=1, ties=w == 7)
    for w in (1, 2, 3, 4, 5, 6, 7, 10, 12, 15)
    for s in (1, 2)
}

NODES = {
    "near_halves": near_halves(depthwise=True),
    "3x3": convolution((6, 7), 5, 0, (3, 3), multiplier=1),
    "3x3_stride2_relu": convolution((8, 7), 4, 0, (3, 3), stride=(2, 2), multiplier=1, relu=True, per_channel=False),
    "3x3_multiplier2": convolution((5, 4), 3, 0, (3, 3), multiplier=2),
    "5x5_multiplier3_valid": convolution((6, 7), 2, 0, (5, 5), multiplier=3, pad="VALID", bias=False),
    "7x7_small_map": convolution((3, 3), 3, 0, (7, 7), multiplier=1, zero_points=(-128, -128)),
    "width1": convolution((5, 1), 3, 0, (3, 3), multiplier=1),
    "width2": convolution((5, 2), 3, 0, (3, 3), stride=(1, 2), multiplier=1, zero_points=(0, 0)),
    "one_channel_10x4": convolution((14, 6), 1, 0, (10, 4), stride=(2, 2), multiplier=8),
    "1x4": convolution((2, 9), 3, 0, (1, 4), stride=(3, 3), multiplier=1, pad="VALID"),
    "dilated": convolution((9, 8), 3, 0, (3, 3), dilation=(3, 2), multiplier=1),
    "asymmetric_pad": convolution((5, 6), 3, 0, (3, 3), multiplier=1, pad=(0, 2, 3, 1)),
    "weight_zero_points": convolution((4, 5), 3, 0, (3, 3), multiplier=2, w_zero_point=90),
    "5x5_width9": convolution((4, 9), 4, 0, (5, 5), multiplier=1, zero_points=(3, -4)),
    "5x5_width8_stride2": convolution((5, 8), 4, 0, (5, 5), stride=(2, 2), multiplier=1, ties=True),
    "7x7_width3": convolution((3, 3), 4, 0, (7, 7), multiplier=1, zero_points=(-128, -128)),
    "7x7_width11": convolution((4, 11), 4, 0, (7, 7), multiplier=1, relu=True),
    "9x9_width12": convolution((2, 12), 4, 0, (9, 9), multiplier=1),
    "asymmetric_pad_packed": convolution((5, 6), 4, 0, (3, 3), multiplier=1, pad=(0, 2, 3, 1)),
    "extreme_weights_packed": convolution((4, 5), 4, 0, (5, 5), multiplier=1, extreme=True, zero_points=(127, -128)),
    **WIDTHS,
    "extreme_weights": convolution((4, 5), 3, 0, (5, 5), multiplier=1, extreme=True, zero_points=(127, -128)),
    **{f"narrow_{n}": convolution((5, 6), n, 0, (3, 3), multiplier=1, narrow=True) for n in (1, 7, 8, 9, 12, 16)},
    "narrow_multiplier3": convolution((6, 5), 5, 0, (5, 3), stride=(2, 1), multiplier=3, narrow=True, bias=False),
    "narrow_dilated": convolution((9, 8), 3, 0, (3, 3), dilation=(3, 2), multiplier=1, narrow=True),
    "narrow_extreme": convolution((4, 5), 6, 0, (5, 5), multiplier=1, narrow=True, extreme=True),
    "narrow_weight_zero_points": convolution((4, 5), 6, 0, (3, 3), multiplier=1, w_zero_point=90, narrow=True),
}


def cases() -> list[Case]:
    return [Case(name, DepthwiseConv2d(), node, macs=count_macs) for name, node in NODES.items()]


def litert(node: Node, x: Array) -> Array:
    s, a = schema(), node.attrs
    model = single_op_model(
        "DEPTHWISE_CONV_2D",
        litert_inputs(node),
        node.out,
        "DepthwiseConv2DOptions",
        padding=getattr(s.Padding, litert_padding(node) or ""),
        strideH=a.stride[0],
        strideW=a.stride[1],
        dilationHFactor=a.dilation[0],
        dilationWFactor=a.dilation[1],
        depthMultiplier=node.out.shape[3] // x.shape[3],
        fusedActivationFunction=s.ActivationFunctionType.RELU if a.clamp else s.ActivationFunctionType.NONE,
    )
    return run_litert(model, [x])


EXPRESSIBLE = [n for n, node in NODES.items() if litert_padding(node) and "weight_zero_points" not in n]


@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_equals_litert(name: str) -> None:
    case = Case(name, DepthwiseConv2d(), NODES[name])
    for seed in range(5):
        (x, *_) = case.inputs(seed)
        assert x is not None
        np.testing.assert_array_equal(reference(case.node, x), litert(case.node, x))


@pytest.mark.parametrize("name", NODES)
def test_equals_brute_force(name: str) -> None:
    x = Case(name, DepthwiseConv2d(), NODES[name]).inputs(7)[0]
    assert x is not None
    np.testing.assert_array_equal(reference(NODES[name], x), brute_force(NODES[name], x)[0])
