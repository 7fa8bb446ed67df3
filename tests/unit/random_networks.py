"""Small random networks for property tests: branches, strides, dilation, odd sizes, uneven padding, concat, resize,
pooling, skip connections over windows of different height, and a head that reduces whole maps; and of inverted
bottlenecks."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from schedule_graphs import QUANT, GraphBuilder

from tinycompile.ir.graph import Graph
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.avg_pool2d import AvgPool2dAttrs
from tinycompile.ops.conv2d import Conv2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.max_pool2d import MaxPool2dAttrs
from tinycompile.ops.resize import ResizeAttrs
from tinycompile.passes.fuse_bottlenecks import bottlenecks, fuse_bottlenecks

_KINDS = (
    *("conv2d", "conv2d", "depthwise", "depthwise", "max_pool2d", "avg_pool2d"),
    *("add", "add", "clip", "concat_rows", "concat_channels", "resize"),
)
Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int, int, int]]


@st.composite
def networks(draw: st.DrawFn, ops: int = 6, inputs: int = 1) -> Graph:
    """A graph of up to `ops` operators, of int8 or of int16, that all lead to an output."""
    dtype = draw(st.sampled_from((DType.INT8, DType.INT8, DType.INT16)))
    b = GraphBuilder(np.random.default_rng(draw(st.integers(0, 2**16))), dtype=dtype)
    height, width = draw(st.integers(3, 11)), draw(st.integers(1, 5))
    maps = [b.input((1, height, width, draw(st.integers(1, 4)))) for _ in range(inputs)]
    for _ in range(draw(st.integers(1, ops))):
        maps.append(_operator(draw, b, maps))
    used = {i for op in b.ops for i in op.inputs}
    ends = [m for m in maps if m not in used]
    if draw(st.booleans()):
        ends[-1] = b.mean(ends[-1])
    return b.graph(ends)


@st.composite
def tileable_networks(draw: st.DrawFn, ops: int = 5) -> Graph:
    """Maps of a few columns, some of many channels, that lead to one another: what it pays to cut into tiles. Now and
    then an addition, and a reduction at the end."""
    b = GraphBuilder(np.random.default_rng(draw(st.integers(0, 2**16))))
    x = b.input((1, draw(st.integers(3, 9)), draw(st.integers(2, 7)), draw(st.integers(1, 2))))
    for _ in range(draw(st.integers(2, ops))):
        shape = b.tensors[x].shape
        kernel, stride, dilation, pad = _window(draw, shape)
        if draw(st.booleans()):
            stride = (1, 1)
        kind = draw(st.sampled_from(("conv", "conv", "conv", "depthwise", "pool", "add")))
        if kind == "conv":  # few channels behind many
            channels = (1, 1, 2) if shape[3] > 2 else (1, 4, 8, 8)
            x = conv(b, x, draw(st.sampled_from(channels)), kernel, stride, dilation, pad)
        elif kind == "depthwise":
            x = depthwise(b, x, kernel, stride, dilation, pad)
        elif kind == "pool":
            x = b.op("max_pool2d", (x,), MaxPool2dAttrs(kernel, stride, pad, None, dilation))
        else:
            x = b.add(x, conv(b, x, shape[3], (1, 1)))
    if draw(st.booleans()):
        x = b.mean(x)
    return b.graph([x])


@st.composite
def fused_networks(draw: st.DrawFn) -> tuple[Graph, Graph]:
    """A network of bottlenecks, and the same with one or more of them fused: some keep what they expand, others expand
    it again for every row, or every few rows."""
    graph = draw(bottleneck_networks())
    names = [block.name for block in bottlenecks(graph)]
    ways = [draw(st.sampled_from((0, 0, 1, 2, 3, None))) for _ in names[1:]]  # rows in a step; 0: kept, None: apart
    chosen = dict(zip(names, [*ways, draw(st.sampled_from((0, 0, 2, 3)))], strict=True))
    one = fuse_bottlenecks(
        graph, {name: rows for name, rows in chosen.items() if rows}, [n for n, rows in chosen.items() if rows == 0]
    )
    return graph, one


@st.composite
def bottleneck_networks(draw: st.DrawFn, blocks: int = 3) -> Graph:
    """Inverted bottlenecks one behind the other, some with a residual addition, the inner maps with other quantisation;
    other operators before and behind."""
    b = GraphBuilder(np.random.default_rng(draw(st.integers(0, 2**16))))
    x = b.input((1, draw(st.integers(3, 11)), draw(st.integers(1, 6)), draw(st.integers(1, 4))))
    if draw(st.booleans()):
        x = conv(b, x, draw(st.integers(1, 4)), *_window(draw, b.tensors[x].shape))
    for _ in range(draw(st.integers(1, blocks))):
        x = _bottleneck(draw, b, x)
    if draw(st.booleans()):
        x = b.mean(x)
    return b.graph([x])


def _bottleneck(draw: st.DrawFn, b: GraphBuilder, x: str) -> str:
    shape = b.tensors[x].shape
    kernel, stride, dilation, pad = _window(draw, shape)
    residual = draw(st.booleans())
    if residual:  # a window that keeps the map's size
        stride, dilation = (1, 1), (1, 1)
        pad = ((kernel[0] - 1) // 2, kernel[0] // 2, (kernel[1] - 1) // 2, kernel[1] // 2)
    quants = [Quant((draw(st.sampled_from((0.04, 0.11))),), (draw(st.integers(-128, 127)),)) for _ in range(2)]
    clamps = [draw(st.sampled_from((None, (q.zero_point[0], 127)))) for q in quants]
    expanded = conv(b, x, draw(st.integers(1, 9)), (1, 1), quant=quants[0], clamp=clamps[0])
    filtered = depthwise(b, expanded, kernel, stride, dilation, pad, quant=quants[1], clamp=clamps[1])
    y = conv(b, filtered, shape[3] if residual else draw(st.integers(1, 4)), (1, 1))
    return b.add(x, y) if residual else y


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
        return depthwise(b, x, kernel, stride, dilation, pad)
    if kind == "max_pool2d":
        return b.op("max_pool2d", (x,), MaxPool2dAttrs(kernel, stride, pad, None, dilation))
    if kind == "avg_pool2d":
        small = (min(kernel[0], shape[1]), min(kernel[1], shape[2]))
        return b.op("avg_pool2d", (x,), AvgPool2dAttrs(small, stride, (0, 0, 0, 0)))
    return conv(b, x, draw(st.integers(1, 6)), kernel, stride, dilation, pad)


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


def conv(
    b: GraphBuilder,
    x: str,
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pad: tuple[int, int, int, int] = (0, 0, 0, 0),
    quant: Quant = QUANT,
    clamp: tuple[int, int] | None = None,
) -> str:
    weights = b.rng.integers(-127, 128, (channels, *kernel, b.tensors[x].shape[3])).astype(np.int8)
    w = b.const(weights, Quant((0.02,) * channels, (0,) * channels, 0))
    bias = b.const(b.rng.integers(-500, 500, channels).astype(np.int32))
    return b.op("conv2d", (x, w, bias), Conv2dAttrs(stride, dilation, pad, clamp=clamp), quant)


def depthwise(
    b: GraphBuilder,
    x: str,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pad: tuple[int, int, int, int] = (0, 0, 0, 0),
    quant: Quant = QUANT,
    clamp: tuple[int, int] | None = None,
) -> str:
    channels = b.tensors[x].shape[3]
    w = b.const(
        b.rng.integers(-127, 128, (1, *kernel, channels)).astype(np.int8),
        Quant((0.02,) * channels, (0,) * channels, 3),
    )
    bias = b.const(b.rng.integers(-500, 500, channels).astype(np.int32))
    return b.op("depthwise_conv2d", (x, w, bias), DepthwiseConv2dAttrs(stride, dilation, pad, clamp), quant)
