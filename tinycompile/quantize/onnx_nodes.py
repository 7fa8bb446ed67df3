"""The ONNX node, or nodes, of each operator kind: the inverse of `frontends.onnx`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper

from tinycompile.errors import UnsupportedError
from tinycompile.frontends.onnx.functions import NAMED
from tinycompile.ir.graph import Node, Tensor
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.passes.layout import to_first
from tinycompile.quantize import onnx_movement as movement
from tinycompile.quantize import onnx_places as places
from tinycompile.quantize.write_onnx import FIRST, LAST, Writer

# Function of `elementwise` -> ONNX operator, the names of its parameters, and attributes that never change.
_FUNCTIONS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    **{function: (kind, tuple(key for key, _ in params), {}) for kind, (function, params) in NAMED.items()},
    **{name: (name.capitalize(), (), {}) for name in ("add", "sub", "mul", "div", "min", "max", "pow", "mod", "relu")},
    "fmod": ("Mod", (), {"fmod": 1}),
    "gelu": ("Gelu", (), {}),
    "gelu_tanh": ("Gelu", (), {"approximate": "tanh"}),
    "leaky_relu": ("LeakyRelu", ("alpha",), {}),
    "shift_left": ("BitShift", (), {"direction": "LEFT"}),
    "shift_right": ("BitShift", (), {"direction": "RIGHT"}),
    "sigmoid": ("Sigmoid", (), {}),
    "tanh": ("Tanh", (), {}),
    **{f"to_{s}": ("Cast", (), {"to": helper.np_dtype_to_tensor_dtype(d.numpy)}) for d, s in SUFFIX.items()},
}
_REDUCTIONS = {
    "sum": ("ReduceSum", {}),
    "prod": ("ReduceProd", {}),
    "max": ("ReduceMax", {}),
    "min": ("ReduceMin", {}),
    "argmax": ("ArgMax", {}),
    "argmin": ("ArgMin", {}),
    "last_argmax": ("ArgMax", {"select_last_index": 1}),
    "last_argmin": ("ArgMin", {"select_last_index": 1}),
}


def _wish(node: Node, clamp: Any = None) -> str:
    """What the node that computes is to be called: the output, unless a clamp comes after it."""
    return node.out.name if clamp is None else f"{node.out.name}/unclamped"


def _clipped(w: Writer, node: Node, made: str, lo: float, hi: float) -> str:
    if (lo, hi) == (0.0, math.inf):
        return w.emit("Relu", [made], node.out.name)
    bounds = [
        "" if math.isinf(v) else w.constant(np.array(v, dtype=np.float32), f"{node.out.name}/bound") for v in (lo, hi)
    ]
    return w.emit("Clip", [made, *bounds], node.out.name)


def _finish(w: Writer, node: Node, made: str, layout: str, clamp: tuple[float, float] | None) -> None:
    w.give(node, made if clamp is None else _clipped(w, node, made, *clamp), layout)


def _window(node: Node, kernel: Sequence[int]) -> dict[str, Any]:
    """Attributes of a windowed operator; pads of ONNX are all befores, then all afters. onnxruntime's quantised pooling
    does not know dilations."""
    a = node.attrs
    top, bottom, left, right = a.pad
    window = {"kernel_shape": kernel, "strides": a.stride, "pads": (top, left, bottom, right)}
    return window if a.dilation == (1, 1) else {**window, "dilations": a.dilation}


def _layer_inputs(w: Writer, node: Node, perm: Sequence[int]) -> list[str]:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    names = [w.take(node.tensor(0), FIRST), w.weights(node.tensor(1), perm)]
    return names if bias is None else [*names, w.weights(bias, (0,))]


def _conv2d(w: Writer, node: Node) -> None:
    _, kh, kw, _ = node.tensor(1).shape
    inputs = _layer_inputs(w, node, (0, 3, 1, 2))
    made = w.emit("Conv", inputs, _wish(node, node.attrs.clamp), group=node.attrs.groups, **_window(node, (kh, kw)))
    _finish(w, node, made, FIRST, node.attrs.clamp)


def _depthwise(w: Writer, node: Node) -> None:
    _, kh, kw, _ = node.tensor(1).shape
    inputs = _layer_inputs(w, node, (3, 0, 1, 2))
    group = node.tensor(0).shape[3]
    made = w.emit("Conv", inputs, _wish(node, node.attrs.clamp), group=group, **_window(node, (kh, kw)))
    _finish(w, node, made, FIRST, node.attrs.clamp)


def _conv_transpose(w: Writer, node: Node) -> None:
    """Weights [O,KH,KW,I/groups] -> [I,O/groups,KH,KW]."""
    a, filters = node.attrs, node.const(1)
    outputs, kh, kw, depth = filters.shape
    by_group = filters.reshape(a.groups, outputs // a.groups, kh, kw, depth).transpose(0, 4, 1, 2, 3)
    inputs = [
        w.take(node.tensor(0), FIRST),
        w.constant(by_group.reshape(a.groups * depth, outputs // a.groups, kh, kw), f"{node.out.name}/weights"),
    ]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        inputs.append(w.take(node.tensor(2)))
    sizes = zip(node.tensor(0).shape[1:3], (kh, kw), a.stride, a.dilation, a.pad, a.size, strict=True)
    after = [(size - 1) * s + (k - 1) * d + 1 - before - out for size, k, s, d, before, out in sizes]
    made = w.emit(
        "ConvTranspose",
        inputs,
        _wish(node, a.clamp),
        group=a.groups,
        kernel_shape=(kh, kw),
        strides=a.stride,
        dilations=a.dilation,
        pads=(*a.pad, *(max(v, 0) for v in after)),
        output_padding=[max(-v, 0) for v in after],
    )
    _finish(w, node, made, FIRST, a.clamp)


def _fully_connected(w: Writer, node: Node) -> None:
    x, clamp = node.tensor(0), node.attrs.clamp
    bias = [] if len(node.inputs) < 3 or node.inputs[2] is None else [w.weights(node.tensor(2), (0,))]
    wish = _wish(node, clamp)
    if len(node.out.shape) == 2:
        given = w.take(x)
        if len(x.shape) != 2:
            given = w.emit("Reshape", [given, w.integers((-1, x.shape[-1]), f"{wish}/shape")], f"{wish}/rows")
        made = w.emit("Gemm", [given, w.weights(node.tensor(1), (0, 1)), *bias], wish, transB=1)
    else:
        made = w.emit("MatMul", [w.take(x), w.weights(node.tensor(1), (1, 0))], f"{wish}/product" if bias else wish)
        made = w.emit("Add", [made, *bias], wish) if bias else made
    _finish(w, node, made, LAST, clamp)


def _pool(kind: str) -> Callable[[Writer, Node], None]:
    def write(w: Writer, node: Node) -> None:
        a = node.attrs
        attributes = _window(node, a.kernel)
        if kind == "AveragePool":
            attributes["count_include_pad"] = int(a.include_pad)
            if any(a.grown):
                top, left, bottom, right = attributes["pads"]
                attributes["pads"] = (top, left, bottom - a.grown[0], right - a.grown[1])
                attributes["ceil_mode"] = 1
        made = w.emit(kind, [w.take(node.tensor(0), FIRST)], _wish(node, a.clamp), **attributes)
        _finish(w, node, made, FIRST, a.clamp)

    return write


def _max_pool_places(w: Writer, node: Node) -> None:
    places.max_pool_places(w, node, _window(node, node.attrs.kernel))


def _mean(w: Writer, node: Node) -> None:
    x, a = node.tensor(0), node.attrs
    layout = w.layout_of(x) if a.keep_dims else LAST
    axes = sorted(movement.axis_in(layout, axis % len(x.shape)) for axis in a.axes)
    inputs = [w.take(x, layout), w.integers(axes, f"{node.out.name}/axes")]
    w.give(node, w.emit("ReduceMean", inputs, node.out.name, keepdims=int(a.keep_dims)), layout)


def _operands(w: Writer, node: Node) -> tuple[list[str], str]:
    """The operands of a broadcast in one layout: channels first where all that are computed are there in it."""
    tensors = [t for t in node.inputs if t is not None]
    computed = [t for t in tensors if t.data is None and t.name not in w.dequantized]
    layout = w.layout_of(*computed) if all(len(t.shape) == 4 for t in computed) else LAST
    names = []
    for tensor in tensors:
        if layout == FIRST and 0 < len(tensor.shape) < 4:
            names.append(_raised(w, node, tensor))
        else:
            names.append(w.take(tensor, layout))
    return names, layout


def _raised(w: Writer, node: Node, tensor: Tensor) -> str:
    """A constant of fewer dimensions as one of four, channels first."""
    shape = (1,) * (4 - len(tensor.shape)) + tensor.shape
    if tensor.data is not None:
        return w.constant(tensor.data.reshape(shape).transpose(to_first(4)), f"{node.out.name}/operand")
    return w.dequantize_constant(tensor.name, to_first(4), shape)


def _arithmetic(kind: str) -> Callable[[Writer, Node], None]:
    def write(w: Writer, node: Node) -> None:
        names, layout = _operands(w, node)
        chosen = "Sub" if getattr(node.attrs, "subtract", False) else kind
        made = w.emit(chosen, names, _wish(node, node.attrs.clamp))
        _finish(w, node, made, layout, node.attrs.clamp)

    return write


def _elementwise(w: Writer, node: Node) -> None:
    name, params = node.attrs.function, node.attrs.params
    names, layout = _operands(w, node)
    if name == "clip":
        dtype = node.tensor(0).dtype.numpy
        names += [w.constant(np.array(p, dtype=dtype), f"{node.out.name}/bound") for p in params]
        w.give(node, w.emit("Clip", names, node.out.name), layout)
        return
    if name == "isinf":
        low, high = (int(not math.isnan(p)) for p in params)
        made = w.emit("IsInf", names, node.out.name, detect_negative=low, detect_positive=high)
    elif name in _FUNCTIONS:
        kind, keys, fixed = _FUNCTIONS[name]
        attributes = {key: float(p) for key, p in zip(keys, params, strict=True)}
        made = w.emit(kind, names, node.out.name, **attributes, **fixed)
    else:
        raise UnsupportedError(
            f"the function {name} cannot be written to ONNX", str(node.op.source), "keep the model in its own format"
        )
    w.give(node, made, layout)


def _unary(kind: str, *keys: str) -> Callable[[Writer, Node], None]:
    def write(w: Writer, node: Node) -> None:
        layout = w.layout_of(node.tensor(0))
        attributes = {key: getattr(node.attrs, key) for key in keys}
        w.give(node, w.emit(kind, [w.take(node.tensor(0), layout)], node.out.name, **attributes), layout)

    return write


def _clip(w: Writer, node: Node) -> None:
    layout = w.layout_of(node.tensor(0))
    w.give(node, _clipped(w, node, w.take(node.tensor(0), layout), node.attrs.lo, node.attrs.hi), layout)


def _softmax(w: Writer, node: Node) -> None:
    """Of the last axis."""
    x, beta = w.take(node.tensor(0)), node.attrs.beta
    if beta != 1.0:
        factor = w.constant(np.array(beta, dtype=np.float32), f"{node.out.name}/beta")
        x = w.emit("Mul", [x, factor], f"{node.out.name}/scaled")
    w.give(node, w.emit("Softmax", [x], node.out.name, axis=-1))


def _reduce(w: Writer, node: Node) -> None:
    x, a, name = node.tensor(0), node.attrs, node.out.name
    kind, attributes = _REDUCTIONS[a.function]
    axes = list(range(a.first, a.end))
    if kind.startswith("Arg"):
        axes = [k for k in axes if x.shape[k] > 1] or axes[:1]
        if len(axes) > 1:
            raise UnsupportedError(
                "a place among several dimensions cannot be written to ONNX",
                str(node.op.source),
                "keep the model in its own format",
            )
        w.give(node, w.emit(kind, [w.take(x)], name, axis=axes[0], keepdims=1, **attributes))
    else:
        w.give(node, w.emit(kind, [w.take(x), w.integers(axes, f"{name}/axes")], name, keepdims=1))


def _cumsum(w: Writer, node: Node) -> None:
    a = node.attrs
    axis = w.constant(np.array(a.axis, dtype=np.int64), f"{node.out.name}/axis")
    made = w.emit(
        "CumSum", [w.take(node.tensor(0)), axis], node.out.name, exclusive=int(a.exclusive), reverse=int(a.reverse)
    )
    w.give(node, made)


def _matmul(w: Writer, node: Node) -> None:
    names = []
    for k, swapped in enumerate((node.attrs.transpose_a, node.attrs.transpose_b)):
        tensor = node.tensor(k)
        name, rank = w.take(tensor), len(tensor.shape)
        if swapped:
            perm = (*range(rank - 2), rank - 1, rank - 2)
            name = w.emit("Transpose", [name], f"{node.out.name}/operand{k}", perm=perm)
        names.append(name)
    w.give(node, w.emit("MatMul", names, node.out.name))


def _scale(w: Writer, tensor: Tensor) -> list[str]:
    assert tensor.quant is not None
    scale, zero_point = tensor.quant.scalar()
    values = np.array(scale, dtype=np.float32), np.array(zero_point, dtype=tensor.dtype.numpy)
    return [w.constant(v, f"{tensor.name}/{what}") for v, what in zip(values, ("scale", "zero_point"), strict=True)]


def _quantize(w: Writer, node: Node) -> None:
    x = node.tensor(0)
    layout = w.layout_of(x)
    w.give(node, w.emit("QuantizeLinear", [w.take(x, layout), *_scale(w, node.out)], node.out.name), layout)


def _dequantize(w: Writer, node: Node) -> None:
    x = node.tensor(0)
    if x.is_const:
        w.dequantized[node.out.name] = x
        return
    layout = w.layout_of(x)
    w.give(node, w.emit("DequantizeLinear", [w.take(x, layout), *_scale(w, x)], node.out.name), layout)


NODES: dict[str, Callable[[Writer, Node], None]] = {
    "add": _arithmetic("Add"),
    "avg_pool2d": _pool("AveragePool"),
    "clip": _clip,
    "concat": movement.concat,
    "constant": _unary("Identity"),
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose,
    "cumsum": _cumsum,
    "depthwise_conv2d": _depthwise,
    "dequantize": _dequantize,
    "elementwise": _elementwise,
    "fully_connected": _fully_connected,
    "grid_sample": places.grid_sample,
    "hard_swish": _unary("HardSwish"),
    "leaky_relu": _unary("LeakyRelu", "alpha"),
    "logistic": _unary("Sigmoid"),
    "matmul": _matmul,
    "max_pool2d": _pool("MaxPool"),
    "max_pool2d_places": _max_pool_places,
    "mean": _mean,
    "mul": _arithmetic("Mul"),
    "pad": movement.pad,
    "put": places.put,
    "quantize": _quantize,
    "reduce": _reduce,
    "reshape": movement.reshape,
    "resize_bilinear": movement.resize("linear"),
    "resize_nearest": movement.resize("nearest"),
    "select": movement.select,
    "softmax": _softmax,
    "take": places.take,
    "tanh": _unary("Tanh"),
    "transpose": movement.transpose,
}
