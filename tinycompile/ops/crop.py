"""crop: a rectangle of a map, all channels. A view: its rows lie inside the rows of the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import KernelCall, Need, Operator


@dataclass(frozen=True)
class CropAttrs(Attrs):
    """Rows [y0, y1) and columns [x0, x1) of input 0."""

    region: Region


class Crop(Operator):
    kind = "crop"
    attrs_class = CropAttrs

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, r = node.tensor(0), node.attrs.region
        inside = 0 <= r.y0 < r.y1 <= x.form.rows and 0 <= r.x0 < r.x1 <= x.form.width
        if len(x.shape) != 4 or x.shape[0] != 1 or not inside:
            raise ShapeError(
                f"crop to {r} of a tensor of shape {list(x.shape)}", str(node.op.source), "report this bug"
            )
        return (1, r.rows, r.cols, x.shape[3]), x.dtype

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        r = node.attrs.region
        return (Need(Region(out.y0 + r.y0, out.y1 + r.y0, out.x0 + r.x0, out.x1 + r.x0)),)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        return x

    def rectangle(self, node: Node) -> Region:
        region: Region = node.attrs.region
        return region

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        return ()
