"""concat: inputs side by side along one axis; each is requantised where its quantisation differs from the output's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node, Tensor
from tinycompile.ir.quant import quantize_multiplier
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, Grain, KernelCall, Need, Operator, RowWindow
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.elementwise import ACTIVATIONS
from tinycompile.ops.requantize import requantize_call, requantized


@dataclass(frozen=True)
class ConcatAttrs(Attrs):
    axis: int = 0


class Concat(Operator):
    kind = "concat"
    attrs_class = ConcatAttrs
    scale_free = True

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
        if not types <= set(ACTIVATIONS) and any(self._rescales(node, k) for k in range(len(node.inputs))):
            return f"concatenation of {node.out.dtype.value} with different scales: only int8 and int16 have a kernel"
        return None

    def _rescales(self, node: Node, k: int) -> bool:
        """Whether input `k` is requantised, and not copied as it is."""
        x, y = node.tensor(k), node.out
        return x.quant is not None and y.quant is not None and x.quant != y.quant

    def _table(self, node: Node, k: int) -> Array:
        """Requantisation of the int8 input `k` by byte."""
        return np.roll(requantized(np.arange(-128, 128, dtype=np.int64), node, k).astype(np.int8), 128)

    def _inner(self, node: Node, tensor: Tensor) -> int:
        """Bytes of one contiguous run of `tensor` inside the output."""
        return math.prod(tensor.shape[node.attrs.axis :]) * tensor.dtype.itemsize

    def _start(self, node: Node, k: int) -> int:
        """Where input `k` begins along the axis."""
        return sum(node.tensor(i).shape[node.attrs.axis] for i in range(k))

    def grain(self, node: Node) -> Grain:
        inner = self._inner(node, node.out)
        same_rows = all(t is not None and t.row_bytes == node.out.row_bytes for t in node.inputs)
        joins_rows = math.prod(node.out.shape[: node.attrs.axis]) == 1 and same_rows
        return Grain.ROW if node.out.row_bytes % inner == 0 or joins_rows else Grain.WHOLE

    def _by_rows(self, node: Node) -> int | None:
        """Rows of the output per index of the axis when whole rows are joined, else None."""
        inner = self._inner(node, node.out)
        if self.grain(node) is Grain.WHOLE or node.out.row_bytes % inner == 0:
            return None
        return node.out.form.rows // int(node.out.shape[node.attrs.axis])

    def row_view_offsets(self, node: Node) -> tuple[int, ...] | None:
        if math.prod(node.out.shape[: node.attrs.axis]) != 1 or self.unsupported(node) is not None:
            return None
        if any(self._rescales(node, k) for k in range(len(node.inputs))):
            return None
        sizes = [t.nbytes for t in node.inputs if t is not None]
        return tuple(sum(sizes[:k]) for k in range(len(sizes)))

    def _along(self, node: Node) -> str:
        """Which part of the row form grows: "rows", "columns" or "channels"; "whole" when it is none of them."""
        if self.grain(node) is Grain.WHOLE:
            return "whole"
        if self._by_rows(node) is not None:
            return "rows"
        return "channels" if node.attrs.axis == len(node.out.shape) - 1 else "columns"

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        along = self._along(node)
        needs: list[Need | None] = []
        for k in range(len(node.inputs)):
            form, start = node.tensor(k).form, self._start(node, k)
            region = out
            if along == "whole":
                region = Region(0, form.rows, 0, form.width)
            elif along == "rows":
                start *= self._by_rows(node) or 1
                region = Region(max(out.y0 - start, 0), min(out.y1 - start, form.rows), out.x0, out.x1)
            elif along == "columns":
                region = Region(out.y0, out.y1, max(out.x0 - start, 0), min(out.x1 - start, form.width))
            needs.append(Need(region) if region.y0 < region.y1 and region.x0 < region.x1 else None)
        return tuple(needs)

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        attrs: Attrs = node.attrs
        return attrs if self._along(node) == "channels" else None

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        parts = []
        for k, x in enumerate(inputs):
            if x is None:
                continue
            if not self._rescales(node, k):
                parts.append(x)
            elif x.dtype == np.int16:
                parts.append(requantized(x.astype(np.int64), node, k).astype(np.int16))
            else:
                parts.append(self._table(node, k)[np.ascontiguousarray(x).view(np.uint8)])
        along = self._along(node)
        if along == "whole":
            shaped = [p.reshape(node.tensor(k).shape) for k, p in enumerate(parts)]
            form = node.out.form
            joined = np.concatenate(shaped, axis=node.attrs.axis).reshape(form.rows, form.width, form.channels)
            return np.asarray(joined[out.y0 : out.y1, out.x0 : out.x1])
        return np.concatenate(parts, axis={"rows": 0, "columns": 1, "channels": 2}[along])

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        calls = []
        along, size = self._along(node), node.out.dtype.itemsize
        for k in range(len(node.inputs)):
            x, start = node.tensor(k), self._start(node, k)
            window = RowWindow(k, whole=along == "whole")
            chunks, in_bytes, out_pitch, offset = 1, self._inner(node, x), self._inner(node, node.out), 0
            if along == "rows":
                window = RowWindow(k, pad=start * (self._by_rows(node) or 1))
                in_bytes = out_pitch = out.cols * x.form.channels * size
            elif along == "columns":
                need = self.in_region(node, Region(0, 1, out.x0, out.x1))[k]
                if need is None:
                    continue
                pixel = x.form.channels * size
                in_bytes, out_pitch = need.region.cols * pixel, out.cols * pixel
                offset = max(start - out.x0, 0) * pixel
            elif along == "channels":
                chunks, in_bytes, out_pitch = out.cols, x.form.channels * size, node.out.form.channels * size
                offset = start * size
            else:
                chunks = node.out.nbytes // out_pitch
                offset = start * (out_pitch // node.out.shape[node.attrs.axis])
            consts = (("chunks", chunks), ("in_bytes", in_bytes), ("out_pitch", out_pitch), ("out_offset", offset))
            if not self._rescales(node, k):
                calls.append(KernelCall("tc_copy_chunks", (window,), (), consts, element="uint8_t"))
            elif x.dtype == DType.INT16:
                scaling = quantize_multiplier(tensor_quant(node, x)[0] / tensor_quant(node, node.out)[0])
                runs = (chunks, in_bytes // size, out_pitch // size, offset // size)
                calls.append(requantize_call(node, scaling, x.dtype.int_range, window, runs))
            else:
                arrays = (ConstArray("table", self._table(node, k)),)
                calls.append(KernelCall("tc_table_chunks_s8", (window,), arrays, consts))
        return tuple(calls)
