"""Convolutions and fully connected layers of int16 activations against LiteRT's reference kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from harness import Run, run_kernels
from int16_cases import INT32, INT64, convolution, layer, litert_layer, named, reference, seeds, sums
from operator_cases import Case, constant

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.quant import Quant, multiply_by_quantized_multiplier, quantize_multiplier, reduced_multiplier
from tinycompile.ops.base import Operator
from tinycompile.ops.conv2d import Conv2d
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2d

# The sums beside a rounding step, small and near the ends of int16.
STEPS = np.concatenate([np.arange(-60, 60), np.arange(32740, 32775), -np.arange(32740, 32775)]) + 0.5
S_W, S_Y = 0.0011, 0.71  # their multiplier is rounded up to 15 bits


def near_steps(real: float, dtype: type) -> Array:
    return (np.round(STEPS / real).astype(np.int64)[:, None] + np.arange(-1, 2)).reshape(-1).astype(dtype)


def real_factor(s_y: float, s_w: float = S_W) -> float:
    return 0.25 * float(np.float32(s_w)) / float(np.float32(s_y))


CONVOLUTIONS = {
    "near_steps": sums(near_steps(real_factor(S_Y), INT64), "conv2d", S_W, S_Y),
    "near_steps_b32": sums(near_steps(real_factor(S_Y), INT32), "conv2d", S_W, S_Y),
    "pointwise": convolution((5, 6), 7, 9, (1, 1)),
    "pointwise_b32": convolution((5, 6), 4, 8, (1, 1), stride=(2, 2), relu=True, bias=INT32),
    "3x3_stride2_relu": convolution((8, 7), 3, 8, (3, 3), stride=(2, 2), relu=True),
    "3x3_b32": convolution((8, 7), 3, 6, (3, 3), bias=INT32),
    "3x3_valid": convolution((9, 8), 2, 4, (3, 3), stride=(3, 3), pad="VALID", bias=None),
    "3x3_dilated": convolution((9, 8), 2, 3, (3, 3), dilation=(2, 3)),
    "5x5_width1": convolution((6, 1), 3, 4, (5, 5)),
    "groups": convolution((4, 5), 6, 10, (3, 3), groups=2),
    "asymmetric_pad": convolution((5, 6), 2, 3, (3, 3), pad=(2, 0, 1, 3)),
    "pad_beyond_kernel": convolution((2, 3), 2, 3, (2, 2), pad=(3, 4, 4, 3)),
    "beyond_int32": convolution((3, 4), 300, 5, (3, 3), extreme=True, out_scale=3.0),
    "wraps_b32": convolution((3, 4), 300, 5, (3, 3), extreme=True, out_scale=3.0, bias=INT32),
    "large_multiplier": convolution((3, 4), 3, 4, (1, 1), out_scale=1e-8),
    "tiny_multiplier": convolution((3, 4), 3, 4, (1, 1), out_scale=1e6),
}
DEPTHWISE = {
    "dw_near_steps": sums(near_steps(real_factor(S_Y), INT64), "depthwise_conv2d", S_W, S_Y),
    "dw_3x3": convolution((7, 6), 5, 5, (3, 3), depthwise=True, relu=True),
    "dw_3x3_stride2": convolution((7, 8), 4, 4, (3, 3), stride=(2, 2), depthwise=True, bias=None),
    "dw_multiplier": convolution((5, 6), 3, 6, (3, 2), depthwise=True, dilation=(1, 2)),
    "dw_extreme": convolution((4, 5), 3, 3, (3, 3), depthwise=True, extreme=True),
    "dw_wide_kernel": convolution((3, 9), 2, 2, (1, 7), depthwise=True),
}
LAYERS = {
    "fc_near_steps": sums(near_steps(real_factor(S_Y), INT64), "fully_connected", S_W, S_Y),
    "fc_near_steps_b32": sums(near_steps(real_factor(S_Y), INT32), "fully_connected", S_W, S_Y),
    "fc_row": layer((1, 33), 10),
    "fc_b32_relu": layer((1, 16), 8, relu=True, bias=INT32, per_channel=False),
    "fc_rows": layer((5, 12), 7, bias=None),
    "fc_sequence": layer((1, 5, 12), 4, keep_dims=True),
    "fc_long": layer((2, 1025), 5, out_scale=1.0),
    "fc_tiny": layer((2, 12), 5, out_scale=1e9),
    "fc_large": layer((2, 12), 5, out_scale=1e-4),
}
NODES = {**CONVOLUTIONS, **DEPTHWISE, **LAYERS}


def count_macs(node: Node) -> int:
    taps = node.const(1)[..., 0] if node.op.kind == "depthwise_conv2d" else node.const(1)[0]
    return sum(1 for _ in np.ndindex(node.out.shape) for _ in np.ndindex(taps.shape))


def cases() -> list[Case]:
    return named(NODES, macs=count_macs)


# Paddings that are neither SAME nor VALID.
OTHER_PADDING = {"asymmetric_pad", "pad_beyond_kernel"}


@pytest.mark.parametrize("name", sorted(set(NODES) - OTHER_PADDING))
def test_equals_litert(name: str) -> None:
    for (x,) in seeds(NODES[name]):
        np.testing.assert_array_equal(reference(NODES[name], x), litert_layer(NODES[name], x))


@pytest.mark.parametrize("kind", ["conv2d", "fully_connected"])
@pytest.mark.parametrize("bias", [INT32, INT64])
@pytest.mark.parametrize("seed", range(12))
def test_rounds_as_litert_at_many_scales(kind: str, bias: type, seed: int) -> None:
    """Every rounding step of int16, each with the sums beside it."""
    s_y = float(np.random.default_rng(seed).uniform(0.02, 9.0))
    real = real_factor(s_y)
    steps = np.arange(-32768, 32768, 7)[:, None] + 0.5
    values = np.round(steps / real).astype(np.int64) + np.arange(-1, 2)
    node = sums(values.reshape(-1).astype(bias), kind, S_W, s_y)
    (x,) = seeds(node, 1)[0]
    np.testing.assert_array_equal(reference(node, x), litert_layer(node, x))


@pytest.mark.parametrize("s_w", [2.0**-9, 2.0**-9 * (1 - 2.0**-17), 2.9e-6])
def test_halves_of_fully_connected_layers(s_w: float) -> None:
    real = real_factor(0.5, s_w)
    values = near_steps(real, INT64)
    node = sums(values, "fully_connected", s_w, 0.5)
    (x,) = seeds(node, 1)[0]
    np.testing.assert_array_equal(reference(node, x), litert_layer(node, x))


def output(operator: Operator, node: Node, tmp_path: Path) -> Array:
    values = Case("control", operator, node).inputs(4)
    (got,) = run_kernels([Run(operator, node, values)], tmp_path)
    return got


def test_control_a_multiplier_of_31_bits_would_be_noticed() -> None:
    """LiteRT reduces the multiplier of int64 sums to 15 bits: neither the full one nor one cut off gives the same."""
    node = CONVOLUTIONS["near_steps"]
    real = real_factor(S_Y)
    wanted = litert_layer(node, np.zeros((1, 1, 1, 1), dtype=np.int16)).reshape(-1)
    acc = node.const(2)
    full = np.clip(multiply_by_quantized_multiplier(acc, *quantize_multiplier(real)), -32768, 32767)
    multiplier, shift = reduced_multiplier(real)
    assert (multiplier << 16) > quantize_multiplier(real)[0], "choose a scale whose multiplier is rounded up"
    cut = np.clip((acc * (multiplier - 1) + (1 << (14 - shift))) >> (15 - shift), -32768, 32767)
    assert (full != wanted).any()
    assert (cut != wanted).any()


@pytest.mark.parametrize("kind", [Conv2d, DepthwiseConv2d])
def test_control_another_rounding_of_the_reduced_multiplier(
    kind: type[Operator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = NODES["near_steps" if kind is Conv2d else "dw_near_steps"]
    expected = reference(node, np.zeros((1, 1, 1, 1), dtype=np.int16)).reshape(1, 1, -1)
    assert np.array_equal(output(kind(), node, tmp_path), expected)

    def cut_off(real: float) -> tuple[int, int]:
        multiplier, shift = quantize_multiplier(real)
        return multiplier >> 16, shift

    monkeypatch.setattr("tinycompile.ops.convolution.reduced_multiplier", cut_off)
    assert not np.array_equal(output(kind(), node, tmp_path), expected)


def test_control_sums_of_int32_would_be_noticed() -> None:
    """`beyond_int32` is: its sums do not fit."""
    node = CONVOLUTIONS["beyond_int32"]
    assert max(np.abs(node.const(1).astype(np.int64)).reshape(5, -1).sum(axis=1)) * 32767 > 2**31
    bias = constant("b", node.const(2).astype(np.int32))
    narrow = replace(node, inputs=(*node.inputs[:2], bias))
    (lowest,) = seeds(node, 1)[0]
    assert (reference(node, lowest) != reference(narrow, lowest)).any()


def test_what_has_no_kernel_is_refused() -> None:
    node = CONVOLUTIONS["pointwise"]
    x = replace(node.tensor(0), quant=Quant((0.1,), (3,)))
    assert "zero point" in (Conv2d().unsupported(replace(node, inputs=(x, *node.inputs[1:]))) or "")
    huge = sums(np.array([2**40]), "conv2d", S_W, S_Y)
    assert "sums" in (Conv2d().unsupported(huge) or "")
    fine = convolution((3, 4), 3, 4, (1, 1), out_scale=1e-12)
    assert "finer" in (Conv2d().unsupported(fine) or "")
    long = convolution((1, 600), 1, 1, (1, 600), depthwise=True)
    assert "512" in (DepthwiseConv2d().unsupported(long) or "")
