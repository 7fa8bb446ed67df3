"""svdf_time: the outputs of an SVDF layer from its memory; int16 [N,F*M] -> int8 [N,F/rank].

Inputs: the memory (`svdf_memory`), constant weights [F,M] (int16), bias [F/rank] (int32) or none. An output is the sum
over the features of `rank` filters that follow one another. LiteRT ``EvalIntegerSVDF`` (reference/svdf.h), which has no
activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, KernelCall, Need, Operator, RowWindow
from tinycompile.ops.convolution import bias_values, tensor_quant
from tinycompile.ops.elementwise import same_region
from tinycompile.ops.svdf_memory import float32_multiplier


@dataclass(frozen=True)
class SvdfTimeAttrs(Attrs):
    """`rank`: filters of an output."""

    rank: int = 1


class SvdfTime(Operator):
    kind = "svdf_time"
    attrs_class = SvdfTimeAttrs

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, w, rank = node.tensor(0), node.tensor(1), node.attrs.rank
        bias = node.inputs[2]
        fits = len(x.shape) == 2 and len(w.shape) == 2 and x.shape[1] == w.elems and rank > 0 and w.shape[0] % rank == 0
        if not fits or (bias is not None and bias.shape != (w.shape[0] // rank,)):
            raise ShapeError(
                f"an SVDF of rank {rank} with weights {list(w.shape)} over a memory of {list(x.shape)}",
                str(node.op.source),
                "check the shapes of this node's inputs in the exported model",
            )
        return (x.shape[0], w.shape[0] // rank), DType.INT8

    def unsupported(self, node: Node) -> str | None:
        types = [t.dtype for t in node.inputs if t is not None]
        wanted = [DType.INT16, DType.INT16, DType.INT32][: len(types)]
        if types != wanted or any(t is not None and not t.is_const for t in node.inputs[1:]):
            return f"SVDF of types {', '.join(t.value for t in types)}: weights and bias must be constants"
        return None

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return same_region(node, out)

    def _multiplier(self, node: Node) -> tuple[int, int]:
        x, w, y = (tensor_quant(node, t)[0] for t in (node.tensor(0), node.tensor(1), node.out))
        return float32_multiplier(x, w, y)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        units = node.out.form.channels
        products = inputs[0].reshape(out.rows, -1).astype(np.int64) * node.const(1).reshape(-1)
        acc = products.reshape(out.rows, units, -1).sum(axis=2) + bias_values(node, units)
        y = multiply_by_quantized_multiplier(acc.astype(np.int32), *self._multiplier(node))
        return np.clip(y + tensor_quant(node, node.out)[1], -128, 127).astype(np.int8).reshape(out.rows, 1, units)

    def macs(self, node: Node) -> int:
        return node.tensor(0).elems

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        units = node.out.form.channels
        multiplier, shift = self._multiplier(node)
        arrays = (
            ConstArray("weights", node.const(1)),
            ConstArray("bias", bias_values(node, units).astype(np.int32)),
        )
        consts = (
            ("units", units),
            ("taps", node.tensor(1).elems // units),
            ("multiplier", multiplier),
            ("shift", shift),
            ("out_zero_point", tensor_quant(node, node.out)[1]),
        )
        return (KernelCall("tc_svdf_time_s16", (RowWindow(0),), arrays, consts),)
