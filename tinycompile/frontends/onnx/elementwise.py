"""Arithmetic, activations and softmax, in float and QLinear form."""

from __future__ import annotations

import math

import numpy as np

from tinycompile.frontends.onnx.builder import Builder
from tinycompile.frontends.onnx.functions import apply, operands_of
from tinycompile.frontends.onnx.quantization import dequantized, quantized
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Attrs, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.leaky_relu import LeakyReluAttrs
from tinycompile.ops.mul import MulAttrs
from tinycompile.ops.softmax import SoftmaxAttrs


def _floats(b: Builder, n: SourceNode) -> list[Tensor] | None:
    """The operands, where they are floats: those may become integer operators."""
    operands = operands_of(b, n)
    return operands if all(x.dtype == DType.FLOAT32 for x in operands) else None


def add(b: Builder, n: SourceNode) -> Tensor:
    floats = _floats(b, n)
    return apply(b, n, "add", operands_of(b, n)) if floats is None else b.emit(n, "add", floats, AddAttrs())


def sub(b: Builder, n: SourceNode) -> Tensor:
    floats = _floats(b, n)
    if floats is None:
        return apply(b, n, "sub", operands_of(b, n))
    return b.emit(n, "add", floats, AddAttrs(subtract=True))


def mul(b: Builder, n: SourceNode) -> Tensor:
    floats = _floats(b, n)
    return apply(b, n, "mul", operands_of(b, n)) if floats is None else b.emit(n, "mul", floats, MulAttrs())


def div(b: Builder, n: SourceNode) -> Tensor:
    """Division of a float by a constant as a product with its reciprocal."""
    operands = operands_of(b, n)
    if operands[1].dtype != DType.FLOAT32 or not b.is_weight(operands[1]):
        return apply(b, n, "div", operands)
    divisor = b.constant(n, 1, "a divisor")
    with np.errstate(all="ignore"):
        usable = np.all(np.isfinite(divisor)) and np.all(np.isfinite(np.float32(1) / divisor))
    if not usable:
        return apply(b, n, "div", operands)
    factor = b.add_constant(np.asarray(np.float32(1) / divisor), f"{n.inputs[1]}/reciprocal", n)
    return b.emit(n, "mul", [b.real(n, 0), factor], MulAttrs())


def qlinear_add(b: Builder, n: SourceNode) -> Tensor:
    operands = [dequantized(b, n, 0, 1, 2), dequantized(b, n, 3, 4, 5)]
    return quantized(b, n, b.emit(n, "add", operands, AddAttrs()), 6, 7)


def qlinear_mul(b: Builder, n: SourceNode) -> Tensor:
    operands = [dequantized(b, n, 0, 1, 2), dequantized(b, n, 3, 4, 5)]
    return quantized(b, n, b.emit(n, "mul", operands, MulAttrs()), 6, 7)


def relu(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    return b.emit(n, "clip", [x], ClipAttrs(0.0, math.inf)) if x.dtype == DType.FLOAT32 else apply(b, n, "relu", [x])


def _clip_at_run_time(b: Builder, n: SourceNode, x: Tensor) -> Tensor:
    """Bounds of any kind, one after the other."""
    for index, name in ((1, "max"), (2, "min")):
        if b.optional(n, index) is not None:
            x = apply(b, n, name, [x, b.tensor(n, index)])
    return x


def clip(b: Builder, n: SourceNode) -> Tensor:
    """Bounds are attributes before opset 11 and inputs since."""
    x = b.tensor(n, 0)
    bounds = [b.tensor(n, k) for k in (1, 2) if n.opset >= 11 and b.optional(n, k) is not None]
    if bounds and (x.dtype != DType.FLOAT32 or not all(b.is_weight(t) for t in bounds)):
        return _clip_at_run_time(b, n, x)

    def bound(index: int, name: str, default: float) -> float:
        if n.opset < 11:
            return n.real(name, default)
        if b.optional(n, index) is None:
            return default
        value = b.constant(n, index, f"the {name} of a clip")
        if value.size != 1:
            raise n.unsupported(f"a clip with {value.size} values of {name}")
        return float(value.reshape(-1)[0])

    lo, hi = bound(1, "min", -math.inf), bound(2, "max", math.inf)
    if lo > hi:
        return _clip_at_run_time(b, n, x)
    if math.isnan(lo) or math.isnan(hi):
        raise n.unsupported(f"a clip to [{lo}, {hi}]", "give bounds that are numbers")
    if x.dtype != DType.FLOAT32:  # without bounds
        return x
    return b.emit(n, "clip", [b.real(n, 0)], ClipAttrs(lo, hi))


def _leaky(b: Builder, n: SourceNode, x: Tensor) -> Tensor:
    alpha = n.real("alpha", 0.01)
    if not -100.0 <= alpha <= 100.0:
        raise n.unsupported(f"LeakyRelu with alpha {alpha}")
    return b.emit(n, "leaky_relu", [x], LeakyReluAttrs(alpha))


def leaky_relu(b: Builder, n: SourceNode) -> Tensor:
    return _leaky(b, n, b.real(n, 0))


def qlinear_leaky_relu(b: Builder, n: SourceNode) -> Tensor:
    return quantized(b, n, _leaky(b, n, dequantized(b, n, 0, 1, 2)), 3, 4)


def hard_swish(b: Builder, n: SourceNode) -> Tensor:
    return b.emit(n, "hard_swish", [b.real(n, 0)], Attrs())


def sigmoid(b: Builder, n: SourceNode) -> Tensor:
    return b.emit(n, "logistic", [b.real(n, 0)], Attrs())


def qlinear_sigmoid(b: Builder, n: SourceNode) -> Tensor:
    return quantized(b, n, b.emit(n, "logistic", [dequantized(b, n, 0, 1, 2)], Attrs()), 3, 4)


def tanh(b: Builder, n: SourceNode) -> Tensor:
    return b.emit(n, "tanh", [b.real(n, 0)], Attrs())


def _softmax(b: Builder, n: SourceNode, x: Tensor, opset: int) -> Tensor:
    """Over one axis since opset 13; before that over all dimensions from `axis` on, as one."""
    rank = len(x.shape)
    axis = n.integer("axis", -1 if opset >= 13 else 1)
    if not -rank <= axis < rank:
        raise n.unsupported(f"softmax over axis {axis} of {rank} dimensions")
    axis %= rank
    if axis == rank - 1:
        return b.emit(n, "softmax", [x], SoftmaxAttrs())
    if opset < 13:
        flat = b.reshape(n, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
        return b.reshape(n, b.emit(n, "softmax", [flat], SoftmaxAttrs()), x.shape)
    perm = (*range(axis), *range(axis + 1, rank), axis)
    back = (*range(axis), rank - 1, *range(axis, rank - 1))
    return b.transpose(n, b.emit(n, "softmax", [b.transpose(n, x, perm)], SoftmaxAttrs()), back)


def softmax(b: Builder, n: SourceNode) -> Tensor:
    return _softmax(b, n, b.real(n, 0), n.opset)


def qlinear_softmax(b: Builder, n: SourceNode) -> Tensor:
    return quantized(b, n, _softmax(b, n, dequantized(b, n, 0, 1, 2), n.integer("opset", 13)), 3, 4)
