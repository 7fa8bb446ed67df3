"""pad: a constant border around the row form's rows, columns and channels; stored value given (the zero point, say)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import KernelCall, Need, Operator, RowWindow


@dataclass(frozen=True)
class PadAttrs(Attrs):
    """Elements added before and after, per dimension; `value` is the stored (quantised) value."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    value: float = 0


class Pad(Operator):
    kind = "pad"
    attrs_class = PadAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, a = node.tensor(0), node.attrs
        if len(a.before) != len(x.shape) or len(a.after) != len(x.shape) or min(*a.before, *a.after, 0) < 0:
            raise ShapeError(
                f"padding {list(a.before)}, {list(a.after)} for an input of shape {list(x.shape)}",
                str(node.op.source),
                "give two non-negative amounts per dimension",
            )
        return tuple(d + b + e for d, b, e in zip(x.shape, a.before, a.after, strict=True)), x.dtype

    def _form_pads(self, node: Node) -> tuple[int, int, int] | None:
        """(rows, columns, channels) added before, in row form; None when the padding is no such border."""
        before, after, shape = node.attrs.before, node.attrs.after, node.tensor(0).shape
        rank = len(shape)
        if rank < 2:
            return 0, 0, before[0] if rank else 0
        rows_axis = 0 if rank == 2 else 1
        if any(before[:rows_axis]) or any(after[:rows_axis]) or (rank > 2 and shape[0] != 1) or rank > 4:
            return None
        return before[rows_axis], before[2] if rank == 4 else 0, before[rank - 1]

    def unsupported(self, node: Node) -> str | None:
        if node.tensor(0).dtype.itemsize != 1:
            return f"padding of {node.tensor(0).dtype.value}: only 8-bit types have a kernel"
        if node.tensor(0).quant != node.out.quant:
            return "padding that changes the quantisation parameters"
        if self._form_pads(node) is None:
            return f"padding of a leading dimension of a tensor of shape {list(node.tensor(0).shape)}"
        return None

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        pads = self._form_pads(node)
        assert pads is not None
        form = node.tensor(0).form
        y0, y1 = max(out.y0 - pads[0], 0), min(out.y1 - pads[0], form.rows)
        x0, x1 = max(out.x0 - pads[1], 0), min(out.x1 - pads[1], form.width)
        return (Need(Region(y0, y1, x0, x1)) if y0 < y1 and x0 < x1 else None, *(None for _ in node.inputs[1:]))

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        pads = self._form_pads(node)
        assert pads is not None
        shape = (out.rows, out.cols, node.out.form.channels)
        result = np.full(shape, node.attrs.value, dtype=node.out.dtype.numpy)
        need = self.in_region(node, out)[0]
        if need is not None and inputs[0] is not None:
            r = need.region
            y, x, c = r.y0 + pads[0] - out.y0, r.x0 + pads[1] - out.x0, pads[2]
            result[y : y + r.rows, x : x + r.cols, c : c + inputs[0].shape[2]] = inputs[0]
        return result

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        widths = tuple(zip(node.attrs.before, node.attrs.after, strict=True))
        return np.pad(x, widths, constant_values=node.attrs.value)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        pads = self._form_pads(node)
        assert pads is not None
        need = self.in_region(node, Region(pads[0], pads[0] + 1, out.x0, out.x1))[0]
        consts = (
            ("in_w", 0 if need is None else need.region.cols),
            ("in_ch", node.tensor(0).form.channels),
            ("out_w", out.cols),
            ("out_ch", node.out.form.channels),
            ("left", 0 if need is None else need.region.x0 + pads[1] - out.x0),
            ("first_ch", pads[2]),
            ("value", int(node.attrs.value) & 0xFF),
        )
        return (KernelCall("tc_pad", (RowWindow(0, pad=pads[0]),), (), consts, element="uint8_t"),)
