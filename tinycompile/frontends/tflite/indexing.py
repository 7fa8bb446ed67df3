"""Gathering: by constant indices a selection, else by places made at run time. Constant ones must lie inside; at run
time, where LiteRT stops with an error, negative ones count from the end and others take the nearest inside."""

from __future__ import annotations

import math

import numpy as np

from tinycompile.frontends.indices import along
from tinycompile.frontends.tflite.builder import Builder, Importer
from tinycompile.frontends.tflite.functions import apply, to_type
from tinycompile.frontends.tflite.reader import SourceOp
from tinycompile.frontends.tflite.selection import axis_in, reshaped, select
from tinycompile.ir.graph import Array, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.take import TakeAttrs


def gather(b: Builder, op: SourceOp) -> None:
    axis, batch = b.options(op, "GatherOptions", "Axis", "BatchDims")
    x = b.tensor(op, 0)
    if batch:
        raise b.unsupported(op, f"gathering with {batch} batch dimensions", "gather from each batch on its own")
    b.give(op, _gathered(b, op, x, b.tensor(op, 1), axis_in(b, op, axis, len(x.shape))))


def embedding_lookup(b: Builder, op: SourceOp) -> None:
    """Rows of a table by their numbers; the table comes second."""
    x = b.tensor(op, 1)
    if x.dtype != b.output(op).dtype:
        raise b.unsupported(op, f"a table of {x.dtype.value} for {b.output(op).dtype.value}", "store it as it is used")
    b.give(op, _gathered(b, op, x, b.tensor(op, 0), axis_in(b, op, 0, len(x.shape))))


def gather_nd(b: Builder, op: SourceOp) -> None:
    """By tuples of indices, the last dimension of input 1, of the first dimensions."""
    x, at = b.tensor(op, 0), b.tensor(op, 1)
    depth = at.shape[-1] if at.shape else 0
    if not 1 <= depth <= len(x.shape) or depth > 64:
        raise b.bad_shape(op, f"tuples {list(at.shape)} of indices of {list(x.shape)}")
    dims, rest = x.shape[:depth], x.shape[depth:]
    blocks = reshaped(b, op, x, (math.prod(dims), *rest))
    if at.data is not None:
        _checked(b, op, at.data, np.array(dims))
        flat = np.ravel_multi_index(tuple(np.moveaxis(at.data, -1, 0)), dims)
        b.give(op, _selected(b, op, blocks, np.asarray(flat), 0))
        return
    number: Tensor | None = None
    for k, size in enumerate(dims):
        part = select(b, op, at, [*(range(d) for d in at.shape[:-1]), range(k, k + 1)])
        part = to_type(b, op, reshaped(b, op, part, at.shape[:-1]), DType.INT64)
        if number is not None:
            number = apply(b, op, "add", apply(b, op, "mul", number, b.constant(op, np.array(size))), part)
        else:
            number = part
    assert number is not None
    b.give(op, b.step(op, "take", TakeAttrs(0), blocks, number))


def _gathered(b: Builder, op: SourceOp, x: Tensor, at: Tensor, axis: int) -> Tensor:
    """`x` at indices along an axis, whose place theirs take."""
    if at.dtype not in (DType.INT32, DType.INT64):
        raise b.unsupported(op, f"indices of {at.dtype.value}", "use int32")
    if at.data is not None and x.data is None:
        _checked(b, op, at.data, x.shape[axis])
        return _selected(b, op, x, at.data, axis)
    return b.step(op, "take", TakeAttrs(axis), x, to_type(b, op, at, DType.INT64))


def _checked(b: Builder, op: SourceOp, at: Array, size: Array | int) -> None:
    if at.dtype.kind != "i" or not at.size or np.any(at < 0) or np.any(at >= size):
        raise b.malformed(op, f"indices outside of {size}")


def _selected(b: Builder, op: SourceOp, x: Tensor, at: Array, axis: int) -> Tensor:
    taken = select(b, op, x, along(x.shape, axis, at.reshape(-1).tolist()))
    return reshaped(b, op, taken, (*x.shape[:axis], *at.shape, *x.shape[axis + 1 :]))


INDEXING: dict[str, Importer] = {
    "EMBEDDING_LOOKUP": embedding_lookup,
    "GATHER": gather,
    "GATHER_ND": gather_nd,
}
