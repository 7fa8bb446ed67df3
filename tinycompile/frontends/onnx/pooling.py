"""Pooling, global pooling and means, in float and QLinear form."""

from __future__ import annotations

from tinycompile.frontends.onnx.builder import Builder
from tinycompile.frontends.onnx.indexing import max_pool_places
from tinycompile.frontends.onnx.quantization import dequantized, quantized
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.frontends.onnx.volumes import averaged, is_single_map, max_pooled
from tinycompile.frontends.onnx.windows import AxisWindow, axis_windows, window
from tinycompile.ir.graph import Tensor
from tinycompile.ops.avg_pool2d import AvgPool2dAttrs
from tinycompile.ops.max_pool2d import MaxPool2dAttrs
from tinycompile.ops.mean import MeanAttrs


def max_pool(b: Builder, n: SourceNode) -> tuple[Tensor, ...]:
    """The second output, where it is wanted: the places of the largest elements."""
    x = b.tensor(n, 0)
    y = _max(b, n, x)
    return (y, max_pool_places(b, n, x)) if len(n.outputs) > 1 and n.outputs[1] else (y,)


def _max(b: Builder, n: SourceNode, x: Tensor) -> Tensor:
    if not is_single_map(x):
        return max_pooled(b, n, x, axis_windows(n, x.shape[2:]))
    win = window(n, x.shape[2:])
    y = b.emit(n, "max_pool2d", [b.to_map(n, x)], MaxPool2dAttrs(win.kernel, win.stride, win.pad, None, win.dilation))
    return b.from_map(n, y, len(x.shape))


def _average(b: Builder, n: SourceNode, x: Tensor) -> Tensor:
    include_pad = bool(n.integer("count_include_pad", 0))
    if not is_single_map(x):
        return averaged(b, n, x, axis_windows(n, x.shape[2:]), include_pad)
    win = window(n, x.shape[2:])
    padded = include_pad and any(win.pad)
    grown = win.grown if padded else (0, 0)
    attrs = AvgPool2dAttrs(win.kernel, win.stride, win.pad, None, win.dilation, padded, grown)
    return b.from_map(n, b.emit(n, "avg_pool2d", [b.to_map(n, x)], attrs), len(x.shape))


def average_pool(b: Builder, n: SourceNode) -> Tensor:
    return _average(b, n, b.real(n, 0))


def qlinear_average_pool(b: Builder, n: SourceNode) -> Tensor:
    if n.integer("channels_last", 0):
        raise n.unsupported("channels_last pooling")
    return quantized(b, n, _average(b, n, dequantized(b, n, 0, 1, 2)), 3, 4)


def _mean_over(b: Builder, n: SourceNode, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """The mean, over a map of width 1 where `x` is a sequence [N,C,T], so that layout finds its channels."""
    result = [1 if a in axes else d for a, d in enumerate(x.shape) if keep or a not in axes]
    x = b.reshape(n, x, (*x.shape, 1)) if len(x.shape) == 3 else x
    return b.reshape(n, b.emit(n, "mean", [x], MeanAttrs(axes, True)), result)


def _global_mean(b: Builder, n: SourceNode, x: Tensor, channels_last: bool = False) -> Tensor:
    rank = len(x.shape)
    if rank < 3:
        raise n.unsupported(f"global pooling of {rank} dimensions")
    return _mean_over(b, n, x, tuple(range(1, rank - 1)) if channels_last else tuple(range(2, rank)), True)


def global_average_pool(b: Builder, n: SourceNode) -> Tensor:
    return _global_mean(b, n, b.real(n, 0))


def qlinear_global_average_pool(b: Builder, n: SourceNode) -> Tensor:
    y = _global_mean(b, n, dequantized(b, n, 0, 1, 2), bool(n.integer("channels_last", 0)))
    return quantized(b, n, y, 3, 4)


def global_max_pool(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    if not is_single_map(x):
        return max_pooled(b, n, x, [AxisWindow(d) for d in x.shape[2:]])
    y = b.to_map(n, x)
    attrs = MaxPool2dAttrs(kernel=(y.shape[1], y.shape[2]))
    return b.from_map(n, b.emit(n, "max_pool2d", [y], attrs), len(x.shape))


def _mean(b: Builder, n: SourceNode, x: Tensor, axes: tuple[int, ...] | None) -> Tensor:
    if not axes:
        if n.integer("noop_with_empty_axes", 0):
            return x
        axes = tuple(range(len(x.shape)))
    if any(not -len(x.shape) <= a < len(x.shape) for a in axes):
        raise n.unsupported(f"a mean over axes {list(axes)} of {len(x.shape)} dimensions")
    normal = tuple(sorted({a % len(x.shape) for a in axes}))
    return _mean_over(b, n, x, normal, bool(n.integer("keepdims", 1)))


def reduce_mean(b: Builder, n: SourceNode) -> Tensor:
    given = b.optional(n, 1)
    axes = b.integers(n, 1, "the axes") if given is not None and 0 not in given.shape else n.ints("axes")
    return _mean(b, n, b.real(n, 0), axes)


def qlinear_reduce_mean(b: Builder, n: SourceNode) -> Tensor:
    return quantized(b, n, _mean(b, n, dequantized(b, n, 0, 1, 2), n.ints("axes")), 3, 4)
