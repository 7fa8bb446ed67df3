"""Windows over volumes and batches, in passes over single maps: pooling, power averages, responses of neighbours,
convolutions.

Pooling treats every sample and channel alike, so that a batch runs as more channels, and a window over a volume as one
over its maps and then one over their depth. A convolution of a volume is one of maps for each depth of its output, of
the depths it reads as more channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.frontends.onnx.builder import Builder
from tinycompile.frontends.onnx.functions import apply, number, power_of
from tinycompile.frontends.onnx.selection import select
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.frontends.onnx.windows import NO_WINDOW, AxisWindow, TransposedAxis, Window, axis_windows, of_map
from tinycompile.ir.graph import Array, Tensor
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.conv2d import Conv2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.max_pool2d import MaxPool2dAttrs

PoolOfMap = Callable[[Tensor, Window], Tensor]  # of an NHWC map


def is_single_map(x: Tensor) -> bool:
    """Whether `x` is one map or sequence, for which there are operators."""
    return len(x.shape) in (3, 4) and x.shape[0] == 1


def pooled(b: Builder, n: SourceNode, x: Tensor, windows: Sequence[AxisWindow], pool: PoolOfMap) -> Tensor:
    """`x` [N,C,...] pooled along each axis behind the first two, at most two axes at a time."""
    for first in range(2, len(x.shape), 2):
        pair = list(windows[first - 2 : first])
        if len(pair) == 1:
            pair.append(NO_WINDOW)
        after = x.shape[first + 2 :]
        height, width = x.shape[first], x.shape[first + 1] if len(x.shape) > first + 1 else 1
        if len(after) > 0:  # what follows becomes channels: NHWC as it lies
            lead = x.shape[:first]
            folded = b.reshape(n, x, (math.prod(lead), height, width, math.prod(after)))
            folded = b.transpose(n, folded, (1, 2, 0, 3))
            y = pool(b.reshape(n, folded, (1, height, width, x.elems // (height * width))), of_map(*pair))
            y = b.reshape(n, y, (*y.shape[1:3], math.prod(lead), math.prod(after)))
            x = b.reshape(n, b.transpose(n, y, (2, 0, 1, 3)), (*lead, *y.shape[:2], *after))
            continue
        lead = x.shape[:first]
        y = b.to_map(n, b.reshape(n, x, (1, math.prod(lead), height, width)))
        y = b.from_map(n, pool(y, of_map(*pair)), 4)
        x = b.reshape(n, y, (*lead, *y.shape[2 : 2 + len(x.shape) - first]))
    return x


def max_pooled(b: Builder, n: SourceNode, x: Tensor, windows: Sequence[AxisWindow]) -> Tensor:
    def pool(y: Tensor, w: Window) -> Tensor:
        return b.emit(n, "max_pool2d", [y], MaxPool2dAttrs(w.kernel, w.stride, w.pad, None, w.dilation), dtype=y.dtype)

    return pooled(b, n, x, windows, pool)


def summed(b: Builder, n: SourceNode, x: Tensor, windows: Sequence[AxisWindow]) -> Tensor:
    """The sum over each window; padding adds nothing."""

    def pool(y: Tensor, w: Window) -> Tensor:
        ones = b.add_constant(np.ones((1, *w.kernel, y.shape[3]), dtype=np.float32), f"{n.loc.node}/ones", n)
        return b.emit(n, "depthwise_conv2d", [y, ones], DepthwiseConv2dAttrs(w.stride, w.dilation, w.pad))

    return pooled(b, n, x, windows, pool)


def averaged(b: Builder, n: SourceNode, x: Tensor, windows: Sequence[AxisWindow], include_pad: bool) -> Tensor:
    """The average over each window, of what lies in the input, or in its padding too."""
    counts = np.ones((), dtype=np.float32)
    for w, size in zip(windows, x.shape[2:], strict=True):
        low, high = (-w.before, size + w.after - w.grown) if include_pad else (0, size)
        inside = [sum(low <= t < high for t in taps) for taps in w.taps(size)]
        counts = counts[..., None] * np.array(inside, dtype=np.float32)
    if not counts.all():
        raise n.unsupported("an average over a window that lies in the padding")
    total = summed(b, n, x, windows)
    return apply(b, n, "div", [total, b.add_constant(counts, f"{n.loc.node}/counts", n)])


def lp_pool(b: Builder, n: SourceNode) -> Tensor:
    """The p-norm over each window."""
    x, p = b.real(n, 0), n.integer("p", 2)
    if p < 1:
        raise n.unsupported(f"pooling of order {p}")
    powers = power_of(b, n, apply(b, n, "abs", [x]), p)
    return power_of(b, n, summed(b, n, powers, axis_windows(n, x.shape[2:])), 1 / p)


def local_response_normalization(b: Builder, n: SourceNode) -> Tensor:
    """x / (bias + alpha / size * the squares of `size` neighbouring channels) ** beta."""
    x, size = b.real(n, 0), n.integer("size", 0)
    if size < 1 or len(x.shape) < 2:
        raise n.unsupported(f"normalisation over {size} channels of {list(x.shape)}")
    batch, channels = x.shape[:2]
    squares = b.reshape(n, apply(b, n, "mul", [x, x]), (1, batch, channels, x.elems // (batch * channels)))
    before = (size - 1) // 2
    total = summed(b, n, squares, [AxisWindow(size, before=before, after=size - 1 - before), NO_WINDOW])
    share = apply(b, n, "mul", [b.reshape(n, total, x.shape), number(b, n, n.real("alpha", 1e-4) / size)])
    base = apply(b, n, "add", [share, number(b, n, n.real("bias", 1.0))])
    return apply(b, n, "div", [x, power_of(b, n, base, n.real("beta", 0.75))])


def by_sample(b: Builder, n: SourceNode, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """What `run` makes of each sample of a batch."""
    rest = [range(d) for d in x.shape[1:]]
    parts = [run(select(b, n, x, [(k,), *rest])) for k in range(x.shape[0])]
    return parts[0] if len(parts) == 1 else b.emit(n, "concat", parts, ConcatAttrs(0))


def volume_convolution(
    b: Builder, n: SourceNode, x: Tensor, w: Array, bias: Tensor | None, windows: Sequence[AxisWindow], groups: int
) -> Tensor:
    """`x` [N,C,D,H,W], `w` [O,C/groups,KD,KH,KW]."""
    if len(x.shape) != 5 or w.ndim != 5:
        raise n.unsupported(f"a convolution of {len(x.shape)} dimensions with weights {list(w.shape)}")
    if groups < 1 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ShapeError(
            f"weights {list(w.shape)} in {groups} groups do not fit {x.shape[1]} channels", str(n), "check the export"
        )
    outputs, each, depth = w.shape[:3]
    flat = np.ascontiguousarray(w.reshape(outputs, each * depth, *w.shape[3:]).transpose(0, 2, 3, 1))
    filters = b.add_constant(flat, f"{n.inputs[1]}/maps", n)
    deep, plane = windows[0], of_map(*windows[1:])
    attrs = Conv2dAttrs(plane.stride, plane.dilation, plane.pad, groups)

    def one(sample: Tensor) -> Tensor:
        _, channels, size, height, width = sample.shape
        maps = []
        for taps in deep.taps(size):
            inside = [t if 0 <= t < size else -1 for t in taps]
            part = select(b, n, sample, [(0,), range(channels), inside, range(height), range(width)])
            part = b.to_map(n, b.reshape(n, part, (1, channels * depth, height, width)))
            inputs = [part, filters] if bias is None else [part, filters, bias]
            y = b.from_map(n, b.emit(n, "conv2d", inputs, attrs), 4)
            maps.append(b.reshape(n, y, (1, outputs, 1, *y.shape[2:])))
        return maps[0] if len(maps) == 1 else b.emit(n, "concat", maps, ConcatAttrs(2))

    return by_sample(b, n, x, one)


def transposed_volume_convolution(
    b: Builder, n: SourceNode, x: Tensor, w: Array, bias: Tensor | None, axes: Sequence[TransposedAxis], groups: int
) -> Tensor:
    """`x` [N,C,D,H,W], `w` [C,O/groups,KD,KH,KW]: a convolution with the mirrored weights of the input with zeros
    between its elements and around them."""
    indices: list[Sequence[int]] = [range(x.shape[0]), range(x.shape[1])]
    for axis, size in zip(axes, x.shape[2:], strict=True):
        first = axis.before - (axis.kernel - 1) * axis.dilation
        places = range(first, axis.before + axis.out)
        stride = axis.stride
        indices.append([p // stride if p % stride == 0 and 0 <= p // stride < size else -1 for p in places])
    spread = select(b, n, x, indices)
    mirrored = np.flip(w.reshape(groups, w.shape[0] // groups, *w.shape[1:]), axis=(3, 4, 5)).swapaxes(1, 2)
    filters = mirrored.reshape(w.shape[1] * groups, w.shape[0] // groups, *w.shape[2:])
    windows = [AxisWindow(axis.kernel, dilation=axis.dilation) for axis in axes]
    return volume_convolution(b, n, spread, filters, bias, windows, groups)


VOLUMES: dict[str, Callable[[Builder, SourceNode], Tensor]] = {
    "LpPool": lp_pool,
    "LRN": local_response_normalization,
}
