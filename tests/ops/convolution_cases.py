"""Example convolutions, and the same sums by brute force in Python integers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from operator_cases import activation, constant, make_node

from tinycompile.ir.graph import Array, Node, Tensor
from tinycompile.ir.quant import Quant, narrowed, offset_values
from tinycompile.ops.base import Operator
from tinycompile.ops.conv2d import Conv2d, Conv2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2d, DepthwiseConv2dAttrs
from tinycompile.ops.registry import operator

Pair = tuple[int, int]


def same_padding(size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    """TFLite SAME, as (top, bottom, left, right)."""
    result = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
        result += [total // 2, total - total // 2]
    return result[0], result[1], result[2], result[3]


def weight_quant(channels: int, axis: int, per_channel: bool, zero_point: int, rng: np.random.Generator) -> Quant:
    count = channels if per_channel else 1
    scales = tuple(float(np.float32(s)) for s in rng.uniform(0.001, 0.02, count))
    zeros = tuple(int(z) for z in rng.integers(-zero_point, zero_point, count, endpoint=True))
    return Quant(scales, zeros, axis if per_channel else None)


def random_weights(shape: tuple[int, ...], rng: np.random.Generator, extreme: bool, narrow: bool) -> Array:
    """All integers of 8 bits, of 4 where `narrow`; the least and the largest alone where `extreme`."""
    low, high = (-8, 7) if narrow else (-128, 127)
    w = rng.integers(low, high, shape, endpoint=True)
    return np.asarray(np.where(w & 1, low, high) if extreme else w)


def narrow_weights(values: Array, quant: Quant) -> tuple[Array, Quant]:
    """Weights of 4 bits whose values, less their zero points, are `values`."""
    stored = values - offset_values(np.zeros(values.shape, dtype=np.int8), quant)
    made = narrowed(stored, quant)
    assert made.bits == 4
    return stored, made


def convolution(
    size: Pair,
    channels: int,
    filters: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    pad: tuple[int, int, int, int] | str = "SAME",
    groups: int = 1,
    multiplier: int = 0,
    bias: bool = True,
    relu: bool = False,
    per_channel: bool = True,
    w_zero_point: int = 0,
    zero_points: Pair = (-5, 7),
    out_scale: float = 0.07,
    extreme: bool = False,
    ties: bool = False,
    narrow: bool = False,
    seed: int = 0,
) -> Node:
    """A convolution node; depthwise with `multiplier` output channels per channel when that is not 0.

    `extreme`: weights all -128 or 127. `ties`: every sixteenth accumulator is half way between two outputs. `narrow`:
    weights of 4 bits.
    """
    rng = np.random.default_rng(seed)
    depthwise = multiplier > 0
    filters = channels * multiplier if depthwise else filters
    shape = (1, *kernel, filters) if depthwise else (filters, *kernel, channels // groups)
    w = random_weights(shape, rng, extreme, narrow)
    quant = weight_quant(filters, 3 if depthwise else 0, per_channel, w_zero_point, rng)
    if ties:  # steps of 2^-4
        w, quant, out_scale = rng.integers(-3, 3, shape, endpoint=True), Quant((0.25,), (0,)), 2.0
    if narrow:
        w, quant = narrow_weights(w, quant)
    if pad == "SAME":
        pad = same_padding(size, kernel, stride, dilation)
    elif pad == "VALID":
        pad = (0, 0, 0, 0)
    assert not isinstance(pad, str)
    clamp = (zero_points[1], 127) if relu else None
    attrs: Conv2dAttrs | DepthwiseConv2dAttrs
    if depthwise:
        attrs = DepthwiseConv2dAttrs(stride, dilation, pad, clamp)
    else:
        attrs = Conv2dAttrs(stride, dilation, pad, groups, clamp)
    operator: Operator = DepthwiseConv2d() if depthwise else Conv2d()
    values = rng.integers(-3000, 3000, filters).astype(np.int32)
    return make_node(
        operator,
        (
            activation("x", (1, *size, channels), 0.5 if ties else 0.05, zero_points[0]),
            constant("w", w.astype(np.int8), quant),
            constant("b", values) if bias else None,
        ),
        activation("y", (), out_scale, zero_points[1]),
        attrs,
    )


def requantize(acc: int, real: float) -> int:
    """LiteRT's MultiplyByQuantizedMultiplier as written in gemmlowp, in Python integers."""
    mantissa, shift = math.frexp(real)
    q = math.floor(mantissa * 2**31 + 0.5)
    if q == 2**31:
        q, shift = q // 2, shift + 1
    x = acc * 2 ** max(shift, 0)
    nudge = 2**30 if x * q >= 0 else 1 - 2**30
    product = x * q + nudge
    high: int = -(-product // 2**31) if product < 0 else product // 2**31
    exponent = max(-shift, 0)
    mask = 2**exponent - 1
    remainder = high & mask
    return (high >> exponent) + (1 if remainder > (mask >> 1) + (1 if high < 0 else 0) else 0)


def near_halves(depthwise: bool) -> Node:
    """One pixel with an output channel for each accumulator beside a rounding step (weights are 0)."""
    real = float(np.float32(0.05)) * float(np.float32(0.0011)) / float(np.float32(0.07))
    halves = np.round((np.arange(-130, 130) + 0.5) / real).astype(np.int64)
    bias = (halves[:, None] + np.arange(-1, 2)).reshape(-1).astype(np.int32)
    shape = (1, 1, 1, bias.size) if depthwise else (bias.size, 1, 1, 1)
    w = constant("w", np.zeros(shape, dtype=np.int8), Quant((float(np.float32(0.0011)),), (0,)))
    operator: Operator = DepthwiseConv2d() if depthwise else Conv2d()
    attrs = DepthwiseConv2dAttrs() if depthwise else Conv2dAttrs()
    inputs = (activation("x", (1, 1, 1, 1), 0.05, 0), w, constant("b", bias))
    return make_node(operator, inputs, activation("y", (), 0.07, 0), attrs)


def brute_force(node: Node, x: Array) -> tuple[Array, int]:
    """Output and number of multiply-accumulates of a convolution, tap by tap; a grouped or depthwise one alike."""
    a: Any = node.attrs
    w, (s_x, zp_x), (s_y, zp_y) = node.const(1), node.tensor(0).quant.scalar(), node.out.quant.scalar()  # type: ignore[union-attr]
    depthwise = node.op.kind == "depthwise_conv2d"
    _, out_h, out_w, filters = node.out.shape
    channels = x.shape[3]
    kh, kw, depth = w.shape[1], w.shape[2], 1 if depthwise else w.shape[3]
    groups = channels // depth
    quant = node.tensor(1).quant
    assert quant is not None
    scales, zeros = quant.channels(filters)
    lo, hi = a.clamp or (-128, 127)
    out = np.zeros((out_h, out_w, filters), dtype=np.int8)
    macs = 0
    for oy in range(out_h):
        for ox in range(out_w):
            for f in range(filters):
                acc = int(node.const(2)[f]) if node.inputs[2] is not None else 0
                for ky in range(kh):
                    for kx in range(kw):
                        iy, ix = (
                            oy * a.stride[0] - a.pad[0] + ky * a.dilation[0],
                            ox * a.stride[1] - a.pad[2] + kx * a.dilation[1],
                        )
                        for c in range(depth):
                            macs += 1
                            if 0 <= iy < x.shape[1] and 0 <= ix < x.shape[2]:
                                weight = int(w[0, ky, kx, f] if depthwise else w[f, ky, kx, c]) - zeros[f]
                                acc += (int(x[0, iy, ix, f // (filters // groups) * depth + c]) - zp_x) * weight
                out[oy, ox, f] = min(max(requantize(acc, s_x * scales[f] / s_y) + zp_y, lo), hi)
    return out.reshape(node.out.shape), macs


def count_macs(node: Node) -> int:
    return brute_force(node, np.zeros(node.tensor(0).shape, dtype=np.int8))[1]


def litert_padding(node: Node) -> str | None:
    """SAME or VALID when a TFLite model can express the node's padding, else None."""
    a: Any = node.attrs
    size = (node.tensor(0).shape[1], node.tensor(0).shape[2])
    kernel = a.kernel if hasattr(a, "kernel") else (node.tensor(1).shape[1], node.tensor(1).shape[2])
    if a.pad == (0, 0, 0, 0):
        return "VALID"
    return "SAME" if a.pad == same_padding(size, kernel, a.stride, getattr(a, "dilation", (1, 1))) else None


def litert_inputs(node: Node) -> tuple[Tensor | None, ...]:
    """LiteRT's integer convolutions want a bias: zeros where the node has none."""
    x, w, bias = node.inputs
    return x, w, bias or constant("b", np.zeros(node.out.shape[-1], dtype=np.int32))


def reference(node: Node, x: Array) -> Array:
    return operator(node.op.kind).reference(node, (x, *(None for _ in node.inputs[1:])))
