"""inverted_bottleneck: a 1x1 conv2d that expands, a depthwise_conv2d and a 1x1 conv2d that projects, as one operator
that never holds the expanded map; with or without the addition of its input.

Inputs: the map, then weights and bias of each convolution. The arithmetic is that of the operators it stands for
(`bottleneck_parts`); what is new is the order: every output row, or group of rows, expands the input rows of its window
again, column by column, and each projected pixel goes straight into the addition (`bottleneck_group`). One that is
`kept` expands no pixel twice (`bottleneck_ring`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import GENERIC, ConstArray, KernelCall, Need, Operator, RowWindow, Variant
from tinycompile.ops.bottleneck_group import group_of
from tinycompile.ops.bottleneck_parts import (
    ADD,
    DEPTHWISE,
    EXPAND,
    PROJECT,
    STAGES,
    InvertedBottleneckAttrs,
    Parts,
    addition,
    convolutions,
    parts_unsupported,
    why_not_added,
    why_not_one,
)
from tinycompile.ops.bottleneck_ring import filter_row, ring_of
from tinycompile.ops.convolution import clamp_range, tensor_quant
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.geometry import Pair, tile_padding, window_need
from tinycompile.ops.packed_weights import flash_weights, in_bytes, weight_bits


class InvertedBottleneck(Operator):
    kind = "inverted_bottleneck"
    attrs_class = InvertedBottleneckAttrs

    def _kernel(self, node: Node) -> Pair:
        return node.tensor(3).shape[1], node.tensor(3).shape[2]

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        a: InvertedBottleneckAttrs = node.attrs
        parts = convolutions(node)
        reason = why_not_one(parts)
        if reason is None and a.residual is not None:
            reason = why_not_added(parts, a.residual_at)
        if reason is not None:
            raise ShapeError(f"no inverted bottleneck: {reason}", str(node.op.source), "report this bug")
        return parts[2].out.shape, parts[2].out.dtype

    def unsupported(self, node: Node) -> str | None:
        parts = convolutions(node)
        added = addition(node, parts[2])
        return parts_unsupported(parts) or (None if added is None else ADD.unsupported(added))

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        a = node.attrs.depthwise  # the others are pointwise, and what is added lies in the window
        need = window_need(node, out, self._kernel(node), a.stride, a.dilation, a.pad)
        return (need, *(None for _ in node.inputs[1:]))

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        pad = tile_padding(needs)
        if pad is None:
            return None
        a: InvertedBottleneckAttrs = node.attrs
        # Where the tile's input begins with a halo instead of padding, what is added lies behind the halo.
        at = a.residual_at[0] + a.depthwise.pad[0] - pad[0], a.residual_at[1] + a.depthwise.pad[2] - pad[2]
        return replace(
            a, depthwise=replace(a.depthwise, pad=pad), residual_at=a.residual_at if a.residual is None else at
        )

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        parts = expand, depthwise, _ = convolutions(node)
        need = self.in_region(node, out)[0]
        assert need is not None
        assert inputs[0] is not None
        # The padding is of the expanded map: what lies outside the input is never expanded.
        expanded = EXPAND.compute(expand, need.region, (inputs[0], None, None))
        filtered = DEPTHWISE.compute(depthwise, out, (expanded, None, None))
        return self._finish(node, parts, out, filtered, inputs[0], need.region)

    def _finish(self, node: Node, parts: Parts, out: Region, filtered: Array, given: Array, held: Region) -> Array:
        """Projection and addition; `given`: region `held` of the input."""
        projected = PROJECT.compute(parts[2], out, (filtered, None, None))
        added = addition(node, parts[2])
        if added is None:
            return projected
        y, x = (a - b for a, b in zip(node.attrs.residual_at, (held.y0, held.x0), strict=True))
        there = given[out.y0 + y : out.y1 + y, out.x0 + x : out.x1 + x]
        return ADD.compute(added, out, (projected, there))

    def keeps(self, node: Node) -> bool:
        kept: bool = node.attrs.kept
        return kept

    def step_rows(self, node: Node) -> int:
        rows: int = node.attrs.rows
        return rows

    def step_region(self, node: Node, y: int) -> tuple[Need | None, ...]:
        if not self.keeps(node):
            return super().step_region(node, y)
        ring = ring_of(node)
        first, end = ring.fresh(y)
        if node.attrs.residual is not None:  # rows between the two are added later
            added = y + node.attrs.residual_at[0]
            first, end = (min(first, added), max(end, added + 1)) if first < end else (added, added + 1)
        return (Need(Region(first, end, 0, ring.width)), *(None for _ in node.inputs[1:]))

    def advance_kept(self, node: Node, y: int, inputs: Sequence[Array | None], kept: Array) -> Array:
        ring, parts, need = ring_of(node), convolutions(node), self.step_region(node, y)[0]
        assert need is not None
        assert inputs[0] is not None
        first, end = (row - need.region.y0 for row in ring.fresh(y))
        rows = inputs[0][first:end] if first < end else inputs[0][:0]
        filtered = filter_row(ring, parts, y, rows, kept)
        return self._finish(node, parts, Region(y, y + 1, 0, filtered.shape[1]), filtered, inputs[0], need.region)

    def over_window(self, node: Node) -> tuple[Variant, ...]:
        """The kernel as it is, where it never writes what it has yet to read.

        When output pixel x is written, the columns up to its window's last have been expanded, and none of them is read
        again from any row: the next is `column`, where its window ends or the next one begins behind that. So the
        out_ch * (x + 1) bytes written by then must end at or before in_ch * column, unless no column is left. What is
        added to a pixel lies at the pixel's own column or further right, in a row with as many channels as the
        output's; it is read channel by channel before the output's channel is written. Kept pixels are expanded in the
        same order of columns from the last row of the window, and from all rows above it before the first pixel.

        Of a group of rows, the pixels of a column are made from top to bottom. The row that the j-th is written over is
        added, if at all, to the j-th or one above it. By sums, rows are written behind the last read but for that.
        """
        a: DepthwiseConv2dAttrs = node.attrs.depthwise
        form, out = node.tensor(0).form, node.out.form
        if not self.keeps(node) and group_of(node).by_sums:
            return (GENERIC,)
        span = (self._kernel(node)[1] - 1) * a.dilation[1] + 1
        for x in range(out.width - 1):
            column = max(x * a.stride[1] - a.pad[2] + max(span, a.stride[1]), 0)
            if column < form.width and out.channels * (x + 1) > form.channels * column:
                return ()
        return (GENERIC,)

    def scratch_bytes(self, node: Node) -> int:
        if self.keeps(node):  # the ring, and one pixel of the depthwise convolution
            return (ring_of(node).slots + 1) * node.tensor(1).shape[0]
        return group_of(node).scratch_bytes

    def macs(self, node: Node) -> int:
        """All that is computed, over the columns that some window covers: each group of output rows expands each input
        row of its windows, or, of kept ones, only those that no row above has."""
        expand, depthwise, project = convolutions(node)
        ring = ring_of(node)
        if self.keeps(node):
            rows = sum(end - first for first, end in map(ring.fresh, range(node.out.form.rows)))
        else:
            rows = group_of(node).expanded_rows
        pixel = expand.out.form.channels * node.tensor(0).form.channels
        return rows * ring.columns * pixel + DEPTHWISE.macs(depthwise) + PROJECT.macs(project)

    def inner_elems(self, node: Node) -> int:
        _, depthwise, project = convolutions(node)
        expanding = self.macs(node) - DEPTHWISE.macs(depthwise) - PROJECT.macs(project)
        return expanding // node.tensor(0).form.channels + depthwise.out.elems

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        parts, a, kept, group = convolutions(node), node.attrs.depthwise, self.keeps(node), group_of(node)
        need = self.in_region(node, out)[0]
        assert need is not None
        arrays: list[ConstArray] = []
        for (stage, oper), part in zip(STAGES, parts, strict=True):
            weights, *others = oper.calls(in_bytes(part), out)[0].arrays
            made = (weights.data,) if kept else group.weights(stage, weights.data)
            arrays += [replace(a, param=f"{stage}_{a.param}") for a in (flash_weights(part, *made), *others)]
        kernel = self._kernel(node)
        consts = [
            ("in_w", need.region.cols),
            ("in_ch", node.tensor(0).form.channels),
            ("mid_ch", parts[0].out.form.channels),
            ("out_w", out.cols),
            ("out_ch", node.out.form.channels),
            ("kernel_h", kernel[0]),
            ("kernel_w", kernel[1]),
            ("stride_w", a.stride[1]),
            ("dilation_w", a.dilation[1]),
            ("pad_left", need.left),
            *(ring_of(node).consts if kept else group.consts),
            *_output_consts(parts),
        ]
        windows = [ring_of(node).row_window if kept else group.row_window]
        added = addition(node, parts[2])
        if added is not None:
            down, right = node.attrs.residual_at
            windows.append(RowWindow(0, count=node.attrs.rows, pad=-down, array=not kept))
            lo, hi = clamp_range(added.attrs.clamp)
            sums = [("column", out.x0 + right - need.region.x0), *ADD.numbers(added, 0), ("lo", lo), ("hi", hi)]
            consts += [(f"add_{name}", value) for name, value in sums]
        way = "_kept" if kept else "_sums" if group.by_sums else ""
        name = f"tc_inverted_bottleneck{way}{'_add' if added is not None else ''}_s8"
        rows = None if kept else self.step_rows(node)
        scratch = self.scratch_bytes(node)
        return (KernelCall(name, tuple(windows), tuple(arrays), tuple(consts), scratch, kept, out_rows=rows),)


def _output_consts(parts: Parts) -> list[tuple[str, int]]:
    """Zero point and clamp of what each convolution makes, and bits of its weights."""
    consts = []
    for (stage, _), part in zip(STAGES, parts, strict=True):
        lo, hi = clamp_range(part.attrs.clamp)
        zero_point = tensor_quant(part, part.out)[1]
        numbers = (("zero_point", zero_point), ("lo", lo), ("hi", hi), ("bits", weight_bits(part)))
        consts += [(f"{stage}_{name}", value) for name, value in numbers]
    return consts
