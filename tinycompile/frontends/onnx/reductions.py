"""Reductions over any axes, softmax and its kin, normalisations: made of `reduce` and elementwise functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.frontends.onnx import pooling
from tinycompile.frontends.onnx.builder import Builder, Value
from tinycompile.frontends.onnx.functions import apply, number, power_of, to_type
from tinycompile.frontends.onnx.selection import axes_in
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.cumsum import CumsumAttrs
from tinycompile.ops.reduce import ReduceAttrs, arrangement

_EXPORT_AGAIN = "export the model again"
_LARGEST = float(np.finfo(np.float32).max)
Importer = Callable[[Builder, SourceNode], Value | tuple[Value, ...]]


def reduce(b: Builder, n: SourceNode, name: str, x: Tensor, axes: set[int], keep: bool = True) -> Tensor:
    """A reduction over `axes`, which stay with size 1 where they are kept."""
    result = x
    if axes:
        perm, first, end = arrangement(x.shape, axes)
        result = b.emit(n, "reduce", [b.transpose(n, x, perm)], ReduceAttrs(name, first, end))
    shape = [1 if a in axes else d for a, d in enumerate(x.shape) if keep or a not in axes]
    return b.reshape(n, result, shape)


def mean_of(b: Builder, n: SourceNode, x: Tensor, axes: set[int], keep: bool = True) -> Tensor:
    count = number(b, n, math.prod(x.shape[a] for a in axes), x.dtype)
    return apply(b, n, "div", [reduce(b, n, "sum", x, axes, keep), count])


def _log_sum_exp(b: Builder, n: SourceNode, x: Tensor, axes: set[int], keep: bool) -> Tensor:
    """The largest element is taken out first, so that no exponential leaves the range of floats."""
    top = apply(b, n, "clip", [reduce(b, n, "max", x, axes)], -_LARGEST, _LARGEST)
    total = reduce(b, n, "sum", apply(b, n, "exp", [apply(b, n, "sub", [x, top])]), axes)
    result = apply(b, n, "add", [apply(b, n, "log", [total]), top])
    return b.reshape(n, result, [d for a, d in enumerate(result.shape) if keep or a not in axes])


def _square(b: Builder, n: SourceNode, x: Tensor) -> Tensor:
    return apply(b, n, "mul", [x, x])


_REDUCTIONS: dict[str, Callable[[Builder, SourceNode, Tensor, set[int], bool], Tensor]] = {
    "ReduceSum": lambda b, n, x, axes, keep: reduce(b, n, "sum", x, axes, keep),
    "ReduceProd": lambda b, n, x, axes, keep: reduce(b, n, "prod", x, axes, keep),
    "ReduceMax": lambda b, n, x, axes, keep: reduce(b, n, "max", x, axes, keep),
    "ReduceMin": lambda b, n, x, axes, keep: reduce(b, n, "min", x, axes, keep),
    "ReduceMean": mean_of,
    "ReduceL1": lambda b, n, x, axes, keep: reduce(b, n, "sum", apply(b, n, "abs", [x]), axes, keep),
    "ReduceSumSquare": lambda b, n, x, axes, keep: reduce(b, n, "sum", _square(b, n, x), axes, keep),
    "ReduceL2": lambda b, n, x, axes, keep: apply(b, n, "sqrt", [reduce(b, n, "sum", _square(b, n, x), axes, keep)]),
    "ReduceLogSum": lambda b, n, x, axes, keep: apply(b, n, "log", [reduce(b, n, "sum", x, axes, keep)]),
    "ReduceLogSumExp": _log_sum_exp,
}


def _reduction(kind: str) -> Importer:
    def importer(b: Builder, n: SourceNode) -> Value:
        x = b.tensor(n, 0)
        axes = n.ints("axes")
        if axes is None and b.optional(n, 1) is not None:
            axes = b.integers(n, 1, "the axes") if math.prod(b.value(n, 1).shape) else ()
        kept = not axes and n.integer("noop_with_empty_axes", 0)
        if kind == "ReduceMean" and x.dtype == DType.FLOAT32 and x.shape and not kept:
            return pooling.reduce_mean(b, n)  # may become an integer mean
        if not axes:
            axes = () if kept else tuple(range(len(x.shape)))
        return _REDUCTIONS[kind](b, n, x, axes_in(n, axes, len(x.shape)), bool(n.integer("keepdims", 1)))

    return importer


def _place(name: str) -> Importer:
    def importer(b: Builder, n: SourceNode) -> Value:
        x = b.tensor(n, 0)
        axes = axes_in(n, [n.integer("axis", 0)], len(x.shape))
        last = "last_" if n.integer("select_last_index", 0) else ""
        return reduce(b, n, f"{last}{name}", x, axes, bool(n.integer("keepdims", 1)))

    return importer


def _flattened(b: Builder, n: SourceNode, x: Tensor) -> tuple[Tensor, set[int]]:
    """`x` and the axes of a softmax: one since opset 13, before that all from `axis` on."""
    rank, axis = len(x.shape), n.integer("axis", -1 if n.opset >= 13 else 1)
    (first,) = axes_in(n, [axis], rank)
    return x, {first} if n.opset >= 13 else set(range(first, rank))


def log_softmax(b: Builder, n: SourceNode) -> Tensor:
    x, axes = _flattened(b, n, b.tensor(n, 0))
    centred = apply(b, n, "sub", [x, reduce(b, n, "max", x, axes)])
    total = reduce(b, n, "sum", apply(b, n, "exp", [centred]), axes)
    return apply(b, n, "sub", [centred, apply(b, n, "log", [total])])


def hardmax(b: Builder, n: SourceNode) -> Tensor:
    """1 at the first largest element, 0 elsewhere."""
    x, axes = _flattened(b, n, b.tensor(n, 0))
    if len(axes) > 1:
        raise n.unsupported("Hardmax over several axes", "export the model with opset 13")
    (axis,) = axes
    shape = [d if a == axis else 1 for a, d in enumerate(x.shape)]
    places = b.add_constant(np.arange(x.shape[axis], dtype=np.int64).reshape(shape), f"{n.loc.node}/places", n)
    return to_type(b, n, apply(b, n, "equal", [reduce(b, n, "argmax", x, axes), places]), x.dtype)


def _inverse_root(b: Builder, n: SourceNode, squares: Tensor, epsilon: float) -> Tensor:
    shifted = apply(b, n, "add", [squares, number(b, n, epsilon)])
    return apply(b, n, "reciprocal", [apply(b, n, "sqrt", [shifted])])


def _normalised(b: Builder, n: SourceNode, x: Tensor, axes: set[int]) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) / deviation over `axes`, the mean and the reciprocal deviation."""
    mean = mean_of(b, n, x, axes)
    centred = apply(b, n, "sub", [x, mean])
    inverse = _inverse_root(b, n, mean_of(b, n, _square(b, n, centred), axes), n.real("epsilon", 1e-5))
    return apply(b, n, "mul", [centred, inverse]), mean, inverse


def _scaled(b: Builder, n: SourceNode, y: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """`y` times input 1 plus input 2, in `shape` where given."""
    for index, name in ((1, "mul"), (2, "add")):
        if b.optional(n, index) is not None:
            factor = b.tensor(n, index)
            y = apply(b, n, name, [y, factor if shape is None else b.reshape(n, factor, shape)])
    return y


def layer_normalization(b: Builder, n: SourceNode) -> tuple[Value, ...]:
    x = b.real(n, 0)
    (first,) = axes_in(n, [n.integer("axis", -1)], len(x.shape))
    y, mean, inverse = _normalised(b, n, x, set(range(first, len(x.shape))))
    return _scaled(b, n, y), mean, inverse


def rms_normalization(b: Builder, n: SourceNode) -> Tensor:
    x = b.real(n, 0)
    (first,) = axes_in(n, [n.integer("axis", -1)], len(x.shape))
    squares = mean_of(b, n, _square(b, n, x), set(range(first, len(x.shape))))
    return _scaled(b, n, apply(b, n, "mul", [x, _inverse_root(b, n, squares, n.real("epsilon", 1e-5))]))


def instance_normalization(b: Builder, n: SourceNode) -> Tensor:
    x = b.real(n, 0)
    y, _, _ = _normalised(b, n, x, set(range(2, len(x.shape))))
    return _scaled(b, n, y, (x.shape[1], *(1,) * (len(x.shape) - 2)))


def group_normalization(b: Builder, n: SourceNode) -> Tensor:
    """Scale and bias per channel since opset 21, before that per group."""
    x, groups = b.real(n, 0), n.integer("num_groups", 1)
    channels = x.shape[1] if len(x.shape) > 1 else 0
    if groups < 1 or channels % groups:
        raise ShapeError(f"{channels} channels in {groups} groups", str(n), _EXPORT_AGAIN)
    grouped = b.reshape(n, x, (x.shape[0], groups, x.elems // (x.shape[0] * groups)))
    y, _, _ = _normalised(b, n, grouped, {2})
    if n.opset < 21:
        return b.reshape(n, _scaled(b, n, y, (groups, 1)), x.shape)
    return _scaled(b, n, b.reshape(n, y, x.shape), (channels, *(1,) * (len(x.shape) - 2)))


def lp_normalization(b: Builder, n: SourceNode) -> Tensor:
    """Where the norm is 0 the result is 0."""
    x, p = b.real(n, 0), n.integer("p", 2)
    axes = axes_in(n, [n.integer("axis", -1)], len(x.shape))
    if p not in (1, 2):
        raise n.unsupported(f"normalisation of order {p}")
    kind = "ReduceL1" if p == 1 else "ReduceL2"
    norm = _REDUCTIONS[kind](b, n, x, axes, True)
    zero = number(b, n, 0.0)
    return apply(b, n, "where", [apply(b, n, "equal", [norm, zero]), zero, apply(b, n, "div", [x, norm])])


def mean_variance_normalization(b: Builder, n: SourceNode) -> Tensor:
    x = b.real(n, 0)
    axes = axes_in(n, n.ints("axes") or (0, 2, 3), len(x.shape))
    centred = apply(b, n, "sub", [x, mean_of(b, n, x, axes)])
    deviation = apply(b, n, "sqrt", [mean_of(b, n, _square(b, n, centred), axes)])
    return apply(b, n, "div", [centred, apply(b, n, "add", [deviation, number(b, n, 1e-9)])])


def one_hot(b: Builder, n: SourceNode) -> Tensor:
    """Negative indices count from the end; those outside give no place."""
    indices, depth = b.tensor(n, 0), int(b.constant(n, 1, "the depth").reshape(-1)[0])
    rank = len(indices.shape) + 1
    (axis,) = axes_in(n, [n.integer("axis", -1)], rank)
    values = b.constant(n, 2, "the values").reshape(-1)
    if not 0 < depth <= 2**16 or values.size != 2:
        raise n.unsupported(f"one-hot vectors of {depth} places with {values.size} values")
    dtype = indices.dtype
    if not dtype.is_integer or dtype.int_range[1] < depth:
        indices = to_type(b, n, indices, DType.INT64)
    indices = b.reshape(n, indices, (*indices.shape[:axis], 1, *indices.shape[axis:]))
    if indices.dtype.int_range[0] < 0:
        negative = apply(b, n, "less", [indices, number(b, n, 0, indices.dtype)])
        from_end = apply(b, n, "add", [indices, number(b, n, depth, indices.dtype)])
        indices = apply(b, n, "where", [negative, from_end, indices])
    shape = [depth if a == axis else 1 for a in range(rank)]
    places = np.arange(depth, dtype=indices.dtype.numpy).reshape(shape)
    hit = apply(b, n, "equal", [indices, b.add_constant(places, f"{n.loc.node}/places", n)])
    off, on = (b.add_constant(np.ascontiguousarray(values[k]), f"{n.loc.node}/value{k}", n) for k in (0, 1))
    return apply(b, n, "where", [hit, on, off])


def cumsum(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    (axis,) = axes_in(n, b.integers(n, 1, "the axis"), len(x.shape))
    attrs = CumsumAttrs(axis, bool(n.integer("exclusive", 0)), bool(n.integer("reverse", 0)), n.op_type == "CumProd")
    return b.emit(n, "cumsum", [x], attrs)


def dynamic_quantize_linear(b: Builder, n: SourceNode) -> tuple[Value, ...]:
    """uint8 in a range that holds all of the input and 0; its scale and zero point are outputs."""
    x = b.real(n, 0)
    zero, every = number(b, n, 0.0), set(range(len(x.shape)))
    low = apply(b, n, "min", [reduce(b, n, "min", x, every, False), zero])
    high = apply(b, n, "max", [reduce(b, n, "max", x, every, False), zero])
    scale = apply(b, n, "div", [apply(b, n, "sub", [high, low]), number(b, n, 255.0)])
    start = apply(b, n, "div", [apply(b, n, "sub", [zero, low]), scale])
    zero_point = apply(b, n, "round", [apply(b, n, "clip", [start], 0.0, 255.0)])
    steps = apply(b, n, "round", [apply(b, n, "div", [x, scale])])
    y = apply(b, n, "clip", [apply(b, n, "add", [steps, zero_point])], 0.0, 255.0)
    return to_type(b, n, y, DType.UINT8), scale, to_type(b, n, zero_point, DType.UINT8)


def global_lp_pool(b: Builder, n: SourceNode) -> Tensor:
    x, p = b.real(n, 0), n.integer("p", 2)
    if p < 1:
        raise n.unsupported(f"pooling of order {p}")
    total = reduce(b, n, "sum", power_of(b, n, apply(b, n, "abs", [x]), p), set(range(2, len(x.shape))))
    return power_of(b, n, total, 1 / p)


REDUCTIONS: dict[str, Importer] = {
    **{kind: _reduction(kind) for kind in _REDUCTIONS},
    "ArgMax": _place("argmax"),
    "ArgMin": _place("argmin"),
    "CumProd": cumsum,
    "CumSum": cumsum,
    "DynamicQuantizeLinear": dynamic_quantize_linear,
    "GlobalLpPool": global_lp_pool,
    "GroupNormalization": group_normalization,
    "Hardmax": hardmax,
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": log_softmax,
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance_normalization,
    "OneHot": one_hot,
    "RMSNormalization": rms_normalization,
}
