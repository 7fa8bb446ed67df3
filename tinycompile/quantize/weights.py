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

# By bits. Of 8, symmetric: -128 has no counterpart.
LIMITS = {8: (-127, 127), 4: (-8, 7)}
_SHARES = np.linspace(1.0, 0.4, 31)  # of the largest weight, which the largest integer may stand for
_LARGEST_BIAS = 2.0**30  # leaves as much again of int32 for the sum of products
_SWEEPS = 8
_DAMPING = 0.01  # of the mean second moment: few samples do not say all about the inputs


def bias_of(node: Node) -> NDArray[np.float32] | None:
    """The layer's float bias, None when it has none."""
    return node.const(2).reshape(-1) if len(node.inputs) > 2 and node.inputs[2] is not None else None


def channel_scales(node: Node, x_scale: float, bits: int, second: F64 | None) -> NDArray[np.float32]:
    """One scale per output channel: as small as its weights allow, of fewer than 8 bits as small as serves the outputs
    best; and so large that the bias fits at scale `x_scale` times it."""
    weights = as_matrices(node, node.const(1))
    groups, outputs, _ = weights.shape
    scales = np.abs(weights).max(axis=2) / LIMITS[bits][1]
    if bits < 8:
        scales = _clipped(weights, scales, LIMITS[bits], second)
    scales = scales.reshape(groups * outputs)
    bias = bias_of(node)
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias.astype(np.float64)) / (x_scale * _LARGEST_BIAS))
    return np.where(scales < np.finfo(np.float32).tiny, 1.0, scales).astype(np.float32)


def _clipped(weights: F64, scales: F64, limits: tuple[int, int], second: F64 | None) -> F64:
    """`scales` (groups, outputs) times what makes ``d H d^T`` least for each output, with weights (groups, outputs,
    taps) to the nearest or to the limits; H is taken for 1 where it is not known."""
    best, least = scales.copy(), np.full(scales.shape, np.inf)
    for share in _SHARES:
        tried = np.maximum(scales * share, np.finfo(np.float64).tiny)[:, :, None]
        error = np.clip(np.rint(weights / tried), *limits) * tried - weights
        loss = (error * (error if second is None else error @ second)).sum(axis=2)
        best, least = np.where(loss < least, tried[:, :, 0], best), np.minimum(loss, least)
    return best


def _along_channels(scales: Array, node: Node) -> Array:
    """`scales`, one per output channel, to be broadcast against the weights."""
    shape = [1] * node.const(1).ndim
    shape[CHANNEL_AXIS[node.op.kind]] = -1
    return scales.reshape(shape)


def layer_weights(
    node: Node, x_scale: float, moments: Moments | None, adaptive: bool, correct: bool, bits: int = 8
) -> LayerWeights:
    """The integer form of a layer's weights, of 8 or 4 bits: each the nearest value, or, `adaptive`, the one of the two
    next to it that serves the outputs best; with `correct`, the bias makes up for what is left. Both need the inputs'
    `moments`."""
    second = None if moments is None else moments.second
    if second is not None and moments is not None and correct:  # what shifts the mean is the bias's to mend
        second = second - moments.mean[:, :, None] * moments.mean[:, None, :]
    scales = channel_scales(node, x_scale, bits, second)
    units = (node.const(1) / _along_channels(scales, node)).astype(np.float64)
    stored = np.clip(np.rint(units), *LIMITS[bits])
    if adaptive and second is not None:
        stored = from_matrices(node, _rounded(as_matrices(node, units), second, LIMITS[bits]))
    values = stored.astype(np.int8)
    narrow = None if bits == 8 else bits
    quant = Quant(tuple(float(s) for s in scales), (0,) * scales.size, CHANNEL_AXIS[node.op.kind], narrow)
    made = LayerWeights(values, quant, bias_of(node))
    if not correct or moments is None:
        return made
    error = as_matrices(node, values - units)
    shift = (error @ moments.mean[:, :, None]).reshape(-1) * scales
    bias = np.zeros(scales.size) if made.bias is None else made.bias
    return replace(made, bias=(bias - shift).astype(np.float32))


def _rounded(units: F64, second: F64, limits: tuple[int, int]) -> F64:
    """Integers within `limits` next to `units` (groups, outputs, taps) that make ``d H d^T`` small, d the error, for
    each output."""
    stored = np.clip(np.rint(units), *limits)
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
                there = q[:, k] + step[:, k]
                flip = (gain < 0) & (limits[0] <= there) & (there <= limits[1])
                if np.any(flip):
                    change = np.where(flip, step[:, k], 0.0)
                    q[:, k] += change
                    pull += change[:, None] * h[k]
                    step[:, k] = np.where(flip, -step[:, k], step[:, k])
                    moved = True
            if not moved:
                break
    return stored
