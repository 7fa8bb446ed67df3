"""What conv2d, depthwise_conv2d and fully_connected share: accumulator scales, folded bias, the output stage.

acc = bias + sum((x - zp_x) * (w - zp_w)), then requantised per output channel (docs/numerics.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import QuantError
from tinycompile.ir.graph import Array, Node, Tensor
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType
from tinycompile.ops.base import ConstArray
from tinycompile.ops.float_layers import Clamp, float_layer_unsupported, is_float


def tensor_quant(node: Node, tensor: Tensor) -> tuple[float, int]:
    """Scale and zero point of a per-tensor quantised activation; QuantError when it has none."""
    if tensor.quant is None or tensor.quant.per_channel:
        raise QuantError(
            f"'{tensor.name}' needs one scale and zero point",
            str(node.op.source),
            "quantise activations per tensor",
        )
    return tensor.quant.scalar()


def clamp_range(clamp: Clamp) -> tuple[int, int]:
    """The activation's range in quantised output units: all of int8 when there is none."""
    return (int(clamp[0]), int(clamp[1])) if clamp is not None else (-128, 127)


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
    if x.dtype != DType.INT8 or node.out.dtype != DType.INT8 or w.dtype != DType.INT8:
        return f"types {x.dtype.value} x {w.dtype.value} -> {node.out.dtype.value}: only int8 and float32 have kernels"
    if not w.is_const:
        return "weights computed at run time: only constant weights have kernels"
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and (not bias.is_const or bias.dtype != DType.INT32):
        return (
            f"bias of type {bias.dtype.value}{'' if bias.is_const else ' computed at run time'}: needs constant int32"
        )
    return None


def output_multipliers(node: Node, channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Q31 multiplier and shift per output channel: s_x * s_w / s_y in double (LiteRT)."""
    s_x, _ = tensor_quant(node, node.tensor(0))
    s_y, _ = tensor_quant(node, node.out)
    scales, _ = weight_quant(node, channels)
    pairs = [quantize_multiplier(s_x * s_w / s_y) for s_w in scales]
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


def requantize_output(
    acc: NDArray[np.int64],
    multipliers: tuple[NDArray[np.int64], NDArray[np.int64]],
    zero_point: int,
    clamp: Clamp,
) -> NDArray[np.int8]:
    """int32 accumulators (..., channels) -> int8."""
    scaled = multiply_by_quantized_multiplier(acc.astype(np.int32), *multipliers) + zero_point
    return np.clip(scaled, *clamp_range(clamp)).astype(np.int8)


def output_arrays(
    weights: NDArray[np.int64],
    node: Node,
    multipliers: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[ConstArray, ...]:
    """Flash arrays of a kernel: weights (output channel first), bias, multiplier, shift.

    The bias is less the input's zero point times the sum of the channel's weights (wrapping as int32). Weights become
    int16 when a zero point takes them out of int8.
    """
    channels = weights.shape[0]
    _, zp_x = tensor_quant(node, node.tensor(0))
    folded = bias_values(node, channels) - zp_x * weights.reshape(channels, -1).sum(axis=1)
    wide = weights.min() < -128 or weights.max() > 127
    return (
        ConstArray("weights", weights.astype(np.int16 if wide else np.int8)),
        ConstArray("bias", folded.astype(np.int32)),
        ConstArray("multiplier", multipliers[0].astype(np.int32)),
        ConstArray("shift", multipliers[1].astype(np.int8)),
    )
