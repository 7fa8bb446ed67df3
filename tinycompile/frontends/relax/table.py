"""Relax operators as ONNX nodes, one small function for those that are not the same.

Shapes are static and known for every binding, so all that only changes the shape is a Reshape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycompile.errors import UnsupportedError
from tinycompile.frontends.onnx.resizing import Axis
from tinycompile.frontends.relax.writer import Convert, Writer, element_type, static_shape

_EPSILON = 1e-5  # topi.image.resize adds it before it rounds down, and subtracts it before it rounds up


def _ints(values: Any) -> list[int]:
    return [int(v) for v in values]


def _refuse(call: Any, what: str) -> UnsupportedError:
    return UnsupportedError(f"operator {call.op.name} with {what}", "Relax module", "replace it")


def _require(call: Any, **wanted: Any) -> None:
    """UnsupportedError unless every attribute has one of the values given for it."""
    for name, values in wanted.items():
        got = getattr(call.attrs, name)
        plain = got if isinstance(got, (str, bool, type(None))) else int(got)
        if plain not in values:
            raise _refuse(call, f"{name} {got}")


def _plain(kind: str) -> Convert:
    """The same operands, no attributes."""
    return lambda w, call: w.node(kind, *(w.value(a) for a in call.args))


def _matmul(w: Writer, call: Any) -> Any:
    if call.ty.dtype != call.args[0].ty.dtype:
        raise _refuse(call, f"out_dtype {call.ty.dtype}")
    return w.node("MatMul", *(w.value(a) for a in call.args))


def _reshape(w: Writer, call: Any) -> Any:
    return w.node("Reshape", w.value(call.args[0]), w.integers(static_shape(call.ty)))


def _expand(w: Writer, call: Any) -> Any:
    return w.node("Expand", w.value(call.args[0]), w.integers(static_shape(call.ty)))


def _full_like(w: Writer, call: Any) -> Any:
    cast = w.node("Cast", w.value(call.args[1]), to=element_type(call.ty))
    return w.node("Expand", cast, w.integers(static_shape(call.ty)))


def _zeros(w: Writer, call: Any) -> Any:
    return w.constant(np.zeros(static_shape(call.ty), np.dtype(str(call.ty.dtype))))


def _shape_of(w: Writer, call: Any) -> Any:
    return w.integers(static_shape(call.args[0].ty))


def _same(w: Writer, call: Any) -> Any:
    return w.value(call.args[0])


def _convolution(kind: str, data: str, kernel: str) -> Convert:
    def run(w: Writer, call: Any) -> Any:
        a = call.args
        _require(call, data_layout=(data,), kernel_layout=(kernel,), out_layout=(data, ""))
        if call.ty.dtype != a[0].ty.dtype:
            raise _refuse(call, f"out_dtype {call.ty.dtype}")
        attrs = call.attrs
        more: dict[str, Any] = {} if kind == "Conv" else {"output_padding": _ints(attrs.output_padding)}
        return w.node(
            kind,
            *(w.value(v) for v in a),
            strides=_ints(attrs.strides),
            pads=_ints(attrs.padding),
            dilations=_ints(attrs.dilation),
            group=int(attrs.groups),
            **more,
        )

    return run


def _pool(kind: str, layout: str) -> Convert:
    def run(w: Writer, call: Any) -> Any:
        attrs = call.attrs
        _require(call, layout=(layout,), out_layout=(layout, ""), ceil_mode=(False,))
        average = {"count_include_pad": int(attrs.count_include_pad)} if kind == "AveragePool" else {}
        return w.node(
            kind,
            w.value(call.args[0]),
            kernel_shape=_ints(attrs.pool_size),
            strides=_ints(attrs.strides),
            pads=_ints(attrs.padding),
            dilations=_ints(attrs.dilation),
            **average,
        )

    return run


def _adaptive(w: Writer, call: Any) -> Any:
    if any(d != 1 for d in static_shape(call.ty)[2:]):
        raise _refuse(call, f"output {list(static_shape(call.ty))}: only 1 by 1")
    _require(call, layout=("NCHW", "NCW"))
    return w.node("GlobalAveragePool", w.value(call.args[0]))


def _reduce(kind: str) -> Convert:
    def run(w: Writer, call: Any) -> Any:
        attrs, x = call.attrs, w.value(call.args[0])
        axes = [] if attrs.axis is None else [w.integers(attrs.axis)]
        return w.node(kind, x, *axes, keepdims=int(attrs.keepdims))

    return run


def _along(kind: str) -> Convert:
    """Operators of one tensor, or of several in a tuple, with an axis."""

    def run(w: Writer, call: Any) -> Any:
        x = w.value(call.args[0])
        return w.node(kind, *(x if isinstance(x, tuple) else (x,)), axis=int(call.attrs.axis))

    return run


def _permute(w: Writer, call: Any) -> Any:
    axes = call.attrs.axes
    perm = _ints(axes) if axes is not None else list(range(len(static_shape(call.ty))))[::-1]
    return w.node("Transpose", w.value(call.args[0]), perm=[p % len(perm) for p in perm])


def _split(w: Writer, call: Any) -> Any:
    axis, parts = int(call.attrs.axis), [static_shape(field) for field in call.ty.fields]
    sizes = w.integers(shape[axis] for shape in parts)
    made = w.node("Split", w.value(call.args[0]), sizes, outputs=len(parts), axis=axis)
    return made if isinstance(made, tuple) else (made,)


def _slice(w: Writer, call: Any) -> Any:
    x, axes, begin, end, *strides = call.args
    lists = (begin.fields, end.fields, axes.fields, *(s.fields for s in strides))
    return w.node("Slice", w.value(x), *(w.integers(v) for v in lists))


def _take(w: Writer, call: Any) -> Any:
    _require(call, mode=("fast",))  # the others give negative indices another meaning
    if call.attrs.axis is None:
        raise _refuse(call, "no axis")
    return w.node("Gather", *(w.value(a) for a in call.args), axis=int(call.attrs.axis))


def _pad(w: Writer, call: Any) -> Any:
    """TVM gives (before, after) per dimension, ONNX all before and then all after."""
    _require(call, pad_mode=("constant",))
    widths, dtype = _ints(call.attrs.pad_width), np.dtype(str(call.ty.dtype))
    pads = w.integers([*widths[::2], *widths[1::2]])
    return w.node("Pad", w.value(call.args[0]), pads, w.constant(np.asarray(float(call.attrs.pad_value), dtype)))


def _clip(w: Writer, call: Any) -> Any:
    dtype = np.dtype(str(call.ty.dtype))
    bounds = (w.constant(np.asarray(v.value, dtype)) for v in call.args[1:])
    return w.node("Clip", w.value(call.args[0]), *bounds)


def _leaky_relu(w: Writer, call: Any) -> Any:
    return w.node("LeakyRelu", w.value(call.args[0]), alpha=float(call.attrs.alpha))


def _gelu(approximate: str) -> Convert:
    return lambda w, call: w.node("Gelu", w.value(call.args[0]), approximate=approximate)


def _silu(w: Writer, call: Any) -> Any:
    x = w.value(call.args[0])
    return w.node("Mul", x, w.node("Sigmoid", x))


def _cast(w: Writer, call: Any) -> Any:
    return w.node("Cast", w.value(call.args[0]), to=element_type(call.ty))


def _layer_norm(w: Writer, call: Any) -> Any:
    rank = len(static_shape(call.ty))
    axes = sorted(a % rank for a in _ints(call.attrs.axes))
    _require(call, center=(True,), scale=(True,))
    if axes != list(range(axes[0], rank)):
        raise _refuse(call, f"axes {axes}: only the last ones")
    return w.node(
        "LayerNormalization", *(w.value(a) for a in call.args), axis=axes[0], epsilon=float(call.attrs.epsilon)
    )


def _batch_norm(w: Writer, call: Any) -> Any:
    """As in inference: the moving statistics stay as they are."""
    _require(call, axis=(1,), center=(True,), scale=(True,), training=(False,))
    x, gamma, beta, mean, variance = (w.value(a) for a in call.args)
    made = w.node("BatchNormalization", x, gamma, beta, mean, variance, epsilon=float(call.attrs.epsilon))
    return made, mean, variance


def _dropout(w: Writer, call: Any) -> Any:
    return w.value(call.args[0]), "unknown"


def _nearest_mode(call: Any, size: tuple[int, ...]) -> str:
    """ONNX's name of how coordinates are rounded (topi.image.resize). What `round` makes of halves is not TVM's to say:
    it is taken where there are none, whole factors of half pixels."""
    method, coordinates = str(call.attrs.rounding_method), str(call.attrs.coordinate_transformation_mode)
    if method == "":
        method = "round" if coordinates == "align_corners" else "floor"
    if method == "round":
        factors = all(new % old == 0 for old, new in zip(static_shape(call.args[0].ty)[2:], size[2:], strict=True))
        if coordinates != "half_pixel" or not factors:
            raise _refuse(call, f"coordinates {coordinates} rounded to nearest")
        return "round_prefer_ceil"
    axes = [Axis(old, new, new / old) for old, new in zip(static_shape(call.args[0].ty)[2:], size[2:], strict=True)]
    if method in ("floor", "ceil") and not all(_beyond_epsilon(axis, coordinates, method) for axis in axes):
        raise _refuse(call, f"{method} of coordinates within {_EPSILON} of the next element")
    return method


def _beyond_epsilon(axis: Axis, coordinates: str, method: str) -> bool:
    """Whether TVM takes the same elements: it moves coordinates by `_EPSILON` before it rounds, in float32."""
    up = axis.coordinates(coordinates) * (1 if method == "floor" else -1)
    exact = np.float32(1 / axis.scale) == 1 / axis.scale and np.array_equal(up.astype(np.float32), up)
    error = 0.0 if exact else (np.abs(up) + 1) * 2.0**-21
    return all(np.array_equal(np.floor(up + _EPSILON + e), np.floor(up)) for e in (-error, error))


def _resize(w: Writer, call: Any) -> Any:
    _require(call, layout=("NCHW",), method=("nearest_neighbor", "linear"))
    size, nearest = static_shape(call.ty), str(call.attrs.method) == "nearest_neighbor"
    rounding: dict[str, Any] = {"nearest_mode": _nearest_mode(call, size)} if nearest else {}
    return w.node(
        "Resize",
        w.value(call.args[0]),
        "",
        "",
        w.integers(size),
        mode="nearest" if nearest else "linear",
        coordinate_transformation_mode=str(call.attrs.coordinate_transformation_mode),
        **rounding,
    )


_PLAIN = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "logical_and": "And",
    "logical_or": "Or",
    "logical_not": "Not",
    "where": "Where",
    "abs": "Abs",
    "ceil": "Ceil",
    "cos": "Cos",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "log": "Log",
    "negative": "Neg",
    "isnan": "IsNaN",
    "sigmoid": "Sigmoid",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
    "nn.relu": "Relu",
}
_REDUCE = {"mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd"}

RELAX_OPERATORS: dict[str, Convert] = {
    f"relax.{name}": convert
    for name, convert in {
        **{name: _plain(kind) for name, kind in _PLAIN.items()},
        **{name: _reduce(kind) for name, kind in _REDUCE.items()},
        **dict.fromkeys(("reshape", "flatten", "nn.batch_flatten", "expand_dims", "squeeze"), _reshape),
        "astype": _cast,
        "broadcast_to": _expand,
        "clip": _clip,
        "concat": _along("Concat"),
        "full_like": _full_like,
        "image.resize2d": _resize,
        "matmul": _matmul,
        "nn.adaptive_avg_pool2d": _adaptive,
        "nn.avg_pool1d": _pool("AveragePool", "NCW"),
        "nn.avg_pool2d": _pool("AveragePool", "NCHW"),
        "nn.batch_norm": _batch_norm,
        "nn.conv1d": _convolution("Conv", "NCW", "OIW"),
        "nn.conv2d": _convolution("Conv", "NCHW", "OIHW"),
        "nn.conv1d_transpose": _convolution("ConvTranspose", "NCW", "IOW"),
        "nn.conv2d_transpose": _convolution("ConvTranspose", "NCHW", "IOHW"),
        "nn.dropout": _dropout,
        "nn.gelu": _gelu("none"),
        "nn.gelu_tanh": _gelu("tanh"),
        "nn.layer_norm": _layer_norm,
        "nn.leakyrelu": _leaky_relu,
        "nn.log_softmax": _along("LogSoftmax"),
        "nn.max_pool1d": _pool("MaxPool", "NCW"),
        "nn.max_pool2d": _pool("MaxPool", "NCHW"),
        "nn.pad": _pad,
        "nn.silu": _silu,
        "nn.softmax": _along("Softmax"),
        "permute_dims": _permute,
        "shape_of": _shape_of,
        "shape_to_tensor": _same,
        "split": _split,
        "strided_slice": _slice,
        "take": _take,
        "zeros_like": _zeros,
    }.items()
}
