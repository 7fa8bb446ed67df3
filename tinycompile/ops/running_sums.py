"""What operators that add up the rows of their input share: int32 sums, output row y those over input rows 0 to y.

The rows of the input may go as soon as they are added, and each row of sums takes the place of the one before it, so
that a reduction over a whole map needs neither the map nor more than one row of sums.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import OWN_OUTPUT, Need, Operator, RowWindow

WINDOWS = (RowWindow(0), RowWindow(OWN_OUTPUT, stride=1, pad=1))
"""The kernel's row of the input, and the row of sums before it."""


class RunningSums(Operator):
    """Input 0 (rows, width, ch) -> int32 (rows, 1, sums), wrapping."""

    @abc.abstractmethod
    def start(self, node: Node) -> NDArray[np.int64] | int:
        """What the first row is added to, (sums,)."""

    @abc.abstractmethod
    def terms(self, node: Node, out: Region, x: Array) -> NDArray[np.int64]:
        """What the rows of `out` add, (out.rows, sums); `x` holds those rows of the input, (out.rows, width, ch)."""

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        need = Need(Region(out.y0, out.y1, 0, node.tensor(0).form.width))
        return (need, *(None for _ in node.inputs[1:]))

    def carries(self, node: Node) -> bool:
        return True

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        assert out.y0 == 0
        return self._sums(node, out, inputs, self.start(node))

    def advance(self, node: Node, out: Region, inputs: Sequence[Array | None], previous: Array) -> Array:
        assert out.y0 > 0
        return self._sums(node, out, inputs, previous[0, 0].astype(np.int64))

    def _sums(
        self, node: Node, out: Region, inputs: Sequence[Array | None], before: NDArray[np.int64] | int
    ) -> NDArray[np.int32]:
        assert inputs[0] is not None
        sums = before + self.terms(node, out, inputs[0]).cumsum(axis=0)
        return np.asarray(sums.astype(np.int32)).reshape(out.rows, 1, -1)
