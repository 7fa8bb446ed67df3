"""Operators that read or write elements at places made at run time, and those that make such places."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinycompile.errors import MalformedModelError, ShapeError
from tinycompile.frontends.limits import checked_shape
from tinycompile.frontends.onnx import selection
from tinycompile.frontends.onnx.builder import Builder, Value
from tinycompile.frontends.onnx.functions import apply, number, to_type
from tinycompile.frontends.onnx.selection import axes_in, select
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.frontends.onnx.windows import axis_windows, window
from tinycompile.ir.graph import Array, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.max_pool2d_places import MaxPool2dPlacesAttrs
from tinycompile.ops.put import PutAttrs
from tinycompile.ops.take import TakeAttrs
from tinycompile.ops.top_k import TopKAttrs

_EXPORT_AGAIN = "export the model again"
_COMBINATIONS = {"none": "set", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _constant(b: Builder, n: SourceNode, value: Array, name: str) -> Tensor:
    return b.add_constant(np.ascontiguousarray(value), f"{n.loc.node}/{name}", n)


def _places(b: Builder, n: SourceNode, indices: Tensor, size: int) -> Tensor:
    """Indices of a dimension as int64, negative ones counted from the end."""
    at = to_type(b, n, indices, DType.INT64)
    negative = apply(b, n, "less", [at, number(b, n, 0, DType.INT64)])
    return apply(b, n, "where", [negative, apply(b, n, "add", [at, number(b, n, size, DType.INT64)]), at])


def _flat_places(b: Builder, n: SourceNode, indices: Tensor, shape: tuple[int, ...], axis: int) -> Tensor:
    """For each of `indices` along `axis`, of the data's rank, the number of the element in data of `shape`."""
    if len(indices.shape) != len(shape) or any(
        d > s for a, (d, s) in enumerate(zip(indices.shape, shape, strict=True)) if a != axis
    ):
        raise ShapeError(f"indices {list(indices.shape)} of data {list(shape)}", str(n), _EXPORT_AGAIN)
    strides = [math.prod(shape[a + 1 :]) for a in range(len(shape))]
    grid = np.indices(indices.shape, sparse=True)
    base = sum((g * s for a, (g, s) in enumerate(zip(grid, strides, strict=True)) if a != axis), np.int64(0))
    base = np.broadcast_to(
        np.asarray(base, dtype=np.int64), [1 if a == axis else d for a, d in enumerate(indices.shape)]
    )
    along = apply(b, n, "mul", [_places(b, n, indices, shape[axis]), number(b, n, strides[axis], DType.INT64)])
    return apply(b, n, "add", [along, _constant(b, n, base, "base")])


def _block_places(b: Builder, n: SourceNode, indices: Tensor, dims: Sequence[int]) -> Tensor:
    """Tuples of indices, the last dimension of `indices`, as numbers of blocks of data whose first dimensions are
    `dims`; [count]."""
    count = indices.elems // len(dims)
    total: Tensor | None = None
    for k, size in enumerate(dims):
        part = select(b, n, indices, [*(range(d) for d in indices.shape[:-1]), (k,)])
        part = _places(b, n, part, size)
        total = part if total is None else apply(b, n, "add", [total, part])
        if k + 1 < len(dims):
            total = apply(b, n, "mul", [total, number(b, n, dims[k + 1], DType.INT64)])
    assert total is not None
    return b.reshape(n, total, (count,))


def take(b: Builder, n: SourceNode, data: Tensor, places: Tensor, axis: int) -> Tensor:
    return b.emit(n, "take", [data, places], TakeAttrs(axis), dtype=data.dtype)


def _is_known(b: Builder, n: SourceNode, index: int) -> bool:
    return b.known(b.tensor(n, index)) is not None


def gather(b: Builder, n: SourceNode) -> Value:
    data = b.tensor(n, 0)
    if _is_known(b, n, 1) and data.data is None:
        return selection.gather(b, n)
    (axis,) = axes_in(n, [n.integer("axis", 0)], len(data.shape))
    return take(b, n, data, to_type(b, n, b.tensor(n, 1), DType.INT64), axis)


def gather_elements(b: Builder, n: SourceNode) -> Value:
    data, indices = b.tensor(n, 0), b.tensor(n, 1)
    if _is_known(b, n, 1) and data.data is None:
        return selection.gather_elements(b, n)
    (axis,) = axes_in(n, [n.integer("axis", 0)], len(data.shape))
    places = _flat_places(b, n, indices, data.shape, axis)
    return take(b, n, b.reshape(n, data, (data.elems,)), places, 0)


def gather_nd(b: Builder, n: SourceNode) -> Value:
    data, indices = b.tensor(n, 0), b.tensor(n, 1)
    if _is_known(b, n, 1) and data.data is None:
        return selection.gather_nd(b, n)
    depth = indices.shape[-1] if indices.shape else 0
    if n.integer("batch_dims", 0) or not 1 <= depth <= len(data.shape):
        raise n.unsupported("a gather by tuples made at run time, sample by sample", "use GatherND without batch_dims")
    rest = data.shape[depth:]
    blocks = b.reshape(n, data, (math.prod(data.shape[:depth]), *rest))
    taken = take(b, n, blocks, _block_places(b, n, indices, data.shape[:depth]), 0)
    return b.reshape(n, taken, (*indices.shape[:-1], *rest))


def put(b: Builder, n: SourceNode, data: Tensor, places: Tensor, updates: Tensor, combination: str) -> Tensor:
    """`data` with `updates` put at blocks `places`, [count]: all of the updates' elements by `count`."""
    count = places.elems
    if count == 0 or updates.elems % count or data.elems % (updates.elems // count):
        raise ShapeError(
            f"updates {list(updates.shape)} at {count} places of {list(data.shape)}", str(n), _EXPORT_AGAIN
        )
    inner = updates.elems // count
    flat = b.reshape(n, data, (data.elems // inner, inner))
    operands = [flat, b.reshape(n, places, (count,)), b.reshape(n, updates, (count, inner))]
    return b.reshape(n, b.emit(n, "put", operands, PutAttrs(combination), dtype=data.dtype), data.shape)


def _combination(n: SourceNode) -> str:
    name = n.text("reduction", "none")
    if name not in _COMBINATIONS:
        raise n.unsupported(f"a scatter with reduction '{name}'")
    return _COMBINATIONS[name]


def scatter_elements(b: Builder, n: SourceNode) -> Tensor:
    data, indices, updates = (b.tensor(n, k) for k in range(3))
    (axis,) = axes_in(n, [n.integer("axis", 0)], len(data.shape))
    if indices.shape != updates.shape:
        raise ShapeError(f"{list(updates.shape)} updates at {list(indices.shape)}", str(n), _EXPORT_AGAIN)
    return put(b, n, data, _flat_places(b, n, indices, data.shape, axis), updates, _combination(n))


def scatter_nd(b: Builder, n: SourceNode) -> Tensor:
    data, indices, updates = (b.tensor(n, k) for k in range(3))
    depth = indices.shape[-1] if indices.shape else 0
    if not 1 <= depth <= len(data.shape) or updates.shape != (*indices.shape[:-1], *data.shape[depth:]):
        raise ShapeError(f"{list(updates.shape)} updates at {list(indices.shape)}", str(n), _EXPORT_AGAIN)
    return put(b, n, data, _block_places(b, n, indices, data.shape[:depth]), updates, _combination(n))


def top_k(b: Builder, n: SourceNode) -> tuple[Tensor, Tensor]:
    """k is an attribute before opset 10, and an input since."""
    x = b.tensor(n, 0)
    (axis,) = axes_in(n, [n.integer("axis", -1)], len(x.shape))
    (k,) = (n.integer("k", 0),) if n.opset < 10 else b.integers(n, 1, "k")
    n.integer("sorted", 1)  # sorted is one of the orders that may be
    largest = bool(n.integer("largest", 1))
    return (
        b.emit(n, "top_k", [x], TopKAttrs(axis, k, largest), dtype=x.dtype),
        b.emit(n, "top_k", [x], TopKAttrs(axis, k, largest, True), dtype=DType.INT64),
    )


def max_pool_places(b: Builder, n: SourceNode, x: Tensor) -> Tensor:
    """The second output of MaxPool."""
    if len(x.shape) not in (3, 4) or x.shape[0] != 1:
        raise n.unsupported(f"indices of a maximum over {list(x.shape)}", "export the model with batch size 1")
    w = window(n, x.shape[2:])
    attrs = MaxPool2dPlacesAttrs(w.kernel, w.stride, w.pad, None, w.dilation, bool(n.integer("storage_order", 0)))
    y = b.emit(n, "max_pool2d_places", [b.to_map(n, x)], attrs, dtype=DType.INT64)
    return b.from_map(n, y, len(x.shape))


def max_unpool(b: Builder, n: SourceNode) -> Tensor:
    """Indices are of the shape that kernel, strides and pads give; where output_shape is larger, zeros follow."""
    x, places = b.tensor(n, 0), b.tensor(n, 1)
    dims = len(x.shape) - 2
    kernel, strides = n.ints("kernel_shape", dims), n.ints("strides", dims) or (1,) * dims
    pads = n.ints("pads", 2 * dims) or (0,) * (2 * dims)
    if kernel is None or dims < 1 or places.shape != x.shape:
        raise MalformedModelError("MaxUnpool that does not fit its input", str(n), _EXPORT_AGAIN)
    sizes = [(x.shape[d + 2] - 1) * strides[d] - pads[d] - pads[d + dims] + kernel[d] for d in range(dims)]
    full = checked_shape((*x.shape[:2], *sizes), str(n))
    zeros = _constant(b, n, np.zeros(full, dtype=x.dtype.numpy), "zeros")
    y = put(b, n, zeros, to_type(b, n, places, DType.INT64), x, "set")
    if b.optional(n, 2) is None:
        return y
    shape = checked_shape(b.integers(n, 2, "the output's shape"), str(n))
    if len(shape) != len(full) or any(s < f for s, f in zip(shape, full, strict=True)):
        raise n.unsupported(f"MaxUnpool of {list(full)} to the smaller {list(shape)}")
    return select(b, n, y, [[*range(f), *[-1] * (s - f)] for f, s in zip(full, shape, strict=True)])


def column_to_image(b: Builder, n: SourceNode) -> Tensor:
    """Col2Im: blocks [N, C * block, L] added into an image."""
    x = b.tensor(n, 0)
    image, block = b.integers(n, 1, "the image's shape"), b.integers(n, 2, "the blocks' shape")
    if len(x.shape) != 3 or x.shape[1] % math.prod(block) or len(image) != len(block):
        raise ShapeError(f"blocks {list(x.shape)} of {list(block)}", str(n), _EXPORT_AGAIN)
    windows = axis_windows(n, image, block)
    planes = x.shape[0] * (x.shape[1] // math.prod(block))
    size = math.prod(checked_shape(image, str(n)))
    at = np.zeros((1, 1), dtype=np.int64)
    for w, d in zip(windows, image, strict=True):  # (block, L), grown axis by axis
        taps = np.array(w.taps(d), dtype=np.int64).T
        step = np.where((taps < 0) | (taps >= d), -(1 << 40), taps)
        at = (at[:, None, :, None] * d + step[None, :, None, :]).reshape(at.shape[0] * step.shape[0], -1)
    if at.shape[1] != x.shape[2]:
        raise ShapeError(f"{x.shape[2]} blocks where {at.shape[1]} fit", str(n), _EXPORT_AGAIN)
    places = np.where(at < 0, -1, at + np.arange(planes)[:, None, None] * size)
    zeros = _constant(b, n, np.zeros((x.shape[0], planes // x.shape[0], *image), dtype=x.dtype.numpy), "zeros")
    return put(b, n, zeros, _constant(b, n, np.where(at < 0, -1, places).reshape(-1), "places"), x, "add")


INDEXING: dict[str, Callable[[Builder, SourceNode], Value | tuple[Value, ...]]] = {
    "Col2Im": column_to_image,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "MaxUnpool": max_unpool,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TopK": top_k,
}
