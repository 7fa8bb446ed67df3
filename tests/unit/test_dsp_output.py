"""The output stage of packed kernels, in NumPy, against LiteRT's double rounding over what a node can reach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinycompile.ir.graph import Node, Op, SourceLoc, Tensor
from tinycompile.ir.quant import Quant, multiply_by_quantized_multiplier
from tinycompile.ir.types import DType
from tinycompile.ops.base import DSP, ConstArray
from tinycompile.ops.conv2d import Conv2d, Conv2dAttrs
from tinycompile.ops.convolution import output_multipliers
from tinycompile.ops.dsp_output import dsp_arrays, reachable


def pointwise(weights: np.ndarray, bias: list[int], scales: list[float], zero_points: tuple[int, int]) -> Node:
    outputs, inputs = weights.shape
    w = Tensor(
        "w",
        (outputs, 1, 1, inputs),
        DType.INT8,
        Quant(tuple(scales), (0,) * outputs, 0),
        weights.reshape(outputs, 1, 1, inputs).astype(np.int8),
    )
    x = Tensor("x", (1, 1, 1, inputs), DType.INT8, Quant((1.0,), (zero_points[0],)))
    b = Tensor("b", (outputs,), DType.INT32, None, np.array(bias, dtype=np.int32))
    y = Tensor("y", (1, 1, 1, outputs), DType.INT8, Quant((1.0,), (zero_points[1],)))
    op = Op("conv2d", "conv", ("x", "w", "b"), ("y",), Conv2dAttrs(), SourceLoc("CONV_2D", "0"))
    return Node(op, (x, w, b), (y,))


def stage(acc: np.ndarray, arrays: tuple[ConstArray, ...], zero_point: int) -> np.ndarray:
    """`tc_dsp_output_s8`, every value checked to be an int32."""
    _, _, multiplier, shift = (a.data.astype(np.int64) for a in arrays)
    x = acc + ((acc * multiplier + (1 << 31)) >> 32)
    half = (2 * zero_point + 1) << shift
    total = x + (x >> 31) + (half >> 1)
    for value in (acc, x, half, total):
        assert np.abs(value).max() < 1 << 31
    return np.clip(total >> shift, -128, 127)


@settings(max_examples=300, deadline=None)
@given(
    weights=st.lists(st.lists(st.integers(-128, 127), min_size=3, max_size=3), min_size=1, max_size=4),
    exponents=st.lists(st.floats(-34, 2), min_size=4, max_size=4),
    dyadic=st.booleans(),
    bias=st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(-5000, 5000), min_size=4, max_size=4),
    zero_points=st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
    seed=st.integers(0, 99),
)
def test_the_stage_is_the_double_rounding(
    weights: list[list[int]],
    exponents: list[float],
    dyadic: bool,
    bias: list[int],
    zero_points: tuple[int, int],
    seed: int,
) -> None:
    taps = np.array(weights, dtype=np.int64)
    scales = [float(np.float32(2.0 ** (round(e) if dyadic else e))) for e in exponents[: len(taps)]]
    node = pointwise(taps, bias[: len(taps)], scales, zero_points)
    arrays = dsp_arrays(node, taps.reshape(len(taps), 1, 1, -1), folded=True)
    if arrays is None:
        return
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.integers(-128, 128, (200, 3)), [[-128] * 3, [127] * 3]])
    acc = (x - zero_points[0]) @ taps.T + np.array(bias[: len(taps)])
    expected = np.clip(
        multiply_by_quantized_multiplier(acc.astype(np.int32), *output_multipliers(node, len(taps))) + zero_points[1],
        -128,
        127,
    )
    packed = x @ arrays[0].data.reshape(len(taps), 3).astype(np.int64).T + arrays[1].data
    np.testing.assert_array_equal(stage(packed, arrays, zero_points[1]), expected)


def test_reachable_accumulators_are_the_extremes() -> None:
    taps, bias = np.array([[3, -2], [0, 0]]), np.array([10, -4])
    x = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)), axis=-1).reshape(-1, 2)
    acc = (x - 5) @ taps.T + bias
    ends = reachable(taps, bias, 5)
    np.testing.assert_array_equal(ends.least, acc.min(axis=0))
    np.testing.assert_array_equal(ends.most, acc.max(axis=0))


@pytest.mark.parametrize("scale", [0.6, 2.0])
def test_scales_without_a_right_shift_have_no_such_form(scale: float) -> None:
    taps = np.array([[1, 2, 3]])
    node = pointwise(taps, [0], [scale], (0, 0))
    assert dsp_arrays(node, taps.reshape(1, 1, 1, 3), folded=True) is None
    assert DSP not in Conv2d().variants(node)


def test_a_channel_of_one_value_loses_its_weights() -> None:
    taps = np.array([[100, -100, 3], [1, 2, 3]])
    node = pointwise(taps, [2**30, 0], [2.0**-31 * 90, 2.0**-4], (-128, -128))
    arrays = dsp_arrays(node, taps.reshape(2, 1, 1, 3), folded=True)
    assert arrays is not None
    assert not arrays[0].data[0].any()
    assert arrays[0].data[1].any()
