"""Convolutions and batch normalisation, in float and QLinear form."""

from __future__ import annotations

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.frontends.onnx.builder import Builder
from tinycompile.frontends.onnx.functions import apply, to_type
from tinycompile.frontends.onnx.quantization import dequantize_value, dequantized, quantized
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.frontends.onnx.volumes import (
    by_sample,
    is_single_map,
    transposed_volume_convolution,
    volume_convolution,
)
from tinycompile.frontends.onnx.windows import TransposedAxis, axis_windows, transposed_windows, window
from tinycompile.ir.graph import Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.conv2d import Conv2dAttrs
from tinycompile.ops.conv_transpose2d import ConvTranspose2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs


def conv(b: Builder, n: SourceNode) -> Tensor:
    bias = b.tensor(n, 2) if b.optional(n, 2) is not None else None
    return _convolution(b, n, b.real(n, 0), b.real(n, 1), bias)


def qlinear_conv(b: Builder, n: SourceNode) -> Tensor:
    x, w = dequantized(b, n, 0, 1, 2), dequantized(b, n, 3, 4, 5, axis=0)
    return quantized(b, n, _convolution(b, n, x, w, integer_bias(b, n, 8, 1, 4)), 6, 7)


EXACT = 1 << 24  # whole numbers up to here are exact as float32, whatever the order in which they were added


def conv_integer(b: Builder, n: SourceNode) -> Tensor:
    """A convolution of 8-bit integers as one of floats, where all sums are whole numbers that floats hold exactly."""
    x, w = b.tensor(n, 0), b.constant(n, 1, "weights").astype(np.int64)
    zero = int(b.constant(n, 2, "a zero point").reshape(-1)[0]) if b.optional(n, 2) is not None else 0
    if b.optional(n, 3) is not None:
        points = b.constant(n, 3, "a zero point").astype(np.int64).reshape(-1)
        w = w - points.reshape(-1, *(1,) * (w.ndim - 1))
    low, high = x.dtype.int_range
    most = max(high - zero, zero - low) * int(np.abs(w.reshape(w.shape[0], -1)).sum(axis=1).max())
    if most >= EXACT:
        raise n.unsupported(f"a convolution of integers whose sums reach {most}", "use QLinearConv or QDQ")
    centre = b.add_constant(np.array(zero, dtype=np.float32), f"{n.loc.node}/zero", n)
    centred = apply(b, n, "sub", [to_type(b, n, x, DType.FLOAT32), centre])
    weights = b.add_constant(w.astype(np.float32), f"{n.inputs[1]}/centred", n)
    return to_type(b, n, _convolution(b, n, centred, weights, None), DType.INT32)


def integer_bias(b: Builder, n: SourceNode, index: int, x_scale: int, w_scale: int) -> Tensor | None:
    """Real values of the int32 bias at input `index`: its scale is that of input times weights."""
    if b.optional(n, index) is None:
        return None
    value = b.constant(n, index, "the bias")
    scales = (b.constant(n, x_scale, "a scale").reshape(-1) * b.constant(n, w_scale, "a scale").reshape(-1)).tolist()
    quant = Quant(tuple(scales), (0,) * len(scales), None if len(scales) == 1 else value.ndim - 1)
    if len(scales) not in (1, value.shape[-1] if value.ndim else 1):
        raise ShapeError(f"{value.size} bias values for {len(scales)} channels", str(n), "export the model again")
    return dequantize_value(b, n, value, n.inputs[index], quant)


def _convolution(b: Builder, n: SourceNode, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """`x` [N,C,H,W] or [N,C,T], `w` [O,I,KH,KW] or [O,I,K]."""
    rank = len(x.shape)
    if not b.is_weight(w) or (bias is not None and not b.is_weight(bias)):
        raise n.unsupported("weights computed at run time", "make the weights constants of the model")
    if len(w.shape) != rank or rank not in (3, 4, 5):
        raise n.unsupported(f"a convolution of {rank} dimensions with weights {list(w.shape)}")
    if bias is not None and bias.shape != w.shape[:1]:
        raise ShapeError(
            f"a bias of shape {list(bias.shape)} for {w.shape[0]} channels", str(n), "export the model again"
        )
    if n.ints("kernel_shape") not in (None, w.shape[2:]):
        raise ShapeError(f"kernel_shape disagrees with weights {list(w.shape)}", str(n), "export the model again")
    groups = n.integer("group", 1)
    if rank == 5:
        full = b.known(w)
        assert full is not None  # as it is a weight of five dimensions, which nothing here has moved
        return volume_convolution(b, n, x, full, bias, axis_windows(n, x.shape[2:], w.shape[2:]), groups)
    if rank == 3:
        w = b.reshape(n, w, (*w.shape, 1))
    channels = x.shape[1]
    if groups < 1 or channels != w.shape[1] * groups or w.shape[0] % groups:
        raise ShapeError(
            f"{channels} input channels, weights {list(w.shape)} and {groups} groups disagree",
            str(n),
            "check the export",
        )
    win = window(n, x.shape[2:], w.shape[2:rank])
    x = b.to_map(n, x)
    inputs = [x, w, bias] if bias is not None else [x, w]
    if groups > 1 and groups == channels:
        inputs[1] = b.transpose(n, w, (1, 2, 3, 0))
        attrs = DepthwiseConv2dAttrs(win.stride, win.dilation, win.pad)
        return b.from_map(n, b.emit(n, "depthwise_conv2d", inputs, attrs), rank)
    inputs[1] = b.transpose(n, w, (0, 2, 3, 1))
    return b.from_map(n, b.emit(n, "conv2d", inputs, Conv2dAttrs(win.stride, win.dilation, win.pad, groups)), rank)


def conv_transpose(b: Builder, n: SourceNode) -> Tensor:
    """`x` [N,C,H,W] or [N,C,T], weights [I,O/groups,KH,KW] or [I,O/groups,K]. Sizes: ONNX operator specification."""
    x, w = b.real(n, 0), b.constant(n, 1, "weights of a transposed convolution")
    rank, groups = len(x.shape), n.integer("group", 1)
    if rank not in (3, 4, 5) or w.ndim != rank or w.dtype != np.float32:
        raise n.unsupported(f"a transposed convolution of {rank} dimensions with weights {list(w.shape)}")
    if groups < 1 or w.shape[0] != x.shape[1] or w.shape[0] % groups:
        raise ShapeError(
            f"{x.shape[1]} input channels, weights {list(w.shape)} and {groups} groups disagree",
            str(n),
            "check the export",
        )
    if n.ints("kernel_shape") not in (None, w.shape[2:]):
        raise ShapeError(f"kernel_shape disagrees with weights {list(w.shape)}", str(n), "export the model again")
    bias = None
    if b.optional(n, 2) is not None:
        values = b.constant(n, 2, "the bias")
        if values.shape != (w.shape[1] * groups,) or values.dtype != np.float32:
            raise ShapeError(f"a bias of shape {list(values.shape)}", str(n), "export the model again")
        bias = b.add_constant(values, n.inputs[2], n)
    axes = transposed_windows(n, x.shape[2:], w.shape[2:])
    if rank == 5:
        return transposed_volume_convolution(b, n, x, w, bias, axes, groups)
    high, wide = axes if rank == 4 else (*axes, TransposedAxis(1, 1, 1, 1, 0))
    w = w.reshape(*w.shape, 1) if rank == 3 else w
    by_group = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]).transpose(0, 2, 3, 4, 1)
    filters = b.add_constant(by_group.reshape(-1, *by_group.shape[2:]), f"{n.inputs[1]}/ohwi", n)
    attrs = ConvTranspose2dAttrs(
        (high.out, wide.out),
        (high.stride, wide.stride),
        (high.dilation, wide.dilation),
        (high.before, wide.before),
        groups,
    )

    def one(sample: Tensor) -> Tensor:
        inputs = [b.to_map(n, sample), filters] if bias is None else [b.to_map(n, sample), filters, bias]
        return b.from_map(n, b.emit(n, "conv_transpose2d", inputs, attrs), rank)

    return by_sample(b, n, x, one)


def batch_normalization(b: Builder, n: SourceNode) -> Tensor:
    """Scale and offset per channel as a 1x1 depthwise convolution, which the passes fold into the layer before it."""
    if n.integer("training_mode", 0):
        raise n.unsupported("batch normalisation in training mode", "export the model for inference")
    x = b.real(n, 0)
    channels = x.shape[1] if len(x.shape) > 1 else 0
    if (not is_single_map(x) and len(x.shape) != 2) or not all(b.is_weight(b.tensor(n, k)) for k in range(1, 5)):
        return _normalised(b, n, x, channels)
    gamma, beta, mean, variance = (b.constant(n, k, "a batch norm parameter").astype(np.float64) for k in range(1, 5))
    if any(p.shape != (channels,) for p in (gamma, beta, mean, variance)):
        raise ShapeError(f"batch norm parameters do not fit {channels} channels", str(n), "export the model again")
    with np.errstate(all="ignore"):
        gain = gamma / np.sqrt(variance + n.real("epsilon", 1e-5))
        offset = (beta - mean * gain).astype(np.float32)
    if not np.all(np.isfinite(gain)) or not np.all(np.isfinite(offset)):
        raise ShapeError("batch norm parameters are not finite", str(n), "check the variance and epsilon of this node")
    w = b.add_constant(gain.astype(np.float32).reshape(1, 1, 1, -1), f"{n.loc.node}/scale", n)
    bias = b.add_constant(offset, f"{n.loc.node}/offset", n)
    rank = len(x.shape)
    x = b.reshape(n, x, (1, 1, *x.shape)) if rank == 2 else b.to_map(n, x)
    y = b.emit(n, "depthwise_conv2d", [x, w, bias], DepthwiseConv2dAttrs())
    return b.reshape(n, y, y.shape[2:]) if rank == 2 else b.from_map(n, y, rank)


def _normalised(b: Builder, n: SourceNode, x: Tensor, channels: int) -> Tensor:
    """Batch normalisation of anything but one map, or by parameters made at run time."""
    shape = (channels, *(1,) * (len(x.shape) - 2))
    given = [b.real(n, k) for k in range(1, 5)]
    if any(t.shape != (channels,) for t in given):
        raise ShapeError(f"batch norm parameters do not fit {channels} channels", str(n), "export the model again")
    gamma, beta, mean, variance = (b.reshape(n, t, shape) for t in given)
    epsilon = b.add_constant(np.array(n.real("epsilon", 1e-5), dtype=np.float32), f"{n.loc.node}/epsilon", n)
    deviation = apply(b, n, "sqrt", [apply(b, n, "add", [variance, epsilon])])
    scaled = apply(b, n, "mul", [apply(b, n, "sub", [x, mean]), apply(b, n, "div", [gamma, deviation])])
    return apply(b, n, "add", [scaled, beta])
