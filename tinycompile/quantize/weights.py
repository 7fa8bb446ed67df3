"""int8 weights of a layer: symmetric, one scale per output channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.quant import Quant
from tinycompile.passes.fold_batch_norm import CHANNEL_AXIS
from tinycompile.quantize.insert import LayerWeights

LARGEST = 127  # symmetric: -128 has no counterpart
_LARGEST_BIAS = 2.0**30  # leaves as much again of int32 for the sum of products


def bias_of(node: Node) -> NDArray[np.float32] | None:
    """The layer's float bias, None when it has none."""
    return node.const(2).reshape(-1) if len(node.inputs) > 2 and node.inputs[2] is not None else None


def channel_scales(node: Node, x_scale: float) -> NDArray[np.float32]:
    """One scale per output channel, as small as the weights allow, and the bias at scale `x_scale` times it."""
    w = node.const(1)
    axis = CHANNEL_AXIS[node.op.kind]
    largest = np.abs(w).max(axis=tuple(a for a in range(w.ndim) if a != axis)).astype(np.float64)
    scales = largest / LARGEST
    bias = bias_of(node)
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias.astype(np.float64)) / (x_scale * _LARGEST_BIAS))
    return np.where(scales < np.finfo(np.float32).tiny, 1.0, scales).astype(np.float32)


def along_channels(scales: Array, node: Node) -> Array:
    """`scales`, one per output channel, to be broadcast against the weights."""
    shape = [1] * node.const(1).ndim
    shape[CHANNEL_AXIS[node.op.kind]] = -1
    return scales.reshape(shape)


def nearest_weights(node: Node, x_scale: float) -> LayerWeights:
    """Each weight as the nearest int8."""
    scales = channel_scales(node, x_scale)
    stored = np.rint(node.const(1) / along_channels(scales, node))
    values = np.clip(stored, -LARGEST, LARGEST).astype(np.int8)
    quant = Quant(tuple(float(s) for s in scales), (0,) * scales.size, CHANNEL_AXIS[node.op.kind])
    return LayerWeights(values, quant, bias_of(node))
