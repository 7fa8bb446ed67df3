"""Float operators that are a function of one int8 value, as the table of its 256 results.

``dequantize -> any functions, value by value -> quantize``: GELU and SiLU of several operators, exponentials, powers...
The table is what the float operators and the `quantize` give, so it is exact.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinycompile.ir.graph import Array, Op, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.dequantize import real_values
from tinycompile.ops.elementwise_functions import evaluate
from tinycompile.ops.lookup import LookupAttrs
from tinycompile.ops.quantize import QuantizeAttrs, stored
from tinycompile.passes.lower_floats import float_functions
from tinycompile.passes.rewriter import Rewriter

_MOST_OPS = 64
_EVERY = np.arange(-128, 128).astype(np.int8)


def is_uniform(tensor: Tensor) -> bool:
    """Whether it is a constant of one value throughout."""
    return tensor.data is not None and tensor.data.size > 0 and bool(np.all(tensor.data == tensor.data.flat[0]))


def tabulate(rewriter: Rewriter, op: Op, source_of: Callable[[Rewriter, str], str | None]) -> bool:
    """Emits a `lookup` as the output of `op`, a `quantize` to int8; False when its input is no function of one int8
    tensor. `source_of`: the int8 tensor that a float one is the dequantisation of."""
    walk = _Walk(rewriter, source_of)
    if not walk.reaches(op.inputs[0], rewriter.tensor(op.inputs[0]).shape) or len(walk.sources) != 1 or not walk.ops:
        return False
    (source,) = walk.sources
    tensor, out = rewriter.tensor(source), rewriter.tensor(op.outputs[0])
    int8 = tensor.dtype == DType.INT8 and out.dtype == DType.INT8
    if not int8 or out.quant is None or not isinstance(op.attrs, QuantizeAttrs):
        return False
    quant, values = out.quant, walk.values(real_values(tensor, _EVERY).reshape(-1))
    table = stored(values, *quant.scalar(), op.attrs.half_even)
    attrs = LookupAttrs(tuple(int(v) for v in table))
    rewriter.emit("lookup", [source], attrs, walk.ops[-1], quant=quant, name=op.outputs[0])
    return True


class _Walk:
    """From a float tensor back to the int8 ones that it is made of: `ops`, in their order, and `sources`."""

    def __init__(self, rewriter: Rewriter, source_of: Callable[[Rewriter, str], str | None]) -> None:
        self.rewriter, self.source_of = rewriter, source_of
        self.ops: list[Op] = []
        self.sources: set[str] = set()
        self.real: set[str] = set()
        self.known: set[str] = set()

    def reaches(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether nothing but functions of values at the same place is on the way."""
        tensor = self.rewriter.tensor(name)
        if tensor.name in self.known or is_uniform(tensor):
            return True
        if tensor.shape != shape or tensor.dtype != DType.FLOAT32 or len(self.known) > _MOST_OPS:
            return False
        self.known.add(tensor.name)
        source = self.source_of(self.rewriter, tensor.name)
        if source is not None:
            self.sources.add(source)
            self.real.add(tensor.name)
            return True
        made = self.rewriter.made_by(tensor.name)
        if made is None or not float_functions(made) or not all(self.reaches(i, shape) for i in made.inputs):
            return False
        self.ops.append(made)
        return True

    def values(self, source: Array) -> Array:
        """The float tensor where the real values of the int8 one are `source`."""
        values = dict.fromkeys(self.real, source)
        for op in self.ops:
            operands = [self._operand(name, values, source.size) for name in op.inputs]
            for function in float_functions(op):
                operands = [evaluate(function.function, operands, function.params)]
            values[op.outputs[0]] = operands[0]
        return values[self.ops[-1].outputs[0]]

    def _operand(self, name: str, values: dict[str, Array], count: int) -> Array:
        tensor = self.rewriter.tensor(name)
        return values[tensor.name] if tensor.data is None else np.full(count, tensor.data.flat[0])
