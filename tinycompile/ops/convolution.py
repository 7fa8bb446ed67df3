"""What conv2d, depthwise_conv2d and fully_connected share: accumulator scales, folded bias, the output stage.

acc = bias + sum((x - zp_x) * (w - zp_w)), then requantised per output channel (docs/numerics.md). Activations are int8,
or int16 with zero point 0; the sums of int16 ones are int64, or int32 where that is the type of the bias.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import QuantError
from tinycompile.ir.graph import Array, Node, Tensor
from tinycompile.ir.quant import (
    multiply_by_quantized_multiplier,
    multiply_by_reduced_multiplier,
    quantize_multiplier,
    reduced_multiplier,
)
from tinycompile.ir.types import DType
from tinycompile.ops.base import ConstArray
from tinycompile.ops.float_layers import Clamp, float_layer_unsupported, is_float

LARGEST_SUM = 1 << 39
"""Sums of int16 activations stay below this: what the output stages take (``tc_requantize_s16.h``)."""


def tensor_quant(node: Node, tensor: Tensor) -> tuple[float, int]:
    """Scale and zero point of a per-tensor quantised activation; QuantError when it has none."""
    if tensor.quant is None or tensor.quant.per_channel:
        raise QuantError(
            f"'{tensor.name}' needs one scale and zero point",
            str(node.op.source),
            "quantise activations per tensor",
        )
    return tensor.quant.scalar()


def clamp_range(clamp: Clamp, dtype: DType) -> tuple[int, int]:
    """The activation's range in quantised output units: all of the output's type when there is none."""
    return (int(clamp[0]), int(clamp[1])) if clamp is not None else dtype.int_range


def weight_quant(node: Node, channels: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Scale and zero point of the weights (input 1) for each output channel."""
    quant = node.tensor(1).quant
    if quant is None:
        raise QuantError("weights without quantisation parameters", str(node.op.source), "quantise the weights to int8")
    return quant.channels(channels)


def layer_unsupported(node: Node) -> str | None:
    """Why a convolution-like node cannot run on the kernels of its input's type, or None."""
    return float_layer_unsupported(node) if is_float(node) else integer_unsupported(node)


def integer_unsupported(node: Node) -> str | None:
    """Why a convolution-like node cannot run on integer kernels, or None."""
    x, w = node.tensor(0), node.tensor(1)
    if x.dtype not in (DType.INT8, DType.INT16) or node.out.dtype != x.dtype or w.dtype != DType.INT8:
        return (
            f"types {x.dtype.value} x {w.dtype.value} -> {node.out.dtype.value}: only int8 and int16 activations with "
            "int8 weights, and float32 have kernels"
        )
    if not w.is_const:
        return "weights computed at run time: only constant weights have kernels"
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    types = (DType.INT32,) if x.dtype == DType.INT8 else (DType.INT32, DType.INT64)
    if bias is not None and (not bias.is_const or bias.dtype not in types):
        wanted = " or ".join(t.value for t in types)
        return (
            f"bias of type {bias.dtype.value}{'' if bias.is_const else ' computed at run time'}: needs constant "
            f"{wanted}"
        )
    return int16_unsupported(node) if x.dtype == DType.INT16 else None


def int16_unsupported(node: Node) -> str | None:
    """Why the kernels of int16 activations cannot run a convolution-like node, or None."""
    tensors = (node.tensor(0), node.tensor(1), node.out)
    if any(t.quant is not None and any(t.quant.zero_point) for t in tensors):
        return "a zero point that is not 0 with int16 activations"
    if wide_sums(node) and largest_sum(node) >= LARGEST_SUM:
        return f"sums of {largest_sum(node):.1e}: beyond {LARGEST_SUM:.1e}"
    if wide_sums(node) and output_multipliers(node, node.out.form.channels)[1].max() > 14:
        return "an output scale 2^14 times finer than that of the sums"
    return None


def wide_sums(node: Node) -> bool:
    """Whether sums are int64 (LiteRT: unless the bias is int32)."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return node.tensor(0).dtype == DType.INT16 and (bias is None or bias.dtype == DType.INT64)


def largest_sum(node: Node) -> int:
    """How far a sum of products with int16 activations may be from 0, bias included."""
    w, channels = node.const(1), node.out.form.channels
    axis = 0 if w.shape[0] == channels else -1  # depthwise weights have theirs last
    weights = np.abs(np.moveaxis(w.astype(np.int64), axis, 0)).reshape(channels, -1).sum(axis=1)
    return int((weights * (1 << 15) + np.abs(bias_values(node, channels))).max())


def output_multipliers(node: Node, channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Multiplier and shift per output channel, Q31, for wide sums Q15: s_x * s_w / s_y in double (LiteRT)."""
    s_x, _ = tensor_quant(node, node.tensor(0))
    s_y, _ = tensor_quant(node, node.out)
    scales, _ = weight_quant(node, channels)
    stored = reduced_multiplier if wide_sums(node) else quantize_multiplier
    pairs = [stored(s_x * s_w / s_y) for s_w in scales]
    return np.array([m for m, _ in pairs], dtype=np.int64), np.array([s for _, s in pairs], dtype=np.int64)


def bias_values(node: Node, channels: int) -> NDArray[np.int64]:
    """The int32 bias per output channel, zeros when absent."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(channels, dtype=np.int64)
    return node.const(2).astype(np.int64).reshape(-1)


def offset_weights(node: Node, per_channel: Array, channels: int) -> NDArray[np.int64]:
    """`per_channel` (channels, ...) less the weights' zero points."""
    _, zero_points = weight_quant(node, channels)
    zeros = np.array(zero_points, dtype=np.int64).reshape(-1, *([1] * (per_channel.ndim - 1)))
    return np.asarray(per_channel.astype(np.int64) - zeros)


def requantize_output(node: Node, acc: NDArray[np.int64]) -> Array:
    """Sums (..., channels), bias included, in the output's quantisation."""
    multipliers = output_multipliers(node, acc.shape[-1])
    if wide_sums(node):
        scaled = multiply_by_reduced_multiplier(acc, *multipliers)
    else:
        scaled = multiply_by_quantized_multiplier(acc.astype(np.int32), *multipliers)
    _, zero_point = tensor_quant(node, node.out)
    return np.asarray(
        np.clip(scaled + zero_point, *clamp_range(node.attrs.clamp, node.out.dtype)).astype(node.out.dtype.numpy)
    )


def output_arrays(weights: NDArray[np.int64], node: Node) -> tuple[ConstArray, ...]:
    """Flash arrays of a convolution's kernel: `sum_arrays`, multiplier, shift."""
    multiplier, shift = output_multipliers(node, weights.shape[0])
    return (
        *sum_arrays(weights, node),
        ConstArray("multiplier", multiplier.astype(np.int32)),
        ConstArray("shift", shift.astype(np.int8)),
    )


def sum_arrays(weights: NDArray[np.int64], node: Node) -> tuple[ConstArray, ConstArray]:
    """Weights (output channel first) and bias of a layer's kernel.

    The bias is less the input's zero point times the sum of the channel's weights, wrapping as int32; it is int64 for
    int16 activations. Weights become int16 when a zero point takes them out of int8.
    """
    channels = weights.shape[0]
    _, zp_x = tensor_quant(node, node.tensor(0))
    folded = bias_values(node, channels) - zp_x * weights.reshape(channels, -1).sum(axis=1)
    wide = weights.min() < -128 or weights.max() > 127
    return (
        ConstArray("weights", weights.astype(np.int16 if wide else np.int8)),
        ConstArray("bias", folded.astype(np.int32 if node.out.dtype == DType.INT8 else np.int64)),
    )


def zero_point_consts(dtype: DType, *named: tuple[str, int]) -> tuple[tuple[str, int], ...]:
    """The zero points that a kernel of activations of `dtype` is given: those of int16 are 0, and not given."""
    return named if dtype == DType.INT8 else ()


def output_consts(node: Node) -> tuple[tuple[str, int], ...]:
    """The kernel parameters of the output stage: its zero point, or how wide the sums of int16 are, and the clamp."""
    lo, hi = clamp_range(node.attrs.clamp, node.out.dtype)
    stage = zero_point_consts(node.out.dtype, ("out_zero_point", tensor_quant(node, node.out)[1]))
    return (*(stage or (("wide", int(wide_sums(node))),)), ("lo", lo), ("hi", hi))
