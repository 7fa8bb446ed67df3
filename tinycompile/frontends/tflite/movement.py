"""Operators that move or copy values, and those whose result is known from shapes alone."""

from __future__ import annotations

import math

import numpy as np

from tinycompile.frontends.tflite.builder import Builder, Importer
from tinycompile.frontends.tflite.reader import SourceOp
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.reshape import ReshapeAttrs
from tinycompile.ops.transpose import TransposeAttrs


def concatenation(b: Builder, op: SourceOp) -> None:
    axis, activation = b.options(op, "ConcatenationOptions", "Axis", "FusedActivationFunction")
    out = b.output(op)
    if activation != 0:
        raise b.unsupported(op, "a fused activation", "use a separate activation operator")
    rank = len(out.shape)
    if not op.inputs or not -rank <= axis < rank:
        raise b.malformed(op, f"axis {axis} of {len(op.inputs)} inputs of rank {rank}")
    inputs = tuple(b.tensor(op, i) for i in range(len(op.inputs)))
    if any(x.quant != out.quant for x in inputs):
        raise b.unsupported(
            op, "inputs and output of different scales", "quantise the model again: LiteRT refuses it too"
        )
    b.emit(op, "concat", ConcatAttrs(axis % rank), inputs, out)


def reshape(b: Builder, op: SourceOp) -> None:
    """The output's shape is in the file and static, so a shape input adds nothing."""
    b.move(op, "reshape", ReshapeAttrs(b.output(op).shape))


def pad(b: Builder, op: SourceOp) -> None:
    x, amounts = b.tensor(op, 0), b.const(op, 1)
    if amounts.shape != (len(x.shape), 2) or amounts.dtype.kind != "i":
        raise b.malformed(op, f"paddings of shape {list(amounts.shape)}")
    before, after = (tuple(int(v) for v in amounts[:, k]) for k in (0, 1))
    value: float = x.quant.zero_point[0] if x.quant is not None else 0
    if op.builtin == "PADV2":
        fill = b.tensor(op, 2)
        if fill.elems != 1 or fill.dtype != x.dtype or fill.quant != x.quant:
            raise b.malformed(op, "the padding value has another type or scale than the input")
        value = b.const(op, 2).reshape(-1)[0].item()
    b.move(op, "pad", PadAttrs(before, after, value))


def transpose(b: Builder, op: SourceOp) -> None:
    b.move(op, "transpose", TransposeAttrs(tuple(b.integers(op, 1))))


def shape(b: Builder, op: SourceOp) -> None:
    """Folded: shapes are static."""
    b.fold(op, np.array(b.tensor(op, 0).shape, dtype=np.int64))


def rank(b: Builder, op: SourceOp) -> None:
    b.fold(op, np.array(len(b.tensor(op, 0).shape)))


def zeros_like(b: Builder, op: SourceOp) -> None:
    b.fold(op, np.broadcast_to(0, b.tensor(op, 0).shape))


def fill(b: Builder, op: SourceOp) -> None:
    """The output's shape is in the file and static; a value made at run time would have to be repeated there."""
    value, out = b.const(op, 1), b.output(op)
    if value.size != 1 or b.tensor(op, 1).quant != out.quant or b.tensor(op, 1).dtype != out.dtype:
        raise b.malformed(op, "a value of another type or scale than the output")
    b.fold(op, np.broadcast_to(value.reshape(-1)[0], out.shape))


def range_(b: Builder, op: SourceOp) -> None:
    first, limit, step = (b.const(op, k) for k in range(3))
    if any(v.size != 1 for v in (first, limit, step)) or not step.reshape(-1)[0]:
        raise b.malformed(op, "a range of something else than three numbers")
    out = b.output(op)
    begin, by = (v.reshape(-1)[0] for v in (first, step))
    count = math.ceil((float(limit.reshape(-1)[0]) - float(begin)) / float(by))
    if out.shape != (max(count, 0),):
        raise b.bad_shape(op, f"{count} numbers for an output of {list(out.shape)}")
    b.fold(op, begin + by * np.arange(count, dtype=first.dtype))


MOVEMENT: dict[str, Importer] = {
    "CONCATENATION": concatenation,
    "RESHAPE": reshape,
    "SQUEEZE": reshape,
    "EXPAND_DIMS": reshape,
    "PAD": pad,
    "PADV2": pad,
    "TRANSPOSE": transpose,
    "SHAPE": shape,
    "RANK": rank,
    "ZEROS_LIKE": zeros_like,
    "FILL": fill,
    "RANGE": range_,
}
