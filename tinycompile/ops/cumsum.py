"""cumsum: running sums, or products, along one dimension, in either direction.

It needs its whole input: a barrier to streaming.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Grain, KernelCall, Need, Operator, RowWindow, whole
from tinycompile.ops.elementwise_functions import NUMBER, SUFFIX


@dataclass(frozen=True)
class CumsumAttrs(Attrs):
    """`exclusive`: an element's own value is no part of its sum. `reverse`: sums begin at the last element.
    `product`: elements are multiplied."""

    axis: int = 0
    exclusive: bool = False
    reverse: bool = False
    product: bool = False


class Cumsum(Operator):
    kind = "cumsum"
    attrs_class = CumsumAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, axis = node.tensor(0), node.attrs.axis
        if x.dtype not in NUMBER or not 0 <= axis < len(x.shape):
            raise UnsupportedError(
                f"running sums of {x.dtype.value} along dimension {axis} of {list(x.shape)}",
                str(node.op.source),
                "cast the input to a number",
            )
        return x.shape, x.dtype

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return (Need(whole(node.tensor(0))),)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x, attrs = inputs[0], node.attrs
        assert x is not None
        values = np.moveaxis(x.reshape(node.tensor(0).shape), attrs.axis, 0)
        values = values[::-1] if attrs.reverse else values
        running, neutral = (np.cumprod, np.ones_like) if attrs.product else (np.cumsum, np.zeros_like)
        with np.errstate(all="ignore"):
            sums = running(values, axis=0, dtype=x.dtype)
        if attrs.exclusive:
            sums = np.concatenate([neutral(sums[:1]), sums[:-1]])
        sums = np.moveaxis(sums[::-1] if attrs.reverse else sums, 0, attrs.axis)
        form = node.out.form
        return sums.reshape(form.rows, form.width, form.channels)[out.y0 : out.y1, out.x0 : out.x1]

    def grain(self, node: Node) -> Grain:
        return Grain.WHOLE

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        shape, attrs = node.out.shape, node.attrs
        consts = (
            ("outer", math.prod(shape[: attrs.axis])),
            ("n", shape[attrs.axis]),
            ("inner", math.prod(shape[attrs.axis + 1 :])),
            ("exclusive", int(attrs.exclusive)),
            ("reverse", int(attrs.reverse)),
        )
        kernel = f"tc_{'cumprod' if attrs.product else 'cumsum'}_{SUFFIX[node.out.dtype]}"
        return (KernelCall(kernel, (RowWindow(0, whole=True),), (), consts, include="tc_cumsum.h"),)
