"""reshape: the same elements in the same order under another shape (also squeeze, expand_dims, flatten). A view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Grain, KernelCall, Need, Operator, RowWindow, whole


@dataclass(frozen=True)
class ReshapeAttrs(Attrs):
    shape: tuple[int, ...] = ()


class Reshape(Operator):
    kind = "reshape"
    attrs_class = ReshapeAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x = node.tensor(0)
        if math.prod(node.attrs.shape) != x.elems:
            raise ShapeError(
                f"cannot reshape {list(x.shape)} to {list(node.attrs.shape)}",
                str(node.op.source),
                "both shapes must hold the same number of elements",
            )
        return node.attrs.shape, x.dtype

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        x, y = node.tensor(0), node.out
        if x.form == y.form:
            return (Need(out),)
        first, last = out.y0 * y.form.row_elems, out.y1 * y.form.row_elems
        return (Need(Region(first // x.form.row_elems, -(-last // x.form.row_elems), 0, x.form.width)),)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x, form, source = inputs[0], node.out.form, node.tensor(0).form
        assert x is not None
        if source == form:
            return x
        start = out.y0 * form.row_elems - out.y0 * form.row_elems // source.row_elems * source.row_elems
        rows = x.reshape(-1)[start : start + out.rows * form.row_elems].reshape(out.rows, form.width, form.channels)
        return rows[:, out.x0 : out.x1]

    def view(self, node: Node) -> int | None:
        return 0

    def grain(self, node: Node) -> Grain:
        return Grain.WHOLE

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        """A copy, for the plan that cannot let the two share bytes."""
        assert out == whole(node.out)
        consts = (("bytes", node.out.nbytes),)
        return (KernelCall("tc_copy", (RowWindow(0, whole=True),), (), consts, element="uint8_t"),)
