"""Functions of one quantised value: of int8 256-entry tables that the compiler fills from exact reference semantics, of
int16 kernels that compute the same, where an operator has one."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, Grain, KernelCall, Need, Operator, RowWindow
from tinycompile.ops.elementwise import ACTIVATIONS, integer_unsupported, same_region


class TableOperator(Operator):
    """An operator given by its value at each input. Flat and in place."""

    @abc.abstractmethod
    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        """The quantised output for quantised inputs `x`: the definition of the operator."""

    def int16_call(self, node: Node, elems: int) -> KernelCall | None:
        """The kernel for int16 values; None where there is none."""
        return None

    def table(self, node: Node) -> Array:
        """Entry ``q + 128`` is the output for input q; indexed by the input's byte with its sign bit flipped."""
        return self.values(node, np.arange(-128, 128, dtype=np.int64)).astype(np.int8)

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        return node.tensor(0).shape, node.tensor(0).dtype

    def unsupported(self, node: Node) -> str | None:
        types = ACTIVATIONS if self.int16_call(node, 1) is not None else (DType.INT8,)
        return integer_unsupported(node, types)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return same_region(node, out)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        if x.dtype == np.int16:
            return self.values(node, x.astype(np.int64)).astype(node.out.dtype.numpy)
        return np.asarray(self.table(node)[x.astype(np.int64) + 128])

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        attrs: Attrs = node.attrs
        return attrs

    def in_place(self, node: Node) -> tuple[int, ...]:
        return (0,)

    def grain(self, node: Node) -> Grain:
        return Grain.FLAT

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        elems = out.rows * out.cols * node.out.form.channels
        call = self.int16_call(node, elems) if node.tensor(0).dtype == DType.INT16 else None
        return (call or table_call(self.table(node), elems),)


def table_call(table: Array, elems: int, index: int = 0) -> KernelCall:
    """``tc_table_s8`` over `elems` values of input `index`; `table` as `TableOperator.table`."""
    by_byte = np.roll(table, 128)  # entry b is for the input whose byte is b
    return KernelCall("tc_table_s8", (RowWindow(index),), (ConstArray("table", by_byte),), (("elems", elems),))
