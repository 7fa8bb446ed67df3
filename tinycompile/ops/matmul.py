"""matmul: [...,M,K] times [...,K,N], leading dimensions broadcast; one of them or both made at run time.

Integers wrap; int8 is quantised, the sums less the zero points requantised once (LiteRT ``BatchMatMul``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, Grain, KernelCall, Need, Operator
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.float_layers import float_unsupported, is_float
from tinycompile.ops.operands import whole_needs, whole_operands, whole_values

TYPES = (DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT32, DType.UINT64)


@dataclass(frozen=True)
class MatmulAttrs(Attrs):
    """Whether the last two dimensions of an operand are exchanged: [...,K,M], [...,N,K]."""

    transpose_a: bool = False
    transpose_b: bool = False


class Matmul(Operator):
    kind = "matmul"
    attrs_class = MatmulAttrs

    def _sizes(self, node: Node) -> tuple[int, int, int, int]:
        """M, K of the first operand, K of the second, N."""
        (m, k), (depth, n) = node.tensor(0).shape[-2:], node.tensor(1).shape[-2:]
        m, k = (k, m) if node.attrs.transpose_a else (m, k)
        depth, n = (n, depth) if node.attrs.transpose_b else (depth, n)
        return m, k, depth, n

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        a, b = node.tensor(0), node.tensor(1)
        where, fix = str(node.op.source), "check the shapes of this product in the exported model"
        if min(len(a.shape), len(b.shape)) < 2:
            raise ShapeError(f"a product of {list(a.shape)} and {list(b.shape)}", where, fix)
        m, k, depth, n = self._sizes(node)
        try:
            lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        except ValueError:
            lead = None
        if k != depth or lead is None:
            raise ShapeError(f"a product of {list(a.shape)} and {list(b.shape)}", where, fix)
        return (*lead, m, n), a.dtype

    def unsupported(self, node: Node) -> str | None:
        if is_float(node):
            return float_unsupported(node)
        a, b = node.tensor(0).dtype, node.tensor(1).dtype
        if a == DType.INT16 and node.tensor(0).quant is not None:
            return "a product of matrices of int16 with a scale"
        known = a in TYPES or all(t is not None and t.quant is not None for t in (*node.inputs, node.out))
        return None if a == b and known else f"a product of matrices of {a.value} and {b.value}"

    def _quantised(self, node: Node) -> bool:
        return node.tensor(0).dtype == DType.INT8

    def _multiplier(self, node: Node) -> tuple[int, int]:
        s_a, s_b, s_y = (tensor_quant(node, t)[0] for t in (node.tensor(0), node.tensor(1), node.out))
        return quantize_multiplier(s_a * s_b / s_y)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return whole_needs(node)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        a, b = whole_values(node, inputs)
        if self._quantised(node):
            a, b = (v.astype(np.int32) - tensor_quant(node, node.tensor(k))[1] for k, v in enumerate((a, b)))
        a = a.swapaxes(-1, -2) if node.attrs.transpose_a else a
        b = b.swapaxes(-1, -2) if node.attrs.transpose_b else b
        total = np.zeros(node.out.shape, dtype=a.dtype)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for k in range(a.shape[-1]):
                total += a[..., :, k : k + 1] * b[..., k : k + 1, :]
        if self._quantised(node):
            total = multiply_by_quantized_multiplier(total, *self._multiplier(node)) + tensor_quant(node, node.out)[1]
            total = np.clip(total, -128, 127).astype(np.int8)
        form = node.out.form
        return total.reshape(form.rows, form.width, form.channels)[out.y0 : out.y1, out.x0 : out.x1]

    def grain(self, node: Node) -> Grain:
        return Grain.WHOLE

    def macs(self, node: Node) -> int:
        return node.out.elems * self._sizes(node)[1]

    def _firsts(self, node: Node, index: int) -> Array:
        """Where the matrix of operand `index` begins for each product, in elements."""
        shape = node.tensor(index).shape
        numbers = np.arange(math.prod(shape[:-2])).reshape(shape[:-2])
        return np.asarray(np.broadcast_to(numbers, node.out.shape[:-2]).reshape(-1) * math.prod(shape[-2:]))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        m, k, _, n = self._sizes(node)
        firsts = tuple(ConstArray(f"first{i}", self._firsts(node, i).astype(np.int32)) for i in (0, 1))
        row0, step0 = (1, m) if node.attrs.transpose_a else (k, 1)
        step1, column1 = (1, k) if node.attrs.transpose_b else (n, 1)
        consts: tuple[tuple[str, int], ...] = (
            ("batches", math.prod(node.out.shape[:-2])),
            ("rows", m),
            ("columns", n),
            ("depth", k),
            ("row0", row0),
            ("step0", step0),
            ("step1", step1),
            ("column1", column1),
        )
        if self._quantised(node):
            zero_points = [tensor_quant(node, t)[1] for t in (node.tensor(0), node.tensor(1), node.out)]
            names = ("zero_point0", "zero_point1", "out_zero_point", "multiplier", "shift")
            consts = (*consts, *zip(names, (*zero_points, *self._multiplier(node)), strict=True))
        operands = whole_operands(node, 2)
        kernel, arguments = f"tc_matmul_{SUFFIX[node.out.dtype]}", (*operands.arguments, ("first0", 0), ("first1", 0))
        arrays = (*operands.arrays, *firsts)
        return (KernelCall(kernel, operands.windows, arrays, consts, include="tc_matmul.h", arguments=arguments),)
