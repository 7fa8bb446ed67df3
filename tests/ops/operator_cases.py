"""Example nodes of the operators: what `cases()` of each operator's test file returns, for the property suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tinycompile.ir.graph import Array, Attrs, Node, Op, SourceLoc, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.base import Operator


def activation(
    name: str, shape: tuple[int, ...], scale: float = 0.05, zero_point: int = 0, dtype: DType = DType.INT8
) -> Tensor:
    """A run-time tensor; scales are rounded to float32 as in a model file. Floats have no quantisation."""
    quant = None if dtype == DType.FLOAT32 else Quant((float(np.float32(scale)),), (zero_point,))
    return Tensor(name, shape, dtype, quant)


def constant(name: str, data: Array, quant: Quant | None = None) -> Tensor:
    return Tensor(name, data.shape, DType(data.dtype.name), quant, data)


def make_node(operator: Operator, inputs: tuple[Tensor | None, ...], out: Tensor, attrs: Attrs) -> Node:
    """A node of one operator; `out`'s shape and type are replaced by what the operator infers."""
    names = tuple("" if t is None else t.name for t in inputs)
    op = Op(operator.kind, operator.kind, names, (out.name,), attrs, SourceLoc(operator.kind, "example"))
    shape, dtype = operator.infer(Node(op, inputs, (out,)))
    return Node(op, inputs, (replace(out, shape=shape, dtype=dtype),))


@dataclass(frozen=True, eq=False)
class Case:
    """`macs` counts multiply-accumulates by brute force, taps in the padding included; None: not counted in MACs.

    `values(node, rng)` makes run-time inputs where uniformly random bytes of the type will not do. `columns`:
    the kernel can make a part of a row.
    """

    name: str
    operator: Operator
    node: Node
    macs: Callable[[Node], int] | None = None
    values: Callable[[Node, np.random.Generator], tuple[Array | None, ...]] | None = None
    columns: bool = True

    def inputs(self, seed: int) -> tuple[Array | None, ...]:
        """Run-time inputs in their own shapes, None elsewhere: extremes of the type for seeds 0 to 2, then random."""
        rng = np.random.default_rng(seed)
        if self.values is not None:
            return self.values(self.node, rng)
        result: list[Array | None] = []
        for tensor in self.node.inputs:
            if tensor is None or tensor.is_const:
                result.append(None)
            elif tensor.dtype == DType.FLOAT32:
                result.append((rng.standard_normal(tensor.shape) * 10.0 ** rng.integers(-3, 4)).astype(np.float32))
            elif tensor.dtype == DType.BOOL:
                result.append(rng.integers(0, 2, tensor.shape).astype(np.bool_))
            elif tensor.dtype.itemsize == 8:
                ends = np.array(tensor.dtype.int_range, dtype=tensor.dtype.numpy)
                wide = rng.integers(*tensor.dtype.int_range, tensor.shape, tensor.dtype.numpy, endpoint=True)
                result.append(np.where(wide % 3 == 0, ends[seed & 1], wide))
            else:
                lo, hi = tensor.dtype.int_range
                value = rng.integers(lo, hi, tensor.shape, endpoint=True)
                if seed < 3:
                    value = np.choose(
                        seed, [np.full_like(value, lo), np.full_like(value, hi), np.where(value & 1, lo, hi)]
                    )
                result.append(value.astype(tensor.dtype.numpy))
        return tuple(result)
