"""requantize: int8 or uint8 to int8 or uint8 with other quantisation parameters, as LiteRT's QUANTIZE does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, KernelCall, RowWindow
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.table import TableOperator


def requantized(x: NDArray[np.int64], node: Node, index: int = 0) -> NDArray[np.int64]:
    """Values of input `index` in the output's quantisation, clamped to the output's type (LiteRT ``Requantize``)."""
    (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(index)), tensor_quant(node, node.out)
    multiplier, shift = quantize_multiplier(s_x / s_y)
    return np.asarray(
        np.clip(multiply_by_quantized_multiplier(x - zp_x, multiplier, shift) + zp_y, *node.out.dtype.int_range)
    )


class Requantize(TableOperator):
    kind = "requantize"

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        return node.tensor(0).shape, node.out.dtype

    def unsupported(self, node: Node) -> str | None:
        byte = (DType.INT8, DType.UINT8)
        if node.tensor(0).dtype in byte and node.out.dtype in byte:
            return None
        return (
            f"requantisation {node.tensor(0).dtype.value} -> {node.out.dtype.value}: only int8 and uint8 have a kernel"
        )

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        return requantized(x, node)

    def _by_byte(self, node: Node) -> Array:
        """Output byte (as int8) for each input byte."""
        x = np.arange(256, dtype=np.uint8).view(node.tensor(0).dtype.numpy).astype(np.int64)
        return self.values(node, x).astype(node.out.dtype.numpy).view(np.int8)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        return np.asarray(self._by_byte(node)[np.ascontiguousarray(x).view(np.uint8)].view(node.out.dtype.numpy))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        elems = out.rows * out.cols * node.out.form.channels
        table = ConstArray("table", self._by_byte(node))
        return (KernelCall("tc_table_s8", (RowWindow(0),), (table,), (("elems", elems),), element="int8_t"),)
