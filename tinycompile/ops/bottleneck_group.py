"""The rows that an inverted bottleneck expands in one step when it keeps nothing from one step to the next.

A step makes a group of `rows` output rows. Their windows overlap, so the more rows the fewer are expanded again: of
kernel k and stride s, (rows - 1) * s + k input rows in a step, with scratch for as many pixels in each column of a
window.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinycompile.ir.graph import Node
from tinycompile.ops.base import RowWindow
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.geometry import Pair


@dataclass(frozen=True)
class RowGroup:
    """Groups of `rows` of `out_rows` output rows, from `in_rows` input rows."""

    attrs: DepthwiseConv2dAttrs
    kernel: Pair
    in_rows: int
    out_rows: int
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
        for y in range(0, self.out_rows, self.rows):
            made = min(self.rows, self.out_rows - y)
            given = (made - 1) * a.stride[0] + (self.kernel[0] - 1) * self.tap + 1
            first, step = y * a.stride[0] - a.pad[0], self.row_window.dilation
            count += sum(0 <= first + step * k < self.in_rows for k in range(given))
        return count

    @property
    def consts(self) -> list[tuple[str, int]]:
        """What the kernel wants to know beside the sizes of a row."""
        return [
            ("rows", self.rows),
            ("held_h", self.held),
            ("stride_h", self.attrs.stride[0]),
            ("dilation_h", self.tap),
        ]


def group_of(node: Node) -> RowGroup:
    """The groups of rows of an inverted bottleneck that keeps nothing."""
    weights = node.tensor(3).shape
    a = node.attrs
    return RowGroup(a.depthwise, (weights[1], weights[2]), node.tensor(0).form.rows, node.out.form.rows, a.rows)
