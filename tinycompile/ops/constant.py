"""constant: a value that is known at compile time and yet has to be in memory, as an output of the network does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, Grain, KernelCall, Need, Operator


class Constant(Operator):
    kind = "constant"
    scale_free = True
    of_constants = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        return node.tensor(0).shape, node.tensor(0).dtype

    def unsupported(self, node: Node) -> str | None:
        return None if node.tensor(0).is_const else "a constant computed at run time"

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return (None,)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        form = node.out.form
        return node.const(0).reshape(form.rows, form.width, form.channels)[out.y0 : out.y1, out.x0 : out.x1]

    def grain(self, node: Node) -> Grain:
        return Grain.WHOLE

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        data = np.frombuffer(np.ascontiguousarray(node.const(0)).tobytes(), dtype=np.uint8)
        arrays = (ConstArray("in0", data),)
        return (KernelCall("tc_copy", (), arrays, (("bytes", data.size),), element="uint8_t"),)
