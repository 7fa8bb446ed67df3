"""Operators that select elements by indices known at compile time, and rearrange blocks of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinycompile.frontends.indices import along, everything, expanded, padded, parts, tiled
from tinycompile.frontends.limits import MAX_DIM, checked_shape
from tinycompile.frontends.tflite.builder import Builder, Importer
from tinycompile.frontends.tflite.reader import SourceOp
from tinycompile.ir.graph import Array, Tensor
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.reshape import ReshapeAttrs
from tinycompile.ops.select import SelectAttrs
from tinycompile.ops.transpose import TransposeAttrs


def select(b: Builder, op: SourceOp, x: Tensor, indices: Sequence[Sequence[int]]) -> Tensor:
    """`x` with these indices of each axis."""
    checked_shape([len(i) for i in indices], b.where(op))
    b.indices.take(sum(len(i) for i in indices), b.where(op))
    return b.step(op, "select", SelectAttrs(tuple(tuple(int(v) for v in i) for i in indices)), x)


def reshaped(b: Builder, op: SourceOp, x: Tensor, shape: Sequence[int]) -> Tensor:
    return b.step(op, "reshape", ReshapeAttrs(checked_shape(shape, b.where(op))), x)


def axis_in(b: Builder, op: SourceOp, axis: int, rank: int) -> int:
    """The axis counted from 0."""
    if not -rank <= axis < rank:
        raise b.malformed(op, f"axis {axis} of {rank} dimensions")
    return axis % rank


def _one(b: Builder, op: SourceOp, position: int) -> int:
    """A constant input of one integer."""
    values = b.integers(op, position)
    if len(values) != 1:
        raise b.malformed(op, f"input {position} is no single integer")
    return values[0]


def strided_slice(b: Builder, op: SourceOp) -> None:
    begin_mask, end_mask, ellipsis_mask, new_axis, shrink, offset = b.options(
        op, "StridedSliceOptions", "BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset"
    )
    x, begin, end, strides = b.tensor(op, 0), b.integers(op, 1), b.integers(op, 2), b.integers(op, 3)
    if offset or shrink & begin_mask & ~(new_axis | ellipsis_mask):
        raise b.unsupported(op, "this form of strided slice", "write plain slices")
    # An ellipsis goes before a new axis, and that before a dimension that vanishes.
    taken = sum(not (ellipsis_mask | new_axis) >> k & 1 for k in range(len(begin)))
    fits = len(begin) == len(end) == len(strides) and taken <= len(x.shape) and 0 not in strides
    if not fits or bin(ellipsis_mask).count("1") > 1:
        raise b.malformed(op, "begin, end and strides that do not fit each other or the input")
    if ellipsis_mask and taken == len(x.shape):  # LiteRT takes a whole dimension for it all the same
        raise b.unsupported(op, "an ellipsis that stands for no dimension", "leave it out")
    indices, shape = everything(x.shape), list[int]()
    d = 0  # the dimension of the input
    for k, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        if ellipsis_mask >> k & 1:
            shape += x.shape[d : d + len(x.shape) - taken]
            d += len(x.shape) - taken
        elif new_axis >> k & 1:
            shape.append(1)
        else:
            size = x.shape[d]
            if shrink >> k & 1:
                if not -size <= first < size:
                    raise b.malformed(op, f"index {first} of a dimension of {size}")
                indices[d] = [first % size]
            else:
                kept = slice(None if begin_mask >> k & 1 else first, None if end_mask >> k & 1 else last, step)
                indices[d] = range(size)[kept]
                shape.append(len(indices[d]))
            d += 1
    b.give(op, reshaped(b, op, select(b, op, x, indices), (*shape, *x.shape[d:])))


def slice_(b: Builder, op: SourceOp) -> None:
    x, begin, sizes = b.tensor(op, 0), b.integers(op, 1), b.integers(op, 2)
    if not len(begin) == len(sizes) == len(x.shape):
        raise b.malformed(op, f"{len(begin)} begins and {len(sizes)} sizes of {len(x.shape)} dimensions")
    ends = [d if s == -1 else f + s for d, f, s in zip(x.shape, begin, sizes, strict=True)]
    if any(not 0 <= f <= e <= d for d, f, e in zip(x.shape, begin, ends, strict=True)):
        raise b.malformed(op, f"a slice {begin} to {ends} of {list(x.shape)}")
    b.give(op, select(b, op, x, [range(f, e) for f, e in zip(begin, ends, strict=True)]))


def _cut(b: Builder, op: SourceOp, x: Tensor, axis: int, sizes: Sequence[int]) -> None:
    if len(sizes) != len(op.outputs) or min(sizes, default=-1) < 0 or sum(sizes) != x.shape[axis]:
        raise b.malformed(op, f"{x.shape[axis]} split into {list(sizes)} for {len(op.outputs)} outputs")
    b.give(op, *(select(b, op, x, along(x.shape, axis, part)) for part in parts(x.shape[axis], sizes)))


def split(b: Builder, op: SourceOp) -> None:
    x, count = b.tensor(op, 1), max(len(op.outputs), 1)
    axis = axis_in(b, op, _one(b, op, 0), len(x.shape))
    _cut(b, op, x, axis, [x.shape[axis] // count] * count)


def split_v(b: Builder, op: SourceOp) -> None:
    """At most one size is -1: what the others leave."""
    x, sizes = b.tensor(op, 0), b.integers(op, 1)
    axis = axis_in(b, op, _one(b, op, 2), len(x.shape))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(s for s in sizes if s != -1)
    _cut(b, op, x, axis, sizes)


def pack(b: Builder, op: SourceOp) -> None:
    (axis,) = b.options(op, "PackOptions", "Axis")
    given = [b.tensor(op, k) for k in range(len(op.inputs))]
    if not given or any(x.shape != given[0].shape for x in given):
        raise b.malformed(op, "parts of different shapes")
    if any(x.quant != given[0].quant for x in given):
        raise b.unsupported(op, "inputs of different scales", "quantise the model again")
    shape = given[0].shape
    axis = axis_in(b, op, axis, len(shape) + 1)
    rows = [reshaped(b, op, x, (*shape[:axis], 1, *shape[axis:])) for x in given]
    b.give(op, b.step(op, "concat", ConcatAttrs(axis), *rows))


def unpack(b: Builder, op: SourceOp) -> None:
    (axis,) = b.options(op, "UnpackOptions", "Axis")
    x = b.tensor(op, 0)
    axis = axis_in(b, op, axis, len(x.shape))
    rows = (select(b, op, x, along(x.shape, axis, [k])) for k in range(x.shape[axis]))
    b.give(op, *(reshaped(b, op, r, x.shape[:axis] + x.shape[axis + 1 :]) for r in rows))


def reverse(b: Builder, op: SourceOp) -> None:
    x = b.tensor(op, 0)
    indices = everything(x.shape)
    for axis in b.integers(op, 1):
        axis = axis_in(b, op, axis, len(x.shape))
        indices[axis] = range(x.shape[axis])[::-1]
    b.give(op, select(b, op, x, indices))


def tile(b: Builder, op: SourceOp) -> None:
    x, repeats = b.tensor(op, 0), b.integers(op, 1)
    if len(repeats) != len(x.shape):
        raise b.malformed(op, f"{len(repeats)} repeats of {len(x.shape)} dimensions")
    checked_shape([d * r for d, r in zip(x.shape, repeats, strict=True)], b.where(op))
    b.give(op, select(b, op, x, tiled(x.shape, repeats)))


def broadcast_to(b: Builder, op: SourceOp) -> None:
    x, shape = b.tensor(op, 0), checked_shape(b.integers(op, 1), b.where(op))
    full = (1,) * (len(shape) - len(x.shape)) + x.shape
    if len(full) != len(shape) or any(d not in (1, s) for d, s in zip(full, shape, strict=True)):
        raise b.bad_shape(op, f"{list(x.shape)} does not broadcast to {list(shape)}")
    b.give(op, select(b, op, reshaped(b, op, x, full), expanded(full, shape)))


def mirror_pad(b: Builder, op: SourceOp) -> None:
    (mode,) = b.options(op, "MirrorPadOptions", "Mode")
    x, amounts = b.tensor(op, 0), _amounts(b, op, 1, len(b.tensor(op, 0).shape))
    if mode not in (0, 1):
        raise b.malformed(op, f"mode {mode}")
    if any(v > d - 1 + mode for d, pair in zip(x.shape, amounts.tolist(), strict=True) for v in pair):
        raise b.malformed(op, f"{amounts.tolist()} mirrored of {list(x.shape)}")
    sides = zip(x.shape, amounts.tolist(), strict=True)
    indices = [padded(d, p, q, "symmetric" if mode else "reflect").tolist() for d, (p, q) in sides]
    b.give(op, select(b, op, x, indices))


def _amounts(b: Builder, op: SourceOp, position: int, rank: int) -> Array:
    """A constant pair of counts, before and after, for each of `rank` dimensions."""
    amounts = b.const(op, position)
    if amounts.shape != (rank, 2) or amounts.dtype.kind != "i" or amounts.min() < 0 or amounts.max() > MAX_DIM:
        raise b.malformed(op, f"amounts {amounts.reshape(-1)[:16].tolist()} for {rank} dimensions")
    return np.asarray(amounts.astype(np.int64))


def _permuted(
    b: Builder, op: SourceOp, x: Tensor, blocks: Sequence[int], perm: Sequence[int], shape: Sequence[int]
) -> Tensor:
    """`x` seen as `blocks`, whose dimensions are permuted and then seen as `shape`."""
    moved = b.step(op, "transpose", TransposeAttrs(tuple(perm)), reshaped(b, op, x, blocks))
    return reshaped(b, op, moved, shape)


def depth_to_space(b: Builder, op: SourceOp) -> None:
    (k,) = b.options(op, "DepthToSpaceOptions", "BlockSize")
    n, h, w, c = b.map_input(op).shape
    if k < 1 or c % (k * k):
        raise b.bad_shape(op, f"{c} channels in blocks of {k} x {k}")
    c //= k * k
    b.give(op, _permuted(b, op, b.tensor(op, 0), (n, h, w, k, k, c), (0, 1, 3, 2, 4, 5), (n, h * k, w * k, c)))


def space_to_depth(b: Builder, op: SourceOp) -> None:
    (k,) = b.options(op, "SpaceToDepthOptions", "BlockSize")
    n, h, w, c = b.map_input(op).shape
    if k < 1 or h % k or w % k:
        raise b.bad_shape(op, f"a map of {h} x {w} in blocks of {k} x {k}")
    h, w = h // k, w // k
    b.give(op, _permuted(b, op, b.tensor(op, 0), (n, h, k, w, k, c), (0, 1, 3, 2, 4, 5), (n, h, w, k * k * c)))


def _blocks(b: Builder, op: SourceOp) -> tuple[Tensor, list[int], Array]:
    """Input, block sizes and amounts of space to batch and back; of each spatial dimension."""
    x, blocks = b.tensor(op, 0), b.integers(op, 1)
    if not 1 <= len(blocks) <= len(x.shape) - 1 or any(not 1 <= k <= MAX_DIM for k in blocks):
        raise b.malformed(op, f"blocks {blocks} of {list(x.shape)}")
    return x, blocks, _amounts(b, op, 2, len(blocks))


def space_to_batch(b: Builder, op: SourceOp) -> None:
    x, blocks, amounts = _blocks(b, op)
    m, rest = len(blocks), x.shape[1 + len(blocks) :]
    before, after = ((0, *amounts[:, k].tolist(), *(0 for _ in rest)) for k in (0, 1))
    checked_shape([d + p + q for d, p, q in zip(x.shape, before, after, strict=True)], b.where(op))
    if amounts.any():
        x = b.step(op, "pad", PadAttrs(before, after, x.quant.zero_point[0] if x.quant is not None else 0), x)
    if any(d % k for d, k in zip(x.shape[1:], blocks, strict=False)):
        raise b.bad_shape(op, f"{list(x.shape)} in blocks of {blocks}")
    sizes = [d // k for d, k in zip(x.shape[1:], blocks, strict=False)]
    split_up = [v for pair in zip(sizes, blocks, strict=True) for v in pair]
    inner, outer = range(2, 2 * m + 1, 2), range(1, 2 * m, 2)
    perm = (*inner, 0, *outer, *range(2 * m + 1, 2 * m + 1 + len(rest)))
    shape = (x.shape[0] * math.prod(blocks), *sizes, *rest)
    b.give(op, _permuted(b, op, x, (x.shape[0], *split_up, *rest), perm, shape))


def batch_to_space(b: Builder, op: SourceOp) -> None:
    x, blocks, crops = _blocks(b, op)
    m, sizes, rest = len(blocks), x.shape[1 : 1 + len(blocks)], x.shape[1 + len(blocks) :]
    if x.shape[0] % math.prod(blocks):
        raise b.bad_shape(op, f"a batch of {x.shape[0]} in blocks of {blocks}")
    batch = x.shape[0] // math.prod(blocks)
    pairs = [d for k in range(m) for d in (m + 1 + k, k)]
    full = [d * k for d, k in zip(sizes, blocks, strict=True)]
    perm = (m, *pairs, *range(2 * m + 1, 2 * m + 1 + len(rest)))
    y = _permuted(b, op, x, (*blocks, batch, *sizes, *rest), perm, (batch, *full, *rest))
    kept = [range(p, d - q) for d, (p, q) in zip(full, crops.tolist(), strict=True)]
    b.give(op, select(b, op, y, [range(batch), *kept, *(range(d) for d in rest)]))


SELECTIONS: dict[str, Importer] = {
    "BATCH_TO_SPACE_ND": batch_to_space,
    "BROADCAST_TO": broadcast_to,
    "DEPTH_TO_SPACE": depth_to_space,
    "MIRROR_PAD": mirror_pad,
    "PACK": pack,
    "REVERSE_V2": reverse,
    "SLICE": slice_,
    "SPACE_TO_BATCH_ND": space_to_batch,
    "SPACE_TO_DEPTH": space_to_depth,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "STRIDED_SLICE": strided_slice,
    "TILE": tile,
    "UNPACK": unpack,
}
