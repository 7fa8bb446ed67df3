"""Operators that move or copy values, and those whose result is known from shapes alone."""

from __future__ import annotations

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


MOVEMENT: dict[str, Importer] = {
    "CONCATENATION": concatenation,
    "RESHAPE": reshape,
    "SQUEEZE": reshape,
    "EXPAND_DIMS": reshape,
    "PAD": pad,
    "PADV2": pad,
    "TRANSPOSE": transpose,
    "SHAPE": shape,
}
