"""concat: inputs side by side along one axis; each is requantised where its quantisation differs from the output's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node, Tensor
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, Grain, KernelCall, Need, Operator, RowWindow
from tinycompile.ops.requantize import requantized


@dataclass(frozen=True)
class ConcatAttrs(Attrs):
    axis: int = 0


class Concat(Operator):
    kind = "concat"
    attrs_class = ConcatAttrs

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        shapes = [t.shape for t in node.inputs if t is not None]
        axis = node.attrs.axis
        first = shapes[0]
        if any(len(s) != len(first) or s[:axis] != first[:axis] or s[axis + 1 :] != first[axis + 1 :] for s in shapes):
            raise ShapeError(
                f"concat of {[list(s) for s in shapes]} along axis {axis}",
                str(node.op.source),
                "all dimensions but the concatenated one must agree",
            )
        return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :]), node.tensor(0).dtype

    def unsupported(self, node: Node) -> str | None:
        if any(t is not None and t.is_const for t in node.inputs):
            return "concatenation with a constant"
        types = {t.dtype for t in (*node.inputs, node.out) if t is not None}
        if len(types) > 1:
            return f"concatenation of types {sorted(t.value for t in types)}"
        if types != {DType.INT8} and any(self._table(node, k) is not None for k in range(len(node.inputs))):
            return f"concatenation of {node.out.dtype.value} with different scales: only int8 has a kernel"
        return None

    def _table(self, node: Node, k: int) -> Array | None:
        """Requantisation of input `k` by byte, None when it is copied as it is."""
        x, y = node.tensor(k), node.out
        if x.quant is None or y.quant is None or x.quant == y.quant:
            return None
        return np.roll(requantized(np.arange(-128, 128, dtype=np.int64), node, k).astype(np.int8), 128)

    def _inner(self, node: Node, tensor: Tensor) -> int:
        """Bytes of one contiguous run of `tensor` inside the output."""
        return math.prod(tensor.shape[node.attrs.axis :]) * tensor.dtype.itemsize

    def _start(self, node: Node, k: int) -> int:
        """Where input `k` begins along the axis."""
        return sum(node.tensor(i).shape[node.attrs.axis] for i in range(k))

    def grain(self, node: Node) -> Grain:
        inner = self._inner(node, node.out)
        joins_rows = math.prod(node.out.shape[: node.attrs.axis]) == 1
        return Grain.ROW if node.out.row_bytes % inner == 0 or joins_rows else Grain.WHOLE

    def _by_rows(self, node: Node) -> int | None:
        """Rows of the output per index of the axis when whole rows are joined, else None."""
        inner = self._inner(node, node.out)
        if self.grain(node) is Grain.WHOLE or node.out.row_bytes % inner == 0:
            return None
        return node.out.form.rows // int(node.out.shape[node.attrs.axis])

    def row_view_offsets(self, node: Node) -> tuple[int, ...] | None:
        """Byte offset of each input inside the output when all are contiguous runs of it, unchanged; else None."""
        if math.prod(node.out.shape[: node.attrs.axis]) != 1 or self.unsupported(node) is not None:
            return None
        if any(self._table(node, k) is not None for k in range(len(node.inputs))):
            return None
        sizes = [t.nbytes for t in node.inputs if t is not None]
        return tuple(sum(sizes[:k]) for k in range(len(sizes)))

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        if self.grain(node) is Grain.WHOLE:
            forms = [node.tensor(k).form for k in range(len(node.inputs))]
            return tuple(Need(Region(0, f.rows, 0, f.width)) for f in forms)
        needs: list[Need | None] = []
        per_index = self._by_rows(node)
        along_width = self._inner(node, node.out) == node.out.row_bytes and node.out.form.width > 1
        along_width = along_width and node.attrs.axis == len(node.out.shape) - 2
        for k in range(len(node.inputs)):
            form, start = node.tensor(k).form, self._start(node, k)
            region = out
            if per_index is not None:
                y0, y1 = out.y0 - start * per_index, out.y1 - start * per_index
                region = Region(max(y0, 0), min(y1, form.rows), out.x0, out.x1)
            elif along_width:
                region = Region(out.y0, out.y1, max(out.x0 - start, 0), min(out.x1 - start, form.width))
            needs.append(Need(region) if region.y0 < region.y1 and region.x0 < region.x1 else None)
        return tuple(needs)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        parts = []
        for k, x in enumerate(inputs):
            if x is None:
                continue
            table = self._table(node, k)
            parts.append(x if table is None else table[np.ascontiguousarray(x).view(np.uint8)])
        if self.grain(node) is Grain.WHOLE:
            shaped = [p.reshape(node.tensor(k).shape) for k, p in enumerate(parts)]
            form = node.out.form
            joined = np.concatenate(shaped, axis=node.attrs.axis).reshape(form.rows, form.width, form.channels)
            return np.asarray(joined[out.y0 : out.y1, out.x0 : out.x1])
        if self._by_rows(node) is not None:
            return np.concatenate(parts, axis=0)
        along_channels = node.attrs.axis == len(node.out.shape) - 1
        return np.concatenate(parts, axis=2 if along_channels else 1)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        calls = []
        per_index = self._by_rows(node)
        out_bytes = self._inner(node, node.out)
        for k in range(len(node.inputs)):
            x, start = node.tensor(k), self._start(node, k)
            in_bytes = self._inner(node, x)
            offset = start * (out_bytes // node.out.shape[node.attrs.axis])
            if per_index is not None:
                window = RowWindow(k, pad=start * per_index)
                chunks, in_bytes, out_pitch, offset = 1, x.row_bytes, x.row_bytes, 0
            else:
                whole = self.grain(node) is Grain.WHOLE
                window = RowWindow(k, whole=whole)
                chunks = (node.out.nbytes if whole else node.out.row_bytes) // out_bytes
                out_pitch = out_bytes
            consts = (("chunks", chunks), ("in_bytes", in_bytes), ("out_pitch", out_pitch), ("out_offset", offset))
            table = self._table(node, k)
            if table is None:
                calls.append(KernelCall("tc_copy_chunks", (window,), (), consts, element="uint8_t"))
            else:
                arrays = (ConstArray("table", table),)
                calls.append(KernelCall("tc_table_chunks_s8", (window,), arrays, consts))
        return tuple(calls)
