"""lookup: any function of one int8 value, by the table of its results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ops.table import TableOperator


@dataclass(frozen=True)
class LookupAttrs(Attrs):
    """The results for inputs -128 to 127."""

    values: tuple[int, ...] = tuple(range(-128, 128))


class Lookup(TableOperator):
    kind = "lookup"
    attrs_class = LookupAttrs

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array(node.attrs.values, dtype=np.int64)[x + 128]
