"""Convolutions on cores with the DSP extension: which of its kernels makes a node, and with what arrays."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from tinycompile.ir.graph import Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import ConstArray, KernelCall, RowWindow
from tinycompile.ops.convolution import output_consts, tensor_quant
from tinycompile.ops.geometry import row_ends, row_windows, window_need

GATHERED_BYTES = 512  # of windows on the stack
Consts = tuple[tuple[str, int], ...]

PIXELS = 3  # TC_DOT_PIXELS and TC_DEPTHWISE_PIXELS of the kernels


def conv2d_call(node: Node, out: Region, arrays: tuple[ConstArray, ...], merged: int) -> KernelCall:
    """The call that makes one row of `out`, or `merged` of them as one: of one kernel for windows of a pixel, one that
    gathers small windows, and one for the others. Groups and dilation are 1."""
    weights = arrays[0].data
    channels, kh, kw, in_ch = weights.shape
    if is_pointwise(node):
        return pointwise_call("tc_pointwise_s8_dsp", node, out, arrays, merged)
    name, stack, added = "tc_conv2d_s8_dsp", 0, _ends(node, out, (kh, kw), 1)
    elems = -(-weights[0].size // 4) * 4
    if PIXELS * elems <= GATHERED_BYTES:
        flat = weights.reshape(channels, -1)
        arrays = (ConstArray("weights", np.pad(flat, ((0, 0), (0, elems - flat.shape[1])))), *arrays[1:])
        name, stack, added = "tc_gathered_conv2d_s8_dsp", PIXELS * elems, (("window", elems),)
    consts = (
        *geometry_consts(node, out, (kh, kw), (("in_ch", in_ch),), (("out_ch", channels),)),
        *added,
        ("in_zero_point", tensor_quant(node, node.tensor(0))[1]),
        *output_consts(node),
    )
    return KernelCall(name, kernel_windows(node, (kh, kw)), arrays, consts, stack_bytes=stack)


def depthwise_call(node: Node, out: Region, arrays: tuple[ConstArray, ...], in_place: bool) -> KernelCall:
    """The call that makes one row of `out`, which may lie over a row that it is made from if `in_place`. Weights are
    (channels, KH, KW), one filter per channel, dilation is 1."""
    channels, kh, kw = arrays[0].data.shape
    weights = ConstArray("weights", np.moveaxis(arrays[0].data, 0, -1))  # (KH, KW, C)
    consts = (
        *geometry_consts(node, out, (kh, kw), (("ch", channels),), ()),
        *_ends(node, out, (kh, kw), PIXELS),
        ("in_zero_point", tensor_quant(node, node.tensor(0))[1]),
        *output_consts(node),
    )
    name = f"tc_depthwise_conv2d_{'in_place_' if in_place else ''}s8_dsp"
    return KernelCall(name, kernel_windows(node, (kh, kw)), (weights, *arrays[1:]), consts)


def blocks_are_late_enough(node: Node, kernel_w: int) -> bool:
    """Whether no window of a block of pixels reaches back into the block two before it, for the whole row and so for
    any part of it in which the blocks are as large: those of three, and of what is at the ends."""
    a = node.attrs
    width, in_w, pad, stride = node.out.form.width, node.tensor(0).form.width, a.pad[2], a.stride[1]
    ends = row_ends(width, in_w, kernel_w, stride, pad, PIXELS)
    middle = (width - ends.left - ends.right) // PIXELS
    sizes = [*_blocks(ends.left), *[PIXELS] * middle, *_blocks(ends.right)]
    starts = list(accumulate(sizes, initial=0))
    return all(starts[k] * stride - pad >= starts[k - 1] for k in range(2, len(sizes)))


def _blocks(pixels: int) -> list[int]:
    """The blocks that `tc_depthwise_block` makes of pixels at an end of a row."""
    size = 2 if pixels == 4 else PIXELS
    return [min(size, pixels - k) for k in range(0, pixels, size)]


def is_pointwise(node: Node) -> bool:
    """Whether every window is one pixel of the input."""
    return node.tensor(1).shape[1:3] == (1, 1) and node.attrs.pad == (0, 0, 0, 0)


def pointwise_call(kernel: str, node: Node, out: Region, arrays: tuple[ConstArray, ...], merged: int) -> KernelCall:
    """The call of `kernel` that makes one row of `out`, or `merged` of them as one, of windows of a pixel."""
    stride = node.attrs.stride
    channels, _, _, in_ch = node.tensor(1).shape
    sizes = (("pixels", merged * out.cols), ("stride", stride[1]), ("in_ch", in_ch), ("out_ch", channels))
    return KernelCall(kernel, (RowWindow(0, stride=stride[0]),), arrays, (*sizes, *output_consts(node)))


def kernel_windows(node: Node, kernel: tuple[int, int]) -> tuple[RowWindow, ...]:
    """The input rows of a window."""
    return row_windows(kernel, node.attrs.stride, node.attrs.dilation, node.attrs.pad)


def geometry_consts(node: Node, out: Region, kernel: tuple[int, int], in_ch: Consts, out_ch: Consts) -> Consts:
    """Sizes of one row of `out` and of the window, in the order of the kernels' parameters."""
    a = node.attrs
    need = window_need(node, out, kernel, a.stride, a.dilation, a.pad)
    return (
        ("in_w", need.region.cols),
        *in_ch,
        ("out_w", out.cols),
        *out_ch,
        ("kernel_h", kernel[0]),
        ("kernel_w", kernel[1]),
        ("stride_w", a.stride[1]),
        ("pad_left", need.left),
    )


def _ends(node: Node, out: Region, kernel: tuple[int, int], block: int) -> Consts:
    a = node.attrs
    need = window_need(node, out, kernel, a.stride, a.dilation, a.pad)
    ends = row_ends(out.cols, need.region.cols, kernel[1], a.stride[1], need.left, block)
    return ("left", ends.left), ("right", ends.right)
