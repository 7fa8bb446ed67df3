"""Sums, products, activations, means and softmaxes, integer or float; quantisation."""

from __future__ import annotations

import math

import numpy as np

from tinycompile.frontends.tflite.builder import Builder, Importer
from tinycompile.frontends.tflite.reader import SourceOp
from tinycompile.ir.graph import Attrs
from tinycompile.ir.types import DType
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.dequantize import real_values
from tinycompile.ops.leaky_relu import LeakyReluAttrs
from tinycompile.ops.mean import MeanAttrs
from tinycompile.ops.mul import MulAttrs
from tinycompile.ops.quantize import QuantizeAttrs
from tinycompile.ops.softmax import SoftmaxAttrs


def _add_sub(options: str, subtract: bool) -> Importer:
    def run(b: Builder, op: SourceOp) -> None:
        activation, by_shifts = b.options(op, options, "FusedActivationFunction", "PotScaleInt16")
        out = b.output(op)
        tensors = (b.tensor(op, 0), b.tensor(op, 1), out)
        if by_shifts and out.dtype == DType.INT16 and len({t.quant for t in tensors}) > 1:
            if all(t.quant is not None and math.frexp(t.quant.scale[0])[0] == 0.5 for t in tensors):
                raise b.unsupported(
                    op,
                    "int16 with scales that are powers of two, which LiteRT adds by shifts (pot_scale_int16)",
                    "convert the model with a newer converter, which does not set this option",
                )
        attrs = AddAttrs(subtract, b.clamp(op, activation, out))
        b.emit(op, "add", attrs, (b.tensor(op, 0), b.tensor(op, 1)), out)

    return run


def mul(b: Builder, op: SourceOp) -> None:
    (activation,) = b.options(op, "MulOptions", "FusedActivationFunction")
    out = b.output(op)
    b.emit(op, "mul", MulAttrs(b.clamp(op, activation, out)), (b.tensor(op, 0), b.tensor(op, 1)), out)


def mean(b: Builder, op: SourceOp) -> None:
    (keep,) = b.options(op, "ReducerOptions", "KeepDims")
    x, out, axes = b.tensor(op, 0), b.output(op), b.integers(op, 1)
    rank = len(x.shape)
    if any(not -rank <= a < rank for a in axes):
        raise b.malformed(op, f"axes {axes} for rank {rank}")
    b.emit(op, "mean", MeanAttrs(tuple(sorted({a % rank for a in axes})), bool(keep)), (x,), out)


def softmax(b: Builder, op: SourceOp) -> None:
    (beta,) = b.options(op, "SoftmaxOptions", "Beta")
    if not math.isfinite(beta) or beta <= 0:
        raise b.malformed(op, f"beta {beta}")
    if not b.tensor(op, 0).shape:
        raise b.bad_shape(op, "a softmax over no dimension")
    b.emit(op, "softmax", SoftmaxAttrs(float(beta)), (b.tensor(op, 0),), b.output(op))


def _unary(kind: str, attrs: Attrs, int16: bool = True) -> Importer:
    """`int16`: whether LiteRT has a kernel for it."""

    def run(b: Builder, op: SourceOp) -> None:
        if b.tensor(op, 0).dtype == DType.INT16 and not int16:
            raise b.unsupported(op, "int16, which LiteRT has no kernel for", "use RELU or RELU6")
        b.emit(op, kind, attrs, (b.tensor(op, 0),), b.output(op))

    return run


def leaky_relu(b: Builder, op: SourceOp) -> None:
    (alpha,) = b.options(op, "LeakyReluOptions", "Alpha")
    if not abs(alpha) <= 1000:
        raise b.malformed(op, f"alpha {alpha}")
    b.emit(op, "leaky_relu", LeakyReluAttrs(float(alpha)), (b.tensor(op, 0),), b.output(op))


def quantize(b: Builder, op: SourceOp) -> None:
    x, out = b.tensor(op, 0), b.output(op)
    if x.dtype == DType.FLOAT32:
        b.emit(op, "quantize", QuantizeAttrs(), (x,), out)
    else:
        b.emit(op, "requantize", Attrs(), (x,), out)


def dequantize(b: Builder, op: SourceOp) -> None:
    """Constants become the floats that LiteRT computes with: whatever reads them computes in float32."""
    half = b.half(op, 0)
    if half is not None:
        b.give(op, b.constant(op, half.astype(np.float32)))
        return
    x = b.tensor(op, 0)
    if x.is_const and x.quant is not None:
        b.give(op, b.constant(op, real_values(x)))
        return
    b.emit(op, "dequantize", Attrs(), (x,), b.output(op))


ARITHMETIC: dict[str, Importer] = {
    "ADD": _add_sub("AddOptions", False),
    "SUB": _add_sub("SubOptions", True),
    "MUL": mul,
    "MEAN": mean,
    "SOFTMAX": softmax,
    "RELU": _unary("clip", ClipAttrs(0.0, math.inf)),
    "RELU6": _unary("clip", ClipAttrs(0.0, 6.0)),
    "RELU_N1_TO_1": _unary("clip", ClipAttrs(-1.0, 1.0), int16=False),
    "RELU_0_TO_1": _unary("clip", ClipAttrs(0.0, 1.0), int16=False),
    "LEAKY_RELU": leaky_relu,
    "HARD_SWISH": _unary("hard_swish", Attrs()),
    "LOGISTIC": _unary("logistic", Attrs()),
    "TANH": _unary("tanh", Attrs()),
    "QUANTIZE": quantize,
    "DEQUANTIZE": dequantize,
}
