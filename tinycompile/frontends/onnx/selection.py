"""Operators that select elements by indices known at compile time: slices, splits, padding, tiling, gathering."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np

from tinycompile.errors import MalformedModelError, ShapeError
from tinycompile.frontends.indices import along, everything, expanded, padded, parts, tiled
from tinycompile.frontends.limits import MAX_DIM, checked_shape
from tinycompile.frontends.onnx.builder import Builder, Value
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Array, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.select import SelectAttrs

_EXPORT_AGAIN = "export the model again"


def select(b: Builder, n: SourceNode, x: Tensor, indices: Sequence[Sequence[int]], value: float = 0) -> Tensor:
    """`x` with these indices of each axis; `x` itself where that is all of it."""
    checked_shape([len(i) for i in indices], str(n))
    b.indices.take(sum(len(i) for i in indices), str(n))
    if all(tuple(i) == tuple(range(d)) for i, d in zip(indices, x.shape, strict=True)):
        return x
    return b.emit(n, "select", [x], SelectAttrs(tuple(tuple(int(v) for v in i) for i in indices), value))


def pick(b: Builder, n: SourceNode, x: Tensor, places: Array, value: float = 0) -> Tensor:
    """A tensor of `places`' shape: the elements of `x` at these places of its memory, `value` where negative."""
    shape = checked_shape(places.shape, str(n))
    flat = b.reshape(n, x, (x.elems,))
    return b.reshape(n, select(b, n, flat, [places.reshape(-1).tolist()], value), shape)


def axes_in(n: SourceNode, axes: Collection[int], rank: int) -> set[int]:
    """The axes counted from 0; ShapeError when they are none of `rank` dimensions."""
    if any(not -rank <= a < rank for a in axes) or len({a % rank for a in axes}) != len(axes):
        raise ShapeError(f"axes {list(axes)} of {rank} dimensions", str(n), _EXPORT_AGAIN)
    return {a % rank for a in axes}


def _axis(n: SourceNode, axis: int, rank: int) -> int:
    (found,) = axes_in(n, [axis], rank)
    return found


def slice_(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    rank = len(x.shape)
    starts, ends = b.integers(n, 1, "the starts"), b.integers(n, 2, "the ends")
    axes = b.integers(n, 3, "the axes") if b.optional(n, 3) is not None else tuple(range(len(starts)))
    steps = b.integers(n, 4, "the steps") if b.optional(n, 4) is not None else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ShapeError("starts, ends, axes and steps of a slice disagree", str(n), _EXPORT_AGAIN)
    indices = everything(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = _axis(n, axis, rank)
        low = end if end >= 0 or end + x.shape[axis] >= 0 else None if step < 0 else 0
        indices[axis] = range(x.shape[axis])[slice(start, low, step)]
    return select(b, n, x, indices)


def split(b: Builder, n: SourceNode) -> tuple[Tensor, ...]:
    x, count = b.tensor(n, 0), len(n.outputs)
    axis = _axis(n, n.integer("axis", 0), len(x.shape))
    sizes = n.ints("split") if n.opset < 13 else None
    if n.opset >= 13 and b.optional(n, 1) is not None:
        sizes = b.integers(n, 1, "the sizes")
    if n.integer("num_outputs", count) != count:
        raise ShapeError(f"a split into {count} outputs", str(n), _EXPORT_AGAIN)
    if sizes is None:
        each = -(-x.shape[axis] // count)
        sizes = tuple(min(each, x.shape[axis] - k * each) for k in range(count))
    if len(sizes) != count or sum(sizes) != x.shape[axis] or min(sizes) < 0:
        raise ShapeError(f"a split of {x.shape[axis]} into {list(sizes)}", str(n), _EXPORT_AGAIN)
    return tuple(select(b, n, x, along(x.shape, axis, part)) for part in parts(x.shape[axis], sizes))


def tile(b: Builder, n: SourceNode) -> Tensor:
    x, repeats = b.tensor(n, 0), b.integers(n, 1, "the repeats")
    if len(repeats) != len(x.shape):
        raise ShapeError(f"{len(repeats)} repeats of {len(x.shape)} dimensions", str(n), _EXPORT_AGAIN)
    checked_shape([d * r for d, r in zip(x.shape, repeats, strict=True)], str(n))
    return select(b, n, x, tiled(x.shape, repeats))


def expand(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    wanted = checked_shape(b.integers(n, 1, "the shape"), str(n))
    shape = checked_shape(np.broadcast_shapes(x.shape, wanted), str(n))
    full = b.reshape(n, x, (1,) * (len(shape) - len(x.shape)) + x.shape)
    return select(b, n, full, expanded(full.shape, shape))


def pad(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    rank = len(x.shape)
    mode = n.text("mode", "constant")
    if mode not in ("constant", "edge", "wrap", "reflect"):
        raise n.unsupported(f"padding of mode '{mode}'")
    given = (n.ints("pads") or ()) if n.opset < 11 else b.integers(n, 1, "the padding")
    axes = b.integers(n, 3, "the axes") if b.optional(n, 3) is not None else tuple(range(rank))
    value: float = n.real("value", 0.0) if n.opset < 11 else 0
    if n.opset >= 11 and b.optional(n, 2) is not None:
        value = b.constant(n, 2, "the padding value").reshape(-1)[0].item()
    if len(given) != 2 * len(axes):
        raise ShapeError(f"{len(given)} pads for {rank} dimensions", str(n), _EXPORT_AGAIN)
    if max(map(abs, given), default=0) > MAX_DIM or math.isnan(value):
        raise n.unsupported(f"padding by {list(given)} with {value}")
    before, after = [0] * rank, [0] * rank
    for k, axis in enumerate(axes):
        before[_axis(n, axis, rank)], after[_axis(n, axis, rank)] = given[k], given[k + len(axes)]
    if not any(given):
        return x
    stored = float(value) if x.dtype == DType.FLOAT32 else int(value)
    eight_bits = x.dtype in (DType.INT8, DType.UINT8, DType.FLOAT32)
    if mode == "constant" and min(given) >= 0 and eight_bits:
        return b.emit(n, "pad", [x], PadAttrs(tuple(before), tuple(after), stored))
    checked_shape([d + p + q for d, p, q in zip(x.shape, before, after, strict=True)], str(n))
    indices = [padded(d, p, q, mode).tolist() for d, p, q in zip(x.shape, before, after, strict=True)]
    return select(b, n, x, indices, stored)


def center_crop_pad(b: Builder, n: SourceNode) -> Tensor:
    """The middle of each axis, or zeros around it."""
    x, sizes = b.tensor(n, 0), checked_shape(b.integers(n, 1, "the shape"), str(n))
    axes = n.ints("axes") or tuple(range(len(x.shape)))
    if len(sizes) != len(axes):
        raise ShapeError(f"{len(sizes)} sizes of {len(axes)} axes", str(n), _EXPORT_AGAIN)
    indices = everything(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        axis = _axis(n, axis, len(x.shape))
        d = x.shape[axis]
        first = (d - size) // 2 if size < d else -((size - d) // 2)
        indices[axis] = [k if 0 <= k < d else -1 for k in range(first, first + size)]
    return select(b, n, x, indices)


def _gather_indices(b: Builder, n: SourceNode, size: int) -> Array:
    """The constant indices of a gather, counted from 0."""
    indices = b.constant(n, 1, "indices").astype(np.int64)
    if indices.size and not (-size <= indices.min() and indices.max() < size):
        raise ShapeError(f"an index outside a dimension of {size}", str(n), _EXPORT_AGAIN)
    return np.where(indices < 0, indices + size, indices)


def gather(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    axis = _axis(n, n.integer("axis", 0), len(x.shape))
    at = _gather_indices(b, n, x.shape[axis])
    taken = select(b, n, x, along(x.shape, axis, at.reshape(-1).tolist()))
    return b.reshape(n, taken, (*x.shape[:axis], *at.shape, *x.shape[axis + 1 :]))


def _places(b: Builder, n: SourceNode, x: Tensor) -> Array:
    """The place of each element of `x` in memory."""
    b.indices.take(x.elems, str(n))
    return np.arange(x.elems).reshape(x.shape)


def gather_elements(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    axis = _axis(n, n.integer("axis", 0), len(x.shape))
    at = _gather_indices(b, n, x.shape[axis])
    if at.ndim != len(x.shape):
        raise ShapeError("indices of another rank than the data", str(n), _EXPORT_AGAIN)
    cut = _places(b, n, x)[tuple(slice(None) if k == axis else slice(d) for k, d in enumerate(at.shape))]
    return pick(b, n, x, np.take_along_axis(cut, at, axis))


def gather_nd(b: Builder, n: SourceNode) -> Tensor:
    x, at = b.tensor(n, 0), b.constant(n, 1, "indices").astype(np.int64)
    batch = n.integer("batch_dims", 0)
    depth = at.shape[-1] if at.ndim else 0
    if not 0 <= batch < at.ndim or depth < 1 or batch + depth > len(x.shape) or at.shape[:batch] != x.shape[:batch]:
        raise MalformedModelError("indices that do not fit the data", str(n), _EXPORT_AGAIN)
    places, lead = _places(b, n, x), np.indices(at.shape[:-1])[:batch]
    if any(not np.all((-d <= at[..., k]) & (at[..., k] < d)) for k, d in enumerate(x.shape[batch : batch + depth])):
        raise ShapeError("an index outside its dimension", str(n), _EXPORT_AGAIN)
    return pick(b, n, x, places[(*lead, *(at[..., k] for k in range(depth)))])


def trilu(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    k = int(b.constant(n, 1, "the diagonal").reshape(-1)[0]) if b.optional(n, 1) is not None else 0
    if len(x.shape) < 2 or abs(k) > MAX_DIM:
        raise n.unsupported(f"a triangle of {list(x.shape)} at diagonal {k}")
    row, column = np.indices(x.shape[-2:])
    kept = column - row >= k if n.integer("upper", 1) else column - row <= k
    return pick(b, n, x, np.where(kept, _places(b, n, x), -1))


def reverse_sequence(b: Builder, n: SourceNode) -> Tensor:
    x, lengths = b.tensor(n, 0), b.constant(n, 1, "the lengths").astype(np.int64).reshape(-1)
    time, batch = n.integer("time_axis", 0), n.integer("batch_axis", 1)
    if {time, batch} != {0, 1} or len(x.shape) < 2 or lengths.shape != (x.shape[batch],):
        raise n.unsupported("a reversal over other axes than the first two")
    if lengths.min() < 0 or lengths.max() > x.shape[time]:
        raise ShapeError("a length beyond the sequence", str(n), _EXPORT_AGAIN)
    places = np.moveaxis(_places(b, n, x), (batch, time), (0, 1)).copy()
    for k, length in enumerate(lengths):
        places[k, :length] = places[k, :length][::-1]
    return pick(b, n, x, np.moveaxis(places, (0, 1), (batch, time)))


def depth_to_space(b: Builder, n: SourceNode) -> Tensor:
    x, block = b.tensor(n, 0), n.integer("blocksize", 0)
    if len(x.shape) != 4 or block < 1 or x.shape[1] % (block * block):
        raise ShapeError(f"depth to space of {list(x.shape)} by {block}", str(n), _EXPORT_AGAIN)
    batch, c, h, w = x.shape
    if n.text("mode", "DCR") == "DCR":
        split_up = b.reshape(n, x, (batch, block, block, c // block**2, h, w))
        moved = b.transpose(n, split_up, (0, 3, 4, 1, 5, 2))
    else:
        split_up = b.reshape(n, x, (batch, c // block**2, block, block, h, w))
        moved = b.transpose(n, split_up, (0, 1, 4, 2, 5, 3))
    return b.reshape(n, moved, (batch, c // block**2, h * block, w * block))


def space_to_depth(b: Builder, n: SourceNode) -> Tensor:
    x, block = b.tensor(n, 0), n.integer("blocksize", 0)
    if len(x.shape) != 4 or block < 1 or x.shape[2] % block or x.shape[3] % block:
        raise ShapeError(f"space to depth of {list(x.shape)} by {block}", str(n), _EXPORT_AGAIN)
    batch, c, h, w = x.shape
    order = (0, 3, 5, 1, 2, 4) if n.text("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    moved = b.transpose(n, b.reshape(n, x, (batch, c, h // block, block, w // block, block)), order)
    return b.reshape(n, moved, (batch, c * block * block, h // block, w // block))


SELECTIONS: dict[str, Callable[[Builder, SourceNode], Value | tuple[Value, ...]]] = {
    "CenterCropPad": center_crop_pad,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Pad": pad,
    "ReverseSequence": reverse_sequence,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Tile": tile,
    "Trilu": trilu,
}
