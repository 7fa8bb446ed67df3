"""int8 weights of a layer: symmetric, one scale per output channel, rounded so that its outputs change least.

Rounding: what counts is not the error of the weights but that of the outputs, ``d H d^T`` with H the second moment of
the inputs (M. Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", equation 13, where it
is relaxed to be solved by gradients). Here one weight after the other is rounded the other way while that helps, in all
output channels at once: no gradients, no random numbers.

Bias correction: the mean error that rounding leaves in an output is taken out of its bias (M. Nagel et al. 2019,
"Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, with means of real inputs).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.quant import Quant
from tinycompile.passes.fold_batch_norm import CHANNEL_AXIS
from tinycompile.quantize.insert import LayerWeights
from tinycompile.quantize.moments import F64, Moments, as_matrices, from_matrices

LARGEST = 127  # symmetric: -128 has no counterpart
_LARGEST_BIAS = 2.0**30  # leaves as much again of int32 for the sum of products
_SWEEPS = 8
_DAMPING = 0.01  # of the mean second moment: few samples do not say all about the inputs


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


def _along_channels(scales: Array, node: Node) -> Array:
    """`scales`, one per output channel, to be broadcast against the weights."""
    shape = [1] * node.const(1).ndim
    shape[CHANNEL_AXIS[node.op.kind]] = -1
    return scales.reshape(shape)


def layer_weights(node: Node, x_scale: float, moments: Moments | None, adaptive: bool, correct: bool) -> LayerWeights:
    """The int8 form of a layer's weights: each the nearest value, or, `adaptive`, the one of the two next to it that
    serves the outputs best; with `correct`, the bias makes up for what is left. Both need the inputs' `moments`."""
    scales = channel_scales(node, x_scale)
    units = (node.const(1) / _along_channels(scales, node)).astype(np.float64)
    stored = np.rint(units)
    if adaptive and moments is not None and moments.second is not None:
        second = moments.second
        if correct:  # what shifts the mean is the bias's to mend
            second = second - moments.mean[:, :, None] * moments.mean[:, None, :]
        stored = from_matrices(node, _rounded(as_matrices(node, units), second))
    values = np.clip(stored, -LARGEST, LARGEST).astype(np.int8)
    quant = Quant(tuple(float(s) for s in scales), (0,) * scales.size, CHANNEL_AXIS[node.op.kind])
    made = LayerWeights(values, quant, bias_of(node))
    if not correct or moments is None:
        return made
    error = as_matrices(node, values - units)
    shift = (error @ moments.mean[:, :, None]).reshape(-1) * scales
    bias = np.zeros(scales.size) if made.bias is None else made.bias
    return replace(made, bias=(bias - shift).astype(np.float32))


def _rounded(units: F64, second: F64) -> F64:
    """Integers next to `units` (groups, outputs, taps) that make ``d H d^T`` small, d the error, for each output."""
    stored = np.rint(units)
    for w, q, moment in zip(units, stored, second, strict=True):
        taps = w.shape[1]
        h = moment + np.eye(taps) * (_DAMPING * np.trace(moment) / taps + 1e-30)
        error = q - w
        pull = error @ h
        step = np.where(error > 0, -1.0, 1.0)  # to the neighbour on the other side
        for _ in range(_SWEEPS):
            moved = False
            for k in range(taps):
                gain = 2 * step[:, k] * pull[:, k] + h[k, k]
                flip = (gain < 0) & (np.abs(q[:, k] + step[:, k]) <= LARGEST)
                if np.any(flip):
                    change = np.where(flip, step[:, k], 0.0)
                    q[:, k] += change
                    pull += change[:, None] * h[k]
                    step[:, k] = np.where(flip, -step[:, k], step[:, k])
                    moved = True
            if not moved:
                break
    return stored
