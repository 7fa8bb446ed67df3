"""Convolutions on cores with MVE (Helium): which of its kernels makes a node, and with what arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import ConstArray, KernelCall
from tinycompile.ops.convolution import output_arrays, output_consts, tensor_quant
from tinycompile.ops.dsp_convolution import geometry_consts, is_pointwise, kernel_windows, pointwise_call

LANES = 16  # TC_MVE_LANES
FILTERS = 4  # TC_MVE_FILTERS
STACK_BYTES = 1152  # of windows, or of a row of 16 channels
LARGEST_SUM = 255  # of weights' magnitudes, times 128: within 16 bits


def mve_arrays(node: Node, weights: NDArray[np.int64]) -> tuple[ConstArray, ...] | None:
    """Flash arrays of `output_arrays`, None where its kernels cannot run the node: weights of more than 8 bits, shifts
    to the left, windows too large for the stack. Weights have the output channel first."""
    arrays = output_arrays(weights, node)
    wide = arrays[0].data.dtype != np.int8
    return None if wide or arrays[3].data.max(initial=0) > 0 or weights[0].size > STACK_BYTES else arrays


def conv2d_call(node: Node, out: Region, arrays: tuple[ConstArray, ...], merged: int) -> KernelCall:
    """The call that makes one row of `out`, or `merged` of them as one. Groups and dilation are 1."""
    channels, kh, kw, in_ch = arrays[0].data.shape
    arrays = (ConstArray("weights", dot_order(arrays[0].data)), *arrays[1:])
    if is_pointwise(node):
        return pointwise_call("tc_pointwise_s8_mve", node, out, arrays, merged)
    window_bytes = kh * kw * in_ch
    pixels = 2 if 2 * window_bytes <= STACK_BYTES else 1
    consts = (
        *geometry_consts(node, out, (kh, kw), (("in_ch", in_ch),), (("out_ch", channels),)),
        ("pixels", pixels),
        ("in_zero_point", tensor_quant(node, node.tensor(0))[1]),
        *output_consts(node),
    )
    windows = kernel_windows(node, (kh, kw))
    return KernelCall("tc_gathered_conv2d_s8_mve", windows, arrays, consts, stack_bytes=pixels * window_bytes)


def depthwise_call(node: Node, out: Region, arrays: tuple[ConstArray, ...], in_place: bool) -> KernelCall:
    """The call that makes one row of `out`, which may lie over a row that it is made from if `in_place`. Weights are
    (channels, KH, KW), one filter per channel, dilation is 1."""
    weights, *stage = arrays
    channels, kh, kw = weights.data.shape
    consts = (
        *geometry_consts(node, out, (kh, kw), (("ch", channels),), ()),
        ("at_once", taps_at_once(weights.data)),
        ("in_zero_point", tensor_quant(node, node.tensor(0))[1]),
        *output_consts(node),
    )
    natural = ConstArray("weights", np.moveaxis(weights.data, 0, -1))  # (KH, KW, C)
    ordered = tuple(ConstArray(a.param, lane_order(a.data)) for a in stage)
    name = f"tc_depthwise_conv2d_{'in_place_' if in_place else ''}s8_mve"
    stack = LANES * out.cols if in_place else 0
    return KernelCall(name, kernel_windows(node, (kh, kw)), (natural, *ordered), consts, stack_bytes=stack)


def dot_order(weights: Array) -> Array:
    """Weights (outputs, ...) in the order of `tc_mve_dot`: of four outputs 16 each, the next 16 each..."""
    flat = weights.reshape(len(weights), -1)
    blocks = [flat[k : k + FILTERS] for k in range(0, len(flat), FILTERS)]
    return np.concatenate([b[:, k : k + LANES].reshape(-1) for b in blocks for k in range(0, flat.shape[1], LANES)])


def taps_at_once(weights: Array) -> int:
    """How many adjacent taps of a row may be added up in 16 bits, for filters (channels, KH, KW)."""
    magnitudes = np.abs(weights.astype(np.int64))
    width = magnitudes.shape[2]
    for count in range(width, 1, -1):
        sums = [magnitudes[:, :, k : k + count].sum(axis=2).max(initial=0) for k in range(0, width, count)]
        if max(sums) <= LARGEST_SUM:
            return count
    return 1


def lane_order(values: Array) -> Array:
    """Values per channel, filled up to groups of 16, each in the order of `tc_mve_place`: channels 0, 4, 8 and 12 of a
    group, then 2, 6..., 1, 5... and 3, 7..."""
    filled = np.pad(values, (0, -len(values) % LANES))
    return filled.reshape(-1, 4, 4).transpose(0, 2, 1)[:, [0, 2, 1, 3]].reshape(-1)
