"""fold_pad: a border of real zeros goes into the padding of the convolution or pooling that reads it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from tinycompile.ir.graph import Graph, Op
from tinycompile.ir.types import DType
from tinycompile.ops.avg_pool2d import AvgPool2dAttrs
from tinycompile.ops.elementwise import ACTIVATIONS
from tinycompile.ops.max_pool2d import MaxPool2dAttrs
from tinycompile.ops.pad import PadAttrs
from tinycompile.passes.rewriter import Rewriter

READERS = ("conv2d", "depthwise_conv2d", "avg_pool2d", "max_pool2d")


def fold_pad(graph: Graph) -> Graph:
    """A graph without `pad` operators that their reader can do itself."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        made = rewriter.made_by(op.inputs[0]) if op.kind in READERS else None
        attrs = None if made is None else _padded(rewriter, op, made)
        if made is None or attrs is None:
            rewriter.keep(op)
            continue
        out = rewriter.tensor(op.outputs[0])
        inputs = (made.inputs[0], *op.inputs[1:])
        rewriter.emit(op.kind, inputs, attrs, op, quant=out.quant, dtype=out.dtype, name=out.name)
    return rewriter.finish()


def _padded(rewriter: Rewriter, op: Op, pad: Op) -> Any | None:
    """The attributes of `op` with the border of `pad` added to its padding; None when that computes something else."""
    x, border, attrs = rewriter.tensor(pad.inputs[0]), pad.attrs, op.attrs
    if not isinstance(border, PadAttrs) or len(x.shape) != 4:
        return None
    if x.dtype == DType.FLOAT32:
        zero, least = 0.0, -math.inf
    elif x.dtype in ACTIVATIONS and x.quant is not None:
        zero, least = x.quant.scalar()[1], x.dtype.int_range[0]
    else:
        return None
    if border.before[0] or border.after[0] or border.before[3] or border.after[3]:
        return None
    own: tuple[int, int, int, int] = attrs.pad  # type: ignore[attr-defined]
    added = (border.before[1], border.after[1], border.before[2], border.after[2])
    top, bottom, left, right = (a + b for a, b in zip(own, added, strict=True))
    total = (top, bottom, left, right)
    if isinstance(attrs, MaxPool2dAttrs):
        # Padding of a maximum never wins: the same only for the least value.
        return replace(attrs, pad=total) if border.value == least else None
    if border.value != zero:
        return None
    if isinstance(attrs, AvgPool2dAttrs):
        inside = max(total[:2]) < attrs.kernel[0] and max(total[2:]) < attrs.kernel[1]
        counts = attrs.include_pad or not any(own)
        return replace(attrs, pad=total, include_pad=True) if inside and counts else None
    return replace(attrs, pad=total)  # type: ignore[call-arg]
