"""fold_bias: a per-channel constant added to a float convolution or fully connected layer becomes its bias."""

from __future__ import annotations

import math

from tinycompile.ir.graph import Graph, Op
from tinycompile.ir.types import DType
from tinycompile.ops.add import AddAttrs
from tinycompile.passes.fold_batch_norm import CHANNEL_AXIS, clamps
from tinycompile.passes.rewriter import Rewriter


def fold_bias(graph: Graph) -> Graph:
    """A graph in which layers without a bias take it from the addition behind them."""
    rewriter = Rewriter(graph)
    consumers = graph.consumers()
    for op in graph.ops:
        layer = _layer(rewriter, op)
        if layer is None or len(consumers.get(layer[0].outputs[0], ())) > 1 or layer[0].outputs[0] in graph.outputs:
            rewriter.keep(op)
            continue
        made, constant = layer
        channels = rewriter.tensor(op.outputs[0]).shape[-1]
        bias = rewriter.reshape(constant, (channels,), op)
        out = rewriter.emit(made.kind, [*made.inputs[:2], bias], made.attrs, made, dtype=DType.FLOAT32)
        rewriter.replace(op.outputs[0], out)
    return rewriter.finish()


def _layer(rewriter: Rewriter, op: Op) -> tuple[Op, str] | None:
    """The layer without bias that `op` adds a constant per channel to, and the constant."""
    if op.attrs != AddAttrs() or op.kind != "add":
        return None
    for x, constant in (op.inputs, op.inputs[::-1]):
        made, tensor, out = rewriter.made_by(x), rewriter.tensor(constant), rewriter.tensor(op.outputs[0])
        if made is None or made.kind not in CHANNEL_AXIS or (len(made.inputs) > 2 and made.inputs[2]) or clamps(made):
            continue
        is_constant = tensor.is_const or rewriter.dequantized_constant(constant) is not None
        per_channel = tensor.shape[-1:] == out.shape[-1:] and math.prod(tensor.shape) == out.shape[-1]
        if is_constant and per_channel and tensor.dtype == DType.FLOAT32 and rewriter.tensor(x).shape == out.shape:
            return made, constant
    return None
