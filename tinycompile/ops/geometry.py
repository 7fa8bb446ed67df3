"""Windowed operators over maps (convolution, pooling): output sizes, regions and row windows, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import Need, RowWindow, window_1d

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]  # top, bottom, left, right


def output_size(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Positions of a window of `kernel` taps along an axis of `size` elements with padding before and after."""
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


def windowed_shape(
    node: Node, kernel: Pair, stride: Pair, dilation: Pair, pad: Padding, channels: int
) -> tuple[int, int, int, int]:
    """NHWC output shape; ShapeError when the input is no single map or the window does not fit into it."""
    x = node.tensor(0)
    if len(x.shape) != 4 or x.shape[0] != 1:
        raise ShapeError(
            f"{node.op.kind} needs one NHWC map, not a tensor of shape {list(x.shape)}",
            str(node.op.source),
            "export the model with batch size 1 (one sample per inference)",
        )
    _, h, w, _ = x.shape
    out_h = output_size(h, kernel[0], stride[0], dilation[0], pad[0], pad[1])
    out_w = output_size(w, kernel[1], stride[1], dilation[1], pad[2], pad[3])
    if min(*kernel, *stride, *dilation) < 1 or min(pad) < 0 or out_h < 1 or out_w < 1:
        raise ShapeError(
            f"{node.op.kind}: kernel {list(kernel)}, stride {list(stride)}, dilation {list(dilation)} and padding "
            f"{list(pad)} do not fit an input of {h}x{w}",
            str(node.op.source),
            "check the attributes of this node in the exported model",
        )
    return 1, out_h, out_w, channels


def window_need(node: Node, out: Region, kernel: Pair, stride: Pair, dilation: Pair, pad: Padding) -> Need:
    """Rows and columns of input 0 that an output region needs, with the padding around them."""
    form = node.tensor(0).form
    y0, y1, top, bottom = window_1d(out.y0, out.y1, form.rows, kernel[0], stride[0], dilation[0], pad[0])
    x0, x1, left, right = window_1d(out.x0, out.x1, form.width, kernel[1], stride[1], dilation[1], pad[2])
    return Need(Region(y0, y1, x0, x1), top, bottom, left, right)


@dataclass(frozen=True)
class Ends:
    """Pixels at the ends of an output row that a kernel makes apart from those between."""

    left: int
    right: int


def row_ends(size: int, in_w: int, kernel: int, stride: int, pad: int, block: int) -> Ends:
    """The fewest pixels at the ends of a row of `size`, no single ones where that can be, so that all taps of the
    others lie inside the input's `in_w` columns and their number is a multiple of `block`."""
    first = min(size, -(-pad // stride))
    last = max(first, min(size, (in_w - kernel + pad) // stride + 1))
    ways = []
    for middle in range((last - first) // block, -1, -1):
        spare = last - first - middle * block
        ways += [Ends(first + k, size - last + spare - k) for k in range(spare + 1)]
    return min(ways, key=lambda e: ((e.left == 1) + (e.right == 1), e.left + e.right))


def tile_padding(needs: Sequence[Need | None]) -> Padding | None:
    """The padding of a windowed operator that makes a rectangle from just the rectangle's needs; None where all of it
    is padding."""
    need = needs[0]
    if need is None or need.region.rows == 0 or need.region.cols == 0:
        return None
    return need.top, need.bottom, need.left, need.right


def row_windows(kernel: Pair, stride: Pair, dilation: Pair, pad: Padding) -> tuple[RowWindow, ...]:
    """The row pointers of input 0, one per kernel row."""
    return (RowWindow(0, count=kernel[0], stride=stride[0], pad=pad[0], dilation=dilation[0], array=True),)
