"""fold_batch_norm: a per-channel scale and offset after a convolution or fully connected layer goes into its weights.

The ONNX frontend imports BatchNormalization as a float 1x1 depthwise convolution (scale = gamma / sqrt(var + epsilon),
bias = beta - mean * scale). One that follows nothing to fold into stays that convolution.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Graph, Op, Tensor
from tinycompile.ir.quant import Quant, narrowed
from tinycompile.ir.types import DType
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.registry import OPERATORS
from tinycompile.passes.rewriter import Rewriter

# Axis of the output channels in the weights.
CHANNEL_AXIS = {kind: op.weight_axes.outputs for kind, op in OPERATORS.items() if op.weight_axes is not None}


def fold_batch_norm(graph: Graph) -> Graph:
    """A graph without foldable per-channel scales."""
    rewriter = Rewriter(graph)
    consumers = graph.consumers()
    read_once = {n for n, users in consumers.items() if len(users) == 1 and n not in graph.outputs}
    for op in graph.ops:
        if not _is_scale(rewriter, op) or not _fold(rewriter, op, read_once):
            rewriter.keep(op)
    return rewriter.finish()


def _is_scale(rewriter: Rewriter, op: Op) -> bool:
    if op.kind != "depthwise_conv2d" or op.attrs != DepthwiseConv2dAttrs():
        return False
    x, w = rewriter.tensor(op.inputs[0]), rewriter.tensor(op.inputs[1])
    return w.is_const and w.dtype == DType.FLOAT32 and w.shape == (1, 1, 1, x.shape[3])


def _fold(rewriter: Rewriter, op: Op, read_once: set[str]) -> bool:
    name = rewriter.current(op.inputs[0])
    made = rewriter.made_by(name)
    if made is not None and made.kind == "reshape" and name in read_once:
        channels = rewriter.tensor(name).shape[-1]
        name = rewriter.current(made.inputs[0])
        made = rewriter.made_by(name) if rewriter.tensor(name).shape[-1] == channels else None
    if made is None or made.kind not in CHANNEL_AXIS or name not in read_once:
        return False
    if rewriter.tensor(name).dtype != DType.FLOAT32 or len(op.inputs) < 3 or not op.inputs[2]:
        return False
    if clamps(made):
        return False
    gain = rewriter.tensor(op.inputs[1]).data
    offset = rewriter.tensor(op.inputs[2]).data
    bias = _real(rewriter, made.inputs[2]) if len(made.inputs) > 2 and made.inputs[2] else np.zeros(1)
    if gain is None or offset is None or bias is None:
        return False
    gain = gain.reshape(-1).astype(np.float64)
    weights = _scaled_weights(rewriter, made, gain)
    if weights is None:
        return False
    folded = (bias * gain + offset.reshape(-1).astype(np.float64)).astype(np.float32)
    inputs = [made.inputs[0], weights, rewriter.constant(folded, None, f"{name}/bias")]
    out = rewriter.emit(made.kind, inputs, made.attrs, replace(made, source=op.source), dtype=DType.FLOAT32)
    shape = rewriter.tensor(op.outputs[0]).shape
    rewriter.replace(op.outputs[0], rewriter.reshape(out, shape, op))
    return True


def clamps(op: Op) -> bool:
    """Whether an operator limits its output, so that what follows cannot be folded into it."""
    return getattr(op.attrs, "clamp", None) is not None


def _real(rewriter: Rewriter, name: str) -> NDArray[np.float64] | None:
    """A constant's real values: float, or behind a `dequantize`."""
    tensor = rewriter.tensor(name)
    if tensor.data is not None:
        return tensor.data.astype(np.float64)
    source = rewriter.dequantized_constant(name)
    if source is None or source.data is None or source.quant is None:
        return None
    scales, zero_points = source.quant.channels(source.elems)
    return np.asarray((source.data.astype(np.float64).reshape(-1) - np.array(zero_points)) * np.array(scales))


def _scaled_weights(rewriter: Rewriter, op: Op, gain: NDArray[np.float64]) -> str | None:
    """Weights of `op` times `gain` per output channel, float or behind a `dequantize` as before."""
    axis = CHANNEL_AXIS[op.kind]
    tensor = rewriter.tensor(op.inputs[1])
    along = [1] * len(tensor.shape)
    along[axis] = -1
    if tensor.data is not None:
        return rewriter.constant((tensor.data * gain.reshape(along)).astype(np.float32), None, f"{tensor.name}/scaled")
    source = rewriter.dequantized_constant(op.inputs[1])
    if source is None or source.dtype != DType.INT8 or source.quant is None or source.quant.axis not in (None, axis):
        return None
    data, quant = _scaled_integers(source, axis, gain, along)
    constant = rewriter.constant(data, quant, f"{source.name}/scaled")
    like = rewriter.made_by(op.inputs[1])
    assert like is not None
    return rewriter.emit("dequantize", [constant], like.attrs, like, dtype=DType.FLOAT32)


def _scaled_integers(source: Tensor, axis: int, gain: NDArray[np.float64], along: list[int]) -> tuple[Array, Quant]:
    """The gain goes into the scales, its sign into the integers; a gain of 0 makes them equal the zero point."""
    assert source.data is not None
    assert source.quant is not None
    scales, zero_points = source.quant.channels(len(gain))
    zeros = np.array(zero_points, dtype=np.int64).reshape(along)
    values = (source.data.astype(np.int64) - zeros) * np.sign(gain).astype(np.int64).reshape(along) + zeros
    new = tuple(float(np.float32(s * abs(g))) or s for s, g in zip(scales, gain, strict=True))
    data, quant = np.clip(values, -128, 127).astype(np.int8), Quant(new, zero_points, axis)
    return data, quant if source.quant.bits is None else narrowed(data, quant)
