"""The output stage of kernels for cores with the DSP extension: LiteRT's double rounding in five instructions.

`tc_requantize` is ``h = (acc * m + 2^30) >> 31``, then ``h / 2^s`` rounded half away from zero, then the zero point and
the clamp. Where ``m >= 2^30`` and ``s >= 1`` the same integers come from::

    h = acc + ((acc * (2m - 2^32) + 2^31) >> 32)          # one high multiply-accumulate with rounding
    y = (h + (h >> 31) + 2^(s-1) + zero_point * 2^s) >> s  # then saturate

as long as nothing leaves int32, which `dsp_arrays` proves for the accumulators that the weights allow. Where LiteRT
rounds once, halves away from zero (`single_rounding`), ``h = (acc * m - (acc < 0)) >> 32`` does for ``s >= 2``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier
from tinycompile.ops.base import ConstArray
from tinycompile.ops.convolution import bias_values, output_multipliers, tensor_quant

Int64Array = NDArray[np.int64]

LEAST_MULTIPLIER = 1 << 30


@dataclass(frozen=True, eq=False)
class Accumulators:
    """The least and the largest accumulator of each channel that int8 inputs can make."""

    least: Int64Array
    most: Int64Array


def reachable(taps: Int64Array, bias: Int64Array, zero_point: int) -> Accumulators:
    """Of channels with weights (channels, taps) and a bias, inputs having that zero point."""
    low, high = (-128 - zero_point) * taps, (127 - zero_point) * taps
    return Accumulators(bias + np.minimum(low, high).sum(axis=1), bias + np.maximum(low, high).sum(axis=1))


def dsp_stage_fits(largest: Any, multiplier: Any, shift: Any, zero_point: int) -> bool:
    """Whether accumulators up to `largest` in magnitude go through the packed stage with everything within int32; one
    each, or arrays of a value per channel."""
    if np.max(largest) >= 1 << 31 or np.min(shift) < 1 or np.min(multiplier) < LEAST_MULTIPLIER:
        return False
    high = (largest * multiplier >> 31) + 2
    return bool(np.all(high + (np.int64(abs(2 * zero_point + 1)) << shift) < 1 << 31))


def _fits(ends: Accumulators, multiplier: Int64Array, shift: Int64Array, zero_point: int) -> bool:
    return dsp_stage_fits(np.maximum(np.abs(ends.least), np.abs(ends.most)), multiplier, shift, zero_point)


def dsp_nearest_arrays(
    node: Node, weights: Int64Array, multipliers: tuple[Int64Array, Int64Array]
) -> tuple[ConstArray, ...] | None:
    """As `dsp_arrays`, folded, for `tc_dsp_nearest_s8`."""
    taps = weights.reshape(weights.shape[0], -1)
    if taps.size and (taps.min() < -128 or taps.max() > 127):
        return None
    _, zp_x = tensor_quant(node, node.tensor(0))
    _, zp_y = tensor_quant(node, node.out)
    bias, (multiplier, left) = bias_values(node, len(taps)), multipliers
    shift = -1 - left
    if not _fits(reachable(taps, bias, zp_x), multiplier, shift, zp_y):
        return None
    return _arrays(weights, bias - zp_x * taps.sum(axis=1), multiplier, shift)


def _arrays(weights: Int64Array, bias: Int64Array, multiplier: Int64Array, shift: Int64Array) -> tuple[ConstArray, ...]:
    return (
        ConstArray("weights", weights.astype(np.int8)),
        ConstArray("bias", bias.astype(np.int32)),
        ConstArray("multiplier", multiplier.astype(np.int32)),
        ConstArray("shift", shift.astype(np.int8)),
    )


def dsp_arrays(node: Node, weights: Int64Array, folded: bool) -> tuple[ConstArray, ...] | None:
    """Flash arrays for `tc_dsp_output_s8`: weights (output channel first), bias (less the input's zero point times
    the sum of the channel's weights where `folded`), multiplier, shift. None where a channel does not fit that form.

    A channel that puts out one value whatever the input is (pruning leaves such, with scales that fit no stage) becomes
    one of weights 0 and a bias that makes the value.
    """
    channels = weights.shape[0]
    taps = weights.reshape(channels, -1).copy()
    if taps.size and (taps.min() < -128 or taps.max() > 127):
        return None
    _, zp_x = tensor_quant(node, node.tensor(0))
    _, zp_y = tensor_quant(node, node.out)
    bias = bias_values(node, channels).copy()
    multiplier, left = (a.copy() for a in output_multipliers(node, channels))
    shift = -left
    ends = reachable(taps, bias, zp_x)
    if max(np.abs(ends.least).max(), np.abs(ends.most).max()) >= 1 << 31:
        return None
    least, most = (multiply_by_quantized_multiplier(end, multiplier, left) for end in (ends.least, ends.most))
    constant = least == most  # rounding is monotonic
    taps[constant], bias[constant] = 0, np.clip(4 * least[constant], -1024, 1024)
    multiplier[constant], shift[constant] = LEAST_MULTIPLIER, 1
    if not _fits(reachable(taps, bias, zp_x), multiplier, shift, zp_y):
        return None
    if folded:
        bias = bias - zp_x * taps.sum(axis=1)
    return _arrays(taps.reshape(weights.shape), bias, 2 * multiplier - (1 << 32), shift)
