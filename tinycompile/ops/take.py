"""take: data [outer...,n,inner...] at run-time places along one dimension, as NumPy's; the places are int64.

Negative places count from the end; those outside give the nearest one that is inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Grain, KernelCall, Need, Operator
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.operands import whole_needs, whole_operands, whole_values


@dataclass(frozen=True)
class TakeAttrs(Attrs):
    """The dimension along which the places count."""

    axis: int = 0


class Take(Operator):
    kind = "take"
    attrs_class = TakeAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        data, places, axis = node.tensor(0), node.tensor(1), node.attrs.axis
        if places.dtype != DType.INT64 or not 0 <= axis < len(data.shape):
            raise UnsupportedError(
                f"places of type {places.dtype.value} along dimension {axis} of {list(data.shape)}",
                str(node.op.source),
                "give places of type int64",
            )
        return (*data.shape[:axis], *places.shape, *data.shape[axis + 1 :]), data.dtype

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return whole_needs(node)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        data, places = whole_values(node, inputs)
        n = data.shape[node.attrs.axis]
        taken = np.take(data, np.clip(np.where(places < 0, places + n, places), 0, n - 1), node.attrs.axis)
        form = node.out.form
        return taken.reshape(form.rows, form.width, form.channels)[out.y0 : out.y1, out.x0 : out.x1]

    def grain(self, node: Node) -> Grain:
        return Grain.WHOLE

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        shape, axis, operands = node.tensor(0).shape, node.attrs.axis, whole_operands(node, 2)
        consts = (
            ("outer", math.prod(shape[:axis])),
            ("n", shape[axis]),
            ("inner", math.prod(shape[axis + 1 :])),
            ("count", node.tensor(1).elems),
        )
        kernel = f"tc_take_{SUFFIX[node.out.dtype]}"
        return (
            KernelCall(
                kernel,
                operands.windows,
                operands.arrays,
                consts,
                include="tc_take.h",
                arguments=operands.arguments,
            ),
        )
