"""svdf_memory: the last M features of each filter of an SVDF layer, oldest first, int16 [N,F*M].

Inputs: the sample, int8 [N,I]; what the memory was before; constant weights [F,I] (int8, zero points 0). A row is a
sample; each filter loses its oldest feature and gains ``sum((x - zp_x) * w)`` at the scale of the memory. LiteRT
``EvalIntegerSVDF`` (reference/svdf.h), which keeps the memory shifted on by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, KernelCall, Need, Operator, RowWindow
from tinycompile.ops.convolution import tensor_quant


def float32_multiplier(a: float, b: float, c: float) -> tuple[int, int]:
    """Multiplier and shift of ``a * b / c`` in float32, as LiteRT's SVDF computes it."""
    return quantize_multiplier(float(np.float32(a) * np.float32(b) / np.float32(c)))


class SvdfMemory(Operator):
    kind = "svdf_memory"

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, before, w = (node.tensor(k).shape for k in range(3))
        fits = len(x) == len(before) == len(w) == 2 and x[0] == before[0] and x[1] == w[1] and before[1] % w[0] == 0
        if not fits:
            raise ShapeError(
                f"an SVDF memory of {list(before)} for weights {list(w)} and input {list(x)}",
                str(node.op.source),
                "check the shapes of this node's inputs in the exported model",
            )
        return before, DType.INT16

    def unsupported(self, node: Node) -> str | None:
        types = [node.tensor(k).dtype for k in range(3)]
        if types != [DType.INT8, DType.INT16, DType.INT8] or not node.tensor(2).is_const:
            return f"SVDF of types {', '.join(t.value for t in types)}: weights must be constants"
        return None

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return (Need(out), Need(out), None)

    def _multiplier(self, node: Node) -> tuple[int, int]:
        x, w, y = (tensor_quant(node, t)[0] for t in (node.tensor(0), node.tensor(2), node.out))
        return float32_multiplier(x, w, y)

    def _bias(self, node: Node) -> NDArray[np.int64]:
        """The input's zero point times the sums of the weights, negated."""
        return np.asarray(-tensor_quant(node, node.tensor(0))[1] * node.const(2).astype(np.int64).sum(axis=1))

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x, before = inputs[0], inputs[1]
        assert x is not None
        assert before is not None
        w = node.const(2).astype(np.int64)
        acc = x[:, 0].astype(np.int64) @ w.T + self._bias(node)
        features = multiply_by_quantized_multiplier(acc.astype(np.int32), *self._multiplier(node))
        memory = np.roll(before.reshape(out.rows, len(w), -1), -1, axis=2)
        memory[:, :, -1] = np.clip(features, -32768, 32767)
        return memory.reshape(out.rows, 1, -1)

    def in_place(self, node: Node) -> tuple[int, ...]:
        return (1,)

    def macs(self, node: Node) -> int:
        return node.out.form.rows * node.tensor(2).elems

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        filters, inputs = node.tensor(2).shape
        multiplier, shift = self._multiplier(node)
        arrays = (ConstArray("weights", node.const(2)), ConstArray("bias", self._bias(node).astype(np.int32)))
        consts = (
            ("inputs", inputs),
            ("filters", filters),
            ("memory", node.out.form.channels // filters),
            ("multiplier", multiplier),
            ("shift", shift),
        )
        return (KernelCall("tc_svdf_memory_s8", (RowWindow(0), RowWindow(1)), arrays, consts),)
