"""requantize: integers with other quantisation parameters, as LiteRT's QUANTIZE does: int8, uint8 and int16."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, KernelCall, RowWindow
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.table import TableOperator


def requantized(x: NDArray[np.int64], node: Node, index: int = 0) -> NDArray[np.int64]:
    """Values of input `index` in the output's quantisation, clamped to the output's type (LiteRT ``Requantize``)."""
    (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(index)), tensor_quant(node, node.out)
    multiplier, shift = quantize_multiplier(s_x / s_y)
    return np.asarray(
        np.clip(multiply_by_quantized_multiplier(x - zp_x, multiplier, shift) + zp_y, *node.out.dtype.int_range)
    )


def _is_wide(node: Node) -> bool:
    """Whether either of input and output is int16."""
    return DType.INT16 in (node.tensor(0).dtype, node.out.dtype)


def requantize_call(
    node: Node, scaling: tuple[int, int], bounds: tuple[int, int], window: RowWindow, runs: tuple[int, int, int, int]
) -> KernelCall:
    """The kernel that makes the output's values of those of one input, where either are int16. `scaling`: multiplier
    and shift; `runs`: their number, the values in one, how far apart they begin in the output, and where the first."""
    x, y = node.tensor(window.index), node.out
    names = ("chunks", "run", "out_pitch", "out_offset")
    consts = (
        *zip(names, runs, strict=True),
        ("in_zero_point", tensor_quant(node, x)[1]),
        ("multiplier", scaling[0]),
        ("shift", scaling[1]),
        ("out_zero_point", tensor_quant(node, y)[1]),
        ("lo", bounds[0]),
        ("hi", bounds[1]),
    )
    kernel = f"tc_requantize_{SUFFIX[x.dtype]}_{SUFFIX[y.dtype]}"
    return KernelCall(kernel, (window,), (), consts, include="tc_requantize_values.h")


_BYTES = frozenset({DType.INT8, DType.UINT8})
_WITH_INT16 = frozenset({DType.INT8, DType.INT16, DType.UINT16})


class Requantize(TableOperator):
    kind = "requantize"

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        return node.tensor(0).shape, node.out.dtype

    def unsupported(self, node: Node) -> str | None:
        pair = node.tensor(0).dtype, node.out.dtype
        if set(pair) <= _BYTES or (_is_wide(node) and set(pair) <= _WITH_INT16):
            return None
        return (
            f"requantisation {pair[0].value} -> {pair[1].value}: only int8 to and from uint8 or int16, and int16 to "
            "and from uint16 have kernels"
        )

    def in_place(self, node: Node) -> tuple[int, ...]:
        """int16 may become int8 from low to high addresses, not the other way round."""
        return (0,) if node.out.dtype.itemsize <= node.tensor(0).dtype.itemsize else ()

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        return requantized(x, node)

    def _by_byte(self, node: Node) -> Array:
        """Output byte (as int8) for each input byte."""
        x = np.arange(256, dtype=np.uint8).view(node.tensor(0).dtype.numpy).astype(np.int64)
        return self.values(node, x).astype(node.out.dtype.numpy).view(np.int8)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        if _is_wide(node):
            return self.values(node, x.astype(np.int64)).astype(node.out.dtype.numpy)
        return np.asarray(self._by_byte(node)[np.ascontiguousarray(x).view(np.uint8)].view(node.out.dtype.numpy))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        elems = out.rows * out.cols * node.out.form.channels
        if _is_wide(node):
            scaling = quantize_multiplier(tensor_quant(node, node.tensor(0))[0] / tensor_quant(node, node.out)[0])
            runs = (1, elems, elems, 0)
            return (requantize_call(node, scaling, node.out.dtype.int_range, RowWindow(0), runs),)
        table = ConstArray("table", self._by_byte(node))
        return (KernelCall("tc_table_s8", (RowWindow(0),), (table,), (("elems", elems),), element="int8_t"),)
