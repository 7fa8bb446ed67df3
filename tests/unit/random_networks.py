"""Small random networks for property tests: branches, strides, dilation, odd sizes, uneven padding, concat, resize,
pooling, skip connections over windows of different height, and a head that reduces whole maps."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from schedule_graphs import QUANT, GraphBuilder

from tinycompile.ir.graph import Graph
from tinycompile.ir.quant import Quant
from tinycompile.ops.avg_pool2d import AvgPool2dAttrs
from tinycompile.ops.conv2d import Conv2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.max_pool2d import MaxPool2dAttrs
from tinycompile.ops.resize import ResizeAttrs

_KINDS = (
    *("conv2d", "conv2d", "depthwise", "depthwise", "max_pool2d", "avg_pool2d"),
    *("add", "add", "clip", "concat_rows", "concat_channels", "resize"),
)
Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int, int, int]]


@st.composite
def networks(draw: st.DrawFn, ops: int = 6, inputs: int = 1) -> Graph:
    """A graph of up to `ops` operators that all lead to an output."""
    b = GraphBuilder(np.random.default_rng(draw(st.integers(0, 2**16))))
    height, width = draw(st.integers(3, 11)), draw(st.integers(1, 5))
    maps = [b.input((1, height, width, draw(st.integers(1, 4)))) for _ in range(inputs)]
    for _ in range(draw(st.integers(1, ops))):
        maps.append(_operator(draw, b, maps))
    used = {i for op in b.ops for i in op.inputs}
    ends = [m for m in maps if m not in used]
    if draw(st.booleans()):
        ends[-1] = b.mean(ends[-1])
    return b.graph(ends)


def _operator(draw: st.DrawFn, b: GraphBuilder, maps: list[str]) -> str:
    x = maps[draw(st.integers(max(0, len(maps) - 4), len(maps) - 1))]
    shape = b.tensors[x].shape
    same = [m for m in maps if b.tensors[m].shape == shape]
    peer = same[draw(st.integers(0, len(same) - 1))]
    kind = draw(st.sampled_from(_KINDS))
    if kind == "add":
        return b.add(x, peer)
    if kind == "clip":
        return b.relu(x)
    if kind == "concat_rows" and shape[1] <= 12:
        return b.concat(x, peer, axis=1)
    if kind == "concat_channels" and shape[3] <= 8:
        return b.concat(x, peer, axis=3)
    if kind == "resize" and shape[1] <= 8:
        size = draw(st.integers(1, 12)), draw(st.integers(1, 5))
        return b.op(draw(st.sampled_from(["resize_nearest", "resize_bilinear"])), (x,), ResizeAttrs(size))
    kernel, stride, dilation, pad = _window(draw, shape)
    if kind == "depthwise":
        return _depthwise(b, x, kernel, stride, dilation, pad)
    if kind == "max_pool2d":
        return b.op("max_pool2d", (x,), MaxPool2dAttrs(kernel, stride, pad, None, dilation))
    if kind == "avg_pool2d":
        small = (min(kernel[0], shape[1]), min(kernel[1], shape[2]))
        return b.op("avg_pool2d", (x,), AvgPool2dAttrs(small, stride, (0, 0, 0, 0)))
    return _conv(b, x, draw(st.integers(1, 6)), kernel, stride, dilation, pad)


def _window(draw: st.DrawFn, shape: tuple[int, ...]) -> Window:
    """Kernel, stride, dilation and uneven padding with at least one output row and column, no padding beyond a
    window."""
    axes = []
    for size in (shape[1], shape[2]):
        kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        reach = (kernel - 1) * dilation
        if reach >= size:
            kernel, dilation, reach = 1, 1, 0
        before, after = draw(st.integers(0, reach)), draw(st.integers(0, reach))
        axes.append((kernel, draw(st.integers(1, 3)), dilation, before, after))
    (kh, sh, dh, top, bottom), (kw, sw, dw, left, right) = axes
    return (kh, kw), (sh, sw), (dh, dw), (top, left, bottom, right)


def _conv(
    b: GraphBuilder,
    x: str,
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int, int, int],
) -> str:
    weights = b.rng.integers(-127, 128, (channels, *kernel, b.tensors[x].shape[3])).astype(np.int8)
    w = b.const(weights, Quant((0.02,) * channels, (0,) * channels, 0))
    bias = b.const(b.rng.integers(-500, 500, channels).astype(np.int32))
    return b.op("conv2d", (x, w, bias), Conv2dAttrs(stride, dilation, pad), QUANT)


def _depthwise(
    b: GraphBuilder,
    x: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int, int, int],
) -> str:
    channels = b.tensors[x].shape[3]
    w = b.const(
        b.rng.integers(-127, 128, (1, *kernel, channels)).astype(np.int8),
        Quant((0.02,) * channels, (0,) * channels, 3),
    )
    bias = b.const(b.rng.integers(-500, 500, channels).astype(np.int32))
    return b.op("depthwise_conv2d", (x, w, bias), DepthwiseConv2dAttrs(stride, dilation, pad), QUANT)
