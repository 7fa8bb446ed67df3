"""fold_activation: a clip becomes the clamp of the operator before it: of floats, or of integers with equal
quantisation on both sides."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

from tinycompile.ir.graph import Graph, Op
from tinycompile.ir.types import DType
from tinycompile.ops.clip import ClipAttrs, quantized_range
from tinycompile.ops.elementwise import ACTIVATIONS
from tinycompile.passes.fold_batch_norm import CHANNEL_AXIS
from tinycompile.passes.rewriter import Rewriter

# The operators whose float kernels clamp.
FLOAT = (*CHANNEL_AXIS, "avg_pool2d", "max_pool2d")


def fold_activation(graph: Graph) -> Graph:
    """A graph without clips that a clamp can express."""
    rewriter = Rewriter(graph)
    consumers = graph.consumers()
    for op in graph.ops:
        made = rewriter.made_by(op.inputs[0]) if op.inputs[0] else None
        alone = (
            made is not None and len(consumers.get(made.outputs[0], ())) <= 1 and made.outputs[0] not in graph.outputs
        )
        if made is None or not alone or not _foldable(rewriter, op, made):
            rewriter.keep(op)
            continue
        out = rewriter.tensor(op.outputs[0])
        assert isinstance(op.attrs, ClipAttrs)
        lo, hi, everything = op.attrs.lo, op.attrs.hi, (-math.inf, math.inf)
        if out.quant is not None:
            (lo, hi), everything = quantized_range(lo, hi, *out.quant.scalar(), out.dtype), out.dtype.int_range
        attrs: Any = made.attrs
        if attrs.clamp is not None:
            lo, hi = (min(max(bound, lo), hi) for bound in attrs.clamp)
        clamp = None if (lo, hi) == everything else (lo, hi)
        rewriter.emit(
            made.kind, made.inputs, replace(attrs, clamp=clamp), made, quant=out.quant, dtype=out.dtype, name=out.name
        )
    return rewriter.finish()


def _foldable(rewriter: Rewriter, op: Op, made: Op) -> bool:
    x, out = rewriter.tensor(op.inputs[0]), rewriter.tensor(op.outputs[0])
    if op.kind != "clip" or not any(f.name == "clamp" for f in fields(made.attrs)):
        return False
    if x.dtype == out.dtype == DType.FLOAT32:
        return made.kind in FLOAT
    return x.dtype == out.dtype and x.dtype in ACTIVATIONS and x.quant is not None and x.quant == out.quant
