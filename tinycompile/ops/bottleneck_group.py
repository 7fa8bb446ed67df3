"""The rows that an inverted bottleneck expands in one step when it keeps nothing from one step to the next.

A step makes a group of `rows` output rows. Their windows overlap, so the more rows the fewer are expanded again: of
kernel k and stride s, (rows - 1) * s + k input rows in a step, with scratch for as many pixels in each column of a
window. Where that needs less scratch, a step expands a few channels at a time and holds the sums that the projection
has made of them so far, for each pixel of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinycompile.ir.graph import Array, Node
from tinycompile.ops.base import RowWindow
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.geometry import Pair

CHANNELS = 8  # expanded at a time where sums are held


@dataclass(frozen=True)
class RowGroup:
    """Groups of `rows` of the output's rows. `mid_ch`: expanded channels; `made`: rows, columns, channels of the
    output."""

    attrs: DepthwiseConv2dAttrs
    kernel: Pair
    in_rows: int
    mid_ch: int
    made: tuple[int, int, int]
    rows: int

    @property
    def tap(self) -> int:
        """Held rows from one tap of the kernel to the next: a single row asks for the rows of its taps only."""
        return 1 if self.rows == 1 else self.attrs.dilation[0]

    @property
    def held(self) -> int:
        """Input rows that the kernel is given, of which it holds the pixels of a window's columns expanded."""
        return (self.rows - 1) * self.attrs.stride[0] + (self.kernel[0] - 1) * self.tap + 1

    @property
    def span(self) -> int:
        """Columns of a window."""
        return (self.kernel[1] - 1) * self.attrs.dilation[1] + 1

    @property
    def row_window(self) -> RowWindow:
        a = self.attrs
        dilation = a.dilation[0] if self.rows == 1 else 1
        return RowWindow(0, count=self.held, stride=a.stride[0], pad=a.pad[0], dilation=dilation, array=True)

    @property
    def expanded_rows(self) -> int:
        """Rows that all steps together expand."""
        a, count = self.attrs, 0
        for y in range(0, self.made[0], self.rows):
            made = min(self.rows, self.made[0] - y)
            given = (made - 1) * a.stride[0] + (self.kernel[0] - 1) * self.tap + 1
            first, step = y * a.stride[0] - a.pad[0], self.row_window.dilation
            count += sum(0 <= first + step * k < self.in_rows for k in range(given))
        return count

    @property
    def sums_bytes(self) -> int:
        """The int32 sums of all output pixels of a step."""
        return 4 * self.rows * self.made[1] * self.made[2]

    @property
    def by_sums(self) -> bool:
        """Whether sums and a few expanded channels need less scratch than all of these."""
        return self.sums_bytes + self._expanded_bytes(CHANNELS) < self._expanded_bytes(self.mid_ch)

    @property
    def scratch_bytes(self) -> int:
        """The expanded columns under one window, one pixel of the depthwise convolution, and sums where these are
        held."""
        return self.sums_bytes + self._expanded_bytes(CHANNELS) if self.by_sums else self._expanded_bytes(self.mid_ch)

    def _expanded_bytes(self, channels: int) -> int:
        return (self.span * self.held + 1) * min(channels, self.mid_ch)

    def weights(self, stage: str, data: Array) -> tuple[Array, ...]:
        """The weights of a convolution as the kernel reads them, from its own kernel's: those of a depthwise one with
        window columns outermost, as scratch holds them; and a part for all channels that are expanded at a time."""
        if stage == "depthwise":
            data = data.transpose(1, 0, 2)
        if not self.by_sums or stage == "expand":
            return (data,)
        return tuple(np.split(data, range(CHANNELS, self.mid_ch, CHANNELS), axis=data.ndim - 1))

    @property
    def consts(self) -> list[tuple[str, int]]:
        """What the kernel wants to know beside the sizes of a row."""
        return [
            ("rows", self.rows),
            ("held_h", self.held),
            ("stride_h", self.attrs.stride[0]),
            ("dilation_h", self.tap),
            *([("group_ch", CHANNELS)] if self.by_sums else []),
        ]


def group_of(node: Node) -> RowGroup:
    """The groups of rows of an inverted bottleneck that keeps nothing."""
    _, *kernel, mid_ch = node.tensor(3).shape
    form = node.out.form
    made = form.rows, form.width, form.channels
    a = node.attrs
    return RowGroup(a.depthwise, (kernel[0], kernel[1]), node.tensor(0).form.rows, mid_ch, made, a.rows)
