"""The ring of an inverted bottleneck that keeps its expanded pixels from one output row to the next.

Pixels are numbered in raster order over the columns up to the last that a window covers: pixel (r, c) is number
r * covered + c and lies in slot number % slots. They are expanded in that order, each just before the first output
pixel whose window it is in. A window reaches from its first pixel over (kernel_h - 1) * dilation_h rows and its own
width, which is what the slots hold: what is overwritten lies before the window's first pixel, where no later window
begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import RowWindow, window_1d
from tinycompile.ops.bottleneck_parts import DEPTHWISE, EXPAND, Parts
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.geometry import Pair


@dataclass(frozen=True)
class Ring:
    """`rows`, `width`: of the input. `covered`: columns up to the last that some window covers."""

    rows: int
    width: int
    covered: int
    kernel: Pair
    attrs: DepthwiseConv2dAttrs

    @property
    def span(self) -> Pair:
        """Rows and columns from a window's first to its last."""
        (kernel_h, kernel_w), (dilation_h, dilation_w) = self.kernel, self.attrs.dilation
        return (kernel_h - 1) * dilation_h + 1, (kernel_w - 1) * dilation_w + 1

    @property
    def slots(self) -> int:
        rows, columns = self.span
        return max(min((rows - 1) * self.covered + min(columns, self.covered), self.rows * self.covered), 1)

    def fresh(self, y: int) -> tuple[int, int]:
        """The input rows, first and end, that output row `y` needs and none before did."""
        top = y * self.attrs.stride[0] - self.attrs.pad[0]
        before = top if y == 0 else top - self.attrs.stride[0] + self.span[0]
        first = min(max(top, before, 0), self.rows)
        return first, max(min(top + self.span[0], self.rows), first)

    def covers(self, column: int) -> bool:
        """Whether some window covers a column below `covered`."""
        stride = self.attrs.stride[1]
        return stride <= self.span[1] or (column + self.attrs.pad[2]) % stride < self.span[1]

    @property
    def columns(self) -> int:
        """How many columns are expanded."""
        return sum(map(self.covers, range(self.covered)))

    @property
    def row_window(self) -> RowWindow:
        """The last rows of each window, as many as any output row needs fresh."""
        stride, pad, span = self.attrs.stride[0], self.attrs.pad[0], self.span[0]
        count = max(1, min(stride, span), span - pad)
        return RowWindow(0, count=count, stride=stride, pad=pad - (span - count), array=True)

    @property
    def consts(self) -> list[tuple[str, int]]:
        """What the kernel wants to know beside the sizes of a row."""
        a = self.attrs
        return [
            ("in_h", self.rows),
            ("stride_h", a.stride[0]),
            ("dilation_h", a.dilation[0]),
            ("pad_top", a.pad[0]),
            ("given_h", self.row_window.count),
            ("covered", self.covered),
            ("slots", self.slots),
        ]

    def steps(self, y: int, out_width: int) -> Iterator[tuple[int, range, Array, Array]]:
        """For each output pixel of row `y` in turn: its column, the numbers of the pixels to expand for it, the slots
        of its taps, and which of these lie inside the input; the last two of the kernel's shape."""
        a, (first, end) = self.attrs, self.fresh(y)
        rows = y * a.stride[0] - a.pad[0] + np.arange(self.kernel[0]) * a.dilation[0]
        at = first * self.covered
        for x in range(out_width):
            x0 = x * a.stride[1] - a.pad[2]
            wanted = (end - 1) * self.covered + min(max(x0 + self.span[1], 0), self.covered) if first < end else at
            columns = x0 + np.arange(self.kernel[1]) * a.dilation[1]
            inside = np.outer((rows >= 0) & (rows < self.rows), (columns >= 0) & (columns < self.width))
            yield x, range(at, wanted), np.add.outer(rows * self.covered, columns) % self.slots, inside
            at = max(at, wanted)


def ring_of(node: Node) -> Ring:
    """The ring of an inverted bottleneck."""
    a: DepthwiseConv2dAttrs = node.attrs.depthwise
    form, kernel = node.tensor(0).form, (node.tensor(3).shape[1], node.tensor(3).shape[2])
    last = node.out.form.width - 1
    covered = window_1d(last, last + 1, form.width, kernel[1], a.stride[1], a.dilation[1], a.pad[2])[1]
    return Ring(form.rows, form.width, covered, kernel, a)


def filter_row(ring: Ring, parts: Parts, y: int, rows: Array, kept: Array) -> Array:
    """Row `y` of the depthwise convolution, (1, width, channels), by way of the ring in `kept`. `rows`: the input rows
    that are fresh."""
    expand, depthwise, _ = parts
    (first, end), (kernel_h, kernel_w) = ring.fresh(y), ring.kernel
    channels, width = expand.out.form.channels, depthwise.out.form.width
    memory = kept.view(np.int8)
    slots = memory[: ring.slots * channels].reshape(ring.slots, channels)
    expanded = EXPAND.compute(expand, Region(first, end, 0, ring.width), (rows, None, None))
    windows = np.empty((kernel_h, width, kernel_w, channels), dtype=np.int8)
    for x, numbers, taps, inside in ring.steps(y, width):
        for number in numbers:
            row, column = divmod(number, ring.covered)
            if ring.covers(column):
                slots[number % ring.slots] = expanded[row - first, column]
        windows[:, x] = np.where(inside[:, :, None], slots[taps], tensor_quant(expand, expand.out)[1])
    # The windows side by side are a map whose windows do not overlap.
    apart = replace(depthwise.attrs, stride=(1, kernel_w), dilation=(1, 1), pad=(0, 0, 0, 0))
    given = replace(depthwise.tensor(0), shape=(1, kernel_h, width * kernel_w, channels))
    node = replace(depthwise, op=replace(depthwise.op, attrs=apart), inputs=(given, *depthwise.inputs[1:]))
    side_by_side = windows.reshape(kernel_h, width * kernel_w, channels)
    filtered = DEPTHWISE.compute(node, Region(0, 1, 0, width), (side_by_side, None, None))
    memory[ring.slots * channels :] = filtered[0, -1]  # where the kernel makes each pixel
    return filtered
