"""put: data [n,inner] with updates [count,inner] put at run-time places [count], one after the other; places are int64.

An update replaces what is there, or is combined with it. Places outside of [0, n) are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Grain, KernelCall, Need, Operator
from tinycompile.ops.elementwise_functions import ANY, NUMBER, SUFFIX
from tinycompile.ops.operands import whole_needs, whole_operands, whole_values

COMBINATIONS: dict[str, tuple[Callable[[Any, Any], Any], frozenset[DType]]] = {
    "set": (lambda old, new: new, ANY),
    "add": (lambda old, new: old + new, NUMBER),
    "mul": (lambda old, new: old * new, NUMBER),
    "max": (np.maximum, NUMBER),
    "min": (np.minimum, NUMBER),
}


@dataclass(frozen=True)
class PutAttrs(Attrs):
    """`combination`: a name in `COMBINATIONS`."""

    combination: str = "set"


class Put(Operator):
    kind = "put"
    attrs_class = PutAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        data, places, updates = (node.tensor(k) for k in range(3))
        fits = len(data.shape) == 2 and updates.shape == (places.elems, data.shape[1]) and len(places.shape) == 1
        known = updates.dtype == data.dtype and data.dtype in COMBINATIONS[node.attrs.combination][1]
        if not fits or not known or places.dtype != DType.INT64:
            raise UnsupportedError(
                f"{node.attrs.combination} of {updates.dtype.value} {list(updates.shape)} into {data.dtype.value} "
                f"{list(data.shape)}",
                str(node.op.source),
                "cast data and updates to one type of numbers",
            )
        return data.shape, data.dtype

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return whole_needs(node)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        data, places, updates = whole_values(node, inputs)
        function, result = COMBINATIONS[node.attrs.combination][0], data.copy()
        with np.errstate(all="ignore"):
            for place, update in zip(places.tolist(), updates, strict=True):
                if 0 <= place < len(result):
                    result[place] = function(result[place], update)
        form = node.out.form
        return result.reshape(form.rows, form.width, form.channels)[out.y0 : out.y1, out.x0 : out.x1]

    def in_place(self, node: Node) -> tuple[int, ...]:
        return () if node.tensor(0).is_const else (0,)

    def grain(self, node: Node) -> Grain:
        return Grain.WHOLE

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        (n, inner), operands = node.tensor(0).shape, whole_operands(node, 3)
        kernel = f"tc_put_{node.attrs.combination}_{SUFFIX[node.out.dtype]}"
        return (
            KernelCall(
                kernel,
                operands.windows,
                operands.arrays,
                (("n", n), ("inner", inner), ("count", node.tensor(1).elems)),
                include="tc_put.h",
                arguments=operands.arguments,
            ),
        )
