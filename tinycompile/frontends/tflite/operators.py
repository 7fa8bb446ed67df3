"""One small function per TFLite operator, in an explicit table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinycompile.errors import MalformedModelError, QuantError, ShapeError, UnsupportedError
from tinycompile.frontends.limits import checked_shape
from tinycompile.frontends.naming import UniqueNames
from tinycompile.frontends.tflite.reader import SourceModel, SourceOp, read_options
from tinycompile.ir.graph import Array, Attrs, Op, SourceLoc, Tensor, const_tensor
from tinycompile.ir.types import DType
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.avg_pool2d import AvgPool2dAttrs
from tinycompile.ops.clip import ClipAttrs, quantized_range
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.conv2d import Conv2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.fully_connected import FullyConnectedAttrs
from tinycompile.ops.leaky_relu import LeakyReluAttrs
from tinycompile.ops.max_pool2d import MaxPool2dAttrs
from tinycompile.ops.mean import MeanAttrs
from tinycompile.ops.mul import MulAttrs
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.quantize import QuantizeAttrs
from tinycompile.ops.reshape import ReshapeAttrs
from tinycompile.ops.resize import ResizeAttrs
from tinycompile.ops.softmax import SoftmaxAttrs
from tinycompile.ops.transpose import TransposeAttrs

Padding = tuple[int, int, int, int]
# ActivationFunctionType -> real bounds.
_ACTIVATIONS = {1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}


@dataclass
class Importing:
    """The graph under construction. `tensors` are by file index."""

    path: Path
    model: SourceModel
    tensors: list[Tensor | None]
    names: UniqueNames
    ops: list[Op] = field(default_factory=list)
    extra: list[Tensor] = field(default_factory=list)

    def tensors_by_name(self) -> dict[str, Tensor]:
        return {t.name: t for t in (*self.tensors, *self.extra) if t is not None}

    def where(self, op: SourceOp) -> str:
        return f"{self.path}, operator {op.index} ({op.builtin})"

    def tensor(self, op: SourceOp, position: int) -> Tensor:
        """Input `position`, which must be present."""
        if position >= len(op.inputs) or op.inputs[position] < 0:
            raise MalformedModelError(f"input {position} is missing", self.where(op), "export the model again")
        tensor = self.tensors[op.inputs[position]]
        assert tensor is not None  # _check_supported has refused types without a name
        return tensor

    def output(self, op: SourceOp) -> Tensor:
        if len(op.outputs) != 1:
            raise MalformedModelError(f"{len(op.outputs)} outputs, expected one", self.where(op), "export it again")
        tensor = self.tensors[op.outputs[0]]
        assert tensor is not None
        return tensor

    def const(self, op: SourceOp, position: int, rank: int | None = None) -> Array:
        """Data of a constant input."""
        data = self.tensor(op, position).data
        if data is None:
            raise UnsupportedError(
                f"input {position} is computed at run time", self.where(op), "make it a constant of the model"
            )
        if rank is not None and data.ndim != rank:
            raise MalformedModelError(
                f"input {position} has rank {data.ndim}, not {rank}", self.where(op), "export it again"
            )
        return data

    def options(self, op: SourceOp, name: str, *getters: str) -> tuple[Any, ...]:
        import tflite

        return read_options(op, getattr(tflite, name), self.path, *getters)

    def emit(self, op: SourceOp, kind: str, attrs: Attrs, inputs: tuple[Tensor | None, ...], out: Tensor) -> None:
        names = tuple("" if t is None else t.name for t in inputs)
        source = SourceLoc(op.builtin, f"{op.index} {out.name}")
        self.ops.append(Op(kind, self.names.take(f"{op.builtin}_{op.index}"), names, (out.name,), attrs, source))

    def intermediate(self, like: Tensor, shape: tuple[int, ...], suffix: str) -> Tensor:
        tensor = Tensor(self.names.take(f"{like.name}{suffix}"), shape, like.dtype, like.quant)
        self.extra.append(tensor)
        return tensor

    def clamp(self, op: SourceOp, activation: int, out: Tensor) -> tuple[int, int] | None:
        """The fused activation's range in quantised units, None for none."""
        if activation == 0:
            return None
        if activation not in _ACTIVATIONS:
            raise UnsupportedError(
                f"fused activation {activation}",
                self.where(op),
                "use relu, relu6 or relu_n1_to_1, or a separate operator",
            )
        if out.dtype == DType.FLOAT32:
            return None  # refused later as float32 compute
        if out.quant is None or out.quant.per_channel:
            raise QuantError(
                "an activation without one scale and zero point", self.where(op), "quantise the model again"
            )
        return quantized_range(*_ACTIVATIONS[activation], *out.quant.scalar())

    def padding(self, mode: int, x: Tensor, kernel: Any, stride: Any, dilation: Any) -> Padding:
        """SAME (0) or VALID (1) as explicit padding; LiteRT puts the odd element after."""
        result = []
        for axis in (0, 1):
            size = x.shape[1 + axis]
            extent = (kernel[axis] - 1) * dilation[axis] + 1
            total = max((-(-size // stride[axis]) - 1) * stride[axis] + extent - size, 0) if mode == 0 else 0
            result += [total // 2, total - total // 2]
        return result[0], result[1], result[2], result[3]

    def map_input(self, op: SourceOp) -> Tensor:
        x = self.tensor(op, 0)
        if len(x.shape) != 4:
            raise ShapeError(f"input of shape {list(x.shape)} is no NHWC map", self.where(op), "export the model again")
        return x

    def positive(self, op: SourceOp, *values: int) -> None:
        if any(v < 1 or v > 65535 for v in values):
            raise MalformedModelError(f"stride, dilation or kernel size {values}", self.where(op), "export it again")

    def run(self, op: SourceOp) -> None:
        TFLITE_OPERATORS[op.builtin](self, op)


Importer = Callable[[Importing, SourceOp], None]


def conv_2d(im: Importing, op: SourceOp) -> None:
    mode, sh, sw, dh, dw, activation = im.options(
        op,
        "Conv2DOptions",
        "Padding",
        "StrideH",
        "StrideW",
        "DilationHFactor",
        "DilationWFactor",
        "FusedActivationFunction",
    )
    x, w, out = im.map_input(op), im.tensor(op, 1), im.output(op)
    im.positive(op, sh, sw, dh, dw)
    if len(w.shape) != 4 or x.shape[3] % w.shape[3]:
        raise ShapeError(f"weights {list(w.shape)} for input {list(x.shape)}", im.where(op), "export the model again")
    pad = im.padding(mode, x, w.shape[1:3], (sh, sw), (dh, dw))
    attrs = Conv2dAttrs((sh, sw), (dh, dw), pad, x.shape[3] // w.shape[3], im.clamp(op, activation, out))
    im.emit(op, "conv2d", attrs, (x, w, _bias(im, op)), out)


def depthwise_conv_2d(im: Importing, op: SourceOp) -> None:
    mode, sh, sw, dh, dw, activation = im.options(
        op,
        "DepthwiseConv2DOptions",
        "Padding",
        "StrideH",
        "StrideW",
        "DilationHFactor",
        "DilationWFactor",
        "FusedActivationFunction",
    )
    x, w, out = im.map_input(op), im.tensor(op, 1), im.output(op)
    im.positive(op, sh, sw, dh, dw)
    if len(w.shape) != 4:
        raise ShapeError(f"weights of shape {list(w.shape)}", im.where(op), "export the model again")
    pad = im.padding(mode, x, w.shape[1:3], (sh, sw), (dh, dw))
    attrs = DepthwiseConv2dAttrs((sh, sw), (dh, dw), pad, im.clamp(op, activation, out))
    im.emit(op, "depthwise_conv2d", attrs, (x, w, _bias(im, op)), out)


def _bias(im: Importing, op: SourceOp) -> Tensor | None:
    return im.tensor(op, 2) if len(op.inputs) > 2 and op.inputs[2] >= 0 else None


def fully_connected(im: Importing, op: SourceOp) -> None:
    activation, keep, layout = im.options(
        op, "FullyConnectedOptions", "FusedActivationFunction", "KeepNumDims", "WeightsFormat"
    )
    x, w, out = im.tensor(op, 0), im.tensor(op, 1), im.output(op)
    if layout != 0 or len(w.shape) != 2:
        raise UnsupportedError("weights in a shuffled format", im.where(op), "convert the model with default options")
    if not x.shape or x.shape[-1] != w.shape[1]:
        if x.elems % w.shape[1]:
            raise ShapeError(
                f"weights {list(w.shape)} for input {list(x.shape)}", im.where(op), "export the model again"
            )
        flat = im.intermediate(x, (x.elems // w.shape[1], w.shape[1]), "/flat")
        im.emit(op, "reshape", ReshapeAttrs(flat.shape), (x,), flat)
        x = flat
    attrs = FullyConnectedAttrs(bool(keep), im.clamp(op, activation, out))
    im.emit(op, "fully_connected", attrs, (x, w, _bias(im, op)), out)


def _pool(im: Importing, op: SourceOp) -> tuple[Tensor, Tensor, Any, Any, Padding, tuple[int, int] | None]:
    mode, sh, sw, kh, kw, activation = im.options(
        op, "Pool2DOptions", "Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction"
    )
    x, out = im.map_input(op), im.output(op)
    im.positive(op, sh, sw, kh, kw)
    pad = im.padding(mode, x, (kh, kw), (sh, sw), (1, 1))
    return x, out, (kh, kw), (sh, sw), pad, im.clamp(op, activation, out)


def average_pool_2d(im: Importing, op: SourceOp) -> None:
    x, out, kernel, stride, pad, clamp = _pool(im, op)
    im.emit(op, "avg_pool2d", AvgPool2dAttrs(kernel, stride, pad, clamp), (x,), out)


def max_pool_2d(im: Importing, op: SourceOp) -> None:
    x, out, kernel, stride, pad, clamp = _pool(im, op)
    im.emit(op, "max_pool2d", MaxPool2dAttrs(kernel, stride, pad, clamp), (x,), out)


def _add_sub(options: str, subtract: bool) -> Importer:
    def run(im: Importing, op: SourceOp) -> None:
        (activation,) = im.options(op, options, "FusedActivationFunction")
        out = im.output(op)
        attrs = AddAttrs(subtract, im.clamp(op, activation, out))
        im.emit(op, "add", attrs, (im.tensor(op, 0), im.tensor(op, 1)), out)

    return run


def mul(im: Importing, op: SourceOp) -> None:
    (activation,) = im.options(op, "MulOptions", "FusedActivationFunction")
    out = im.output(op)
    im.emit(op, "mul", MulAttrs(im.clamp(op, activation, out)), (im.tensor(op, 0), im.tensor(op, 1)), out)


def concatenation(im: Importing, op: SourceOp) -> None:
    axis, activation = im.options(op, "ConcatenationOptions", "Axis", "FusedActivationFunction")
    out = im.output(op)
    if activation != 0:
        raise UnsupportedError("a fused activation", im.where(op), "use a separate activation operator")
    rank = len(out.shape)
    if not op.inputs or not -rank <= axis < rank:
        raise MalformedModelError(f"axis {axis} for rank {rank}", im.where(op), "export the model again")
    inputs = tuple(im.tensor(op, i) for i in range(len(op.inputs)))
    im.emit(op, "concat", ConcatAttrs(axis % rank), inputs, out)


def mean(im: Importing, op: SourceOp) -> None:
    (keep,) = im.options(op, "ReducerOptions", "KeepDims")
    x, out = im.tensor(op, 0), im.output(op)
    rank = len(x.shape)
    axes = [int(a) for a in im.const(op, 1).reshape(-1)]
    if any(not -rank <= a < rank for a in axes):
        raise MalformedModelError(f"axes {axes} for rank {rank}", im.where(op), "export the model again")
    im.emit(op, "mean", MeanAttrs(tuple(sorted({a % rank for a in axes})), bool(keep)), (x,), out)


def softmax(im: Importing, op: SourceOp) -> None:
    (beta,) = im.options(op, "SoftmaxOptions", "Beta")
    if not math.isfinite(beta) or beta <= 0:
        raise MalformedModelError(f"beta {beta}", im.where(op), "export the model again")
    im.emit(op, "softmax", SoftmaxAttrs(float(beta)), (im.tensor(op, 0),), im.output(op))


def reshape(im: Importing, op: SourceOp) -> None:
    out = im.output(op)
    im.emit(op, "reshape", ReshapeAttrs(out.shape), (im.tensor(op, 0),), out)


def _paddings(im: Importing, op: SourceOp) -> tuple[tuple[int, ...], tuple[int, ...]]:
    x, amounts = im.tensor(op, 0), im.const(op, 1)
    if amounts.shape != (len(x.shape), 2):
        raise MalformedModelError(f"paddings of shape {list(amounts.shape)}", im.where(op), "export the model again")
    before, after = (tuple(int(v) for v in amounts[:, k]) for k in (0, 1))
    checked_shape([d + b + e for d, b, e in zip(x.shape, before, after, strict=True)], im.where(op))
    return before, after


def pad(im: Importing, op: SourceOp) -> None:
    x, out = im.tensor(op, 0), im.output(op)
    before, after = _paddings(im, op)
    value: float = 0
    if op.builtin == "PADV2":
        value = im.const(op, 2).reshape(-1)[0].item()
    elif x.quant is not None:
        value = x.quant.zero_point[0]
    im.emit(op, "pad", PadAttrs(before, after, value), (x,), out)


def transpose(im: Importing, op: SourceOp) -> None:
    perm = tuple(int(p) for p in im.const(op, 1).reshape(-1))
    im.emit(op, "transpose", TransposeAttrs(perm), (im.tensor(op, 0),), im.output(op))


def _unary(kind: str, attrs: Attrs) -> Importer:
    def run(im: Importing, op: SourceOp) -> None:
        im.emit(op, kind, attrs, (im.tensor(op, 0),), im.output(op))

    return run


def leaky_relu(im: Importing, op: SourceOp) -> None:
    (alpha,) = im.options(op, "LeakyReluOptions", "Alpha")
    if not math.isfinite(alpha):
        raise MalformedModelError(f"alpha {alpha}", im.where(op), "export the model again")
    im.emit(op, "leaky_relu", LeakyReluAttrs(float(alpha)), (im.tensor(op, 0),), im.output(op))


def quantize(im: Importing, op: SourceOp) -> None:
    x, out = im.tensor(op, 0), im.output(op)
    if x.dtype == DType.FLOAT32:
        im.emit(op, "quantize", QuantizeAttrs(), (x,), out)
    else:
        im.emit(op, "requantize", Attrs(), (x,), out)


def _resize(kind: str, options: str) -> Importer:
    def run(im: Importing, op: SourceOp) -> None:
        align, half = im.options(op, options, "AlignCorners", "HalfPixelCenters")
        x, out = im.map_input(op), im.output(op)
        if len(out.shape) != 4:
            raise ShapeError(f"output of shape {list(out.shape)}", im.where(op), "export the model again")
        attrs = ResizeAttrs((out.shape[1], out.shape[2]), bool(align), bool(half))
        im.emit(op, kind, attrs, (x,), out)

    return run


def shape(im: Importing, op: SourceOp) -> None:
    """Folded: shapes are static."""
    out = im.output(op)
    value = np.array(im.tensor(op, 0).shape, dtype=out.dtype.numpy)
    im.tensors[op.outputs[0]] = const_tensor(out.name, value)


def strided_slice(im: Importing, op: SourceOp) -> None:
    """Folded when its input is constant (shape arithmetic)."""
    begin_mask, end_mask, ellipsis_mask, new_axis, shrink = im.options(
        op, "StridedSliceOptions", "BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask"
    )
    data, (begin, end, strides) = im.const(op, 0), (im.const(op, k, 1) for k in (1, 2, 3))
    if ellipsis_mask or new_axis or len(begin) > data.ndim or np.any(strides == 0):
        raise UnsupportedError("this form of strided slice", im.where(op), "use plain slices of shapes")
    index: list[Any] = []
    for d, (b, e, s) in enumerate(zip(begin.tolist(), end.tolist(), strides.tolist(), strict=True)):
        if shrink >> d & 1:
            if not -data.shape[d] <= b < data.shape[d]:
                raise MalformedModelError(f"index {b} out of range", im.where(op), "export the model again")
            index.append(b)
        else:
            index.append(slice(None if begin_mask >> d & 1 else b, None if end_mask >> d & 1 else e, s))
    out = im.output(op)
    im.tensors[op.outputs[0]] = const_tensor(out.name, np.asarray(data[tuple(index)], dtype=out.dtype.numpy))


def pack(im: Importing, op: SourceOp) -> None:
    """Folded when its inputs are constant (shape arithmetic)."""
    (axis,) = im.options(op, "PackOptions", "Axis")
    parts = [im.const(op, k) for k in range(len(op.inputs))]
    out = im.output(op)
    if any(p.shape != parts[0].shape for p in parts) or not -parts[0].ndim - 1 <= axis <= parts[0].ndim:
        raise MalformedModelError("parts of different shapes", im.where(op), "export the model again")
    im.tensors[op.outputs[0]] = const_tensor(out.name, np.stack(parts, axis).astype(out.dtype.numpy))


TFLITE_OPERATORS: dict[str, Importer] = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "FULLY_CONNECTED": fully_connected,
    "AVERAGE_POOL_2D": average_pool_2d,
    "MAX_POOL_2D": max_pool_2d,
    "ADD": _add_sub("AddOptions", False),
    "SUB": _add_sub("SubOptions", True),
    "MUL": mul,
    "CONCATENATION": concatenation,
    "MEAN": mean,
    "SOFTMAX": softmax,
    "RESHAPE": reshape,
    "SQUEEZE": reshape,
    "EXPAND_DIMS": reshape,
    "PAD": pad,
    "PADV2": pad,
    "TRANSPOSE": transpose,
    "RELU": _unary("clip", ClipAttrs(0.0, math.inf)),
    "RELU6": _unary("clip", ClipAttrs(0.0, 6.0)),
    "RELU_N1_TO_1": _unary("clip", ClipAttrs(-1.0, 1.0)),
    "RELU_0_TO_1": _unary("clip", ClipAttrs(0.0, 1.0)),
    "LEAKY_RELU": leaky_relu,
    "HARD_SWISH": _unary("hard_swish", Attrs()),
    "LOGISTIC": _unary("logistic", Attrs()),
    "TANH": _unary("tanh", Attrs()),
    "QUANTIZE": quantize,
    "DEQUANTIZE": _unary("dequantize", Attrs()),
    "RESIZE_NEAREST_NEIGHBOR": _resize("resize_nearest", "ResizeNearestNeighborOptions"),
    "RESIZE_BILINEAR": _resize("resize_bilinear", "ResizeBilinearOptions"),
    "SHAPE": shape,
    "STRIDED_SLICE": strided_slice,
    "PACK": pack,
}
