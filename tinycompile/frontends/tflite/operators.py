"""One small function per TFLite operator, in an explicit table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from tinycompile.errors import QuantError
from tinycompile.frontends.tflite.builder import Builder, Padding
from tinycompile.frontends.tflite.reader import SourceOp
from tinycompile.ir.graph import Attrs, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.avg_pool2d import AvgPool2dAttrs
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.conv2d import Conv2dAttrs
from tinycompile.ops.conv_transpose2d import ConvTranspose2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.extensions import load_extensions
from tinycompile.ops.fully_connected import FullyConnectedAttrs
from tinycompile.ops.leaky_relu import LeakyReluAttrs
from tinycompile.ops.matmul import MatmulAttrs
from tinycompile.ops.max_pool2d import MaxPool2dAttrs
from tinycompile.ops.mean import MeanAttrs
from tinycompile.ops.mul import MulAttrs
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.quantize import QuantizeAttrs
from tinycompile.ops.reshape import ReshapeAttrs
from tinycompile.ops.resize import ResizeAttrs
from tinycompile.ops.softmax import SoftmaxAttrs
from tinycompile.ops.transpose import TransposeAttrs

Importer = Callable[[Builder, SourceOp], None]


def conv_2d(b: Builder, op: SourceOp) -> None:
    x, w, out = b.map_input(op), _weights(b, op), b.output(op)
    stride, dilation, pad, activation = _window(b, op, "Conv2DOptions", x, w)
    if x.shape[3] % w.shape[3]:
        raise b.bad_shape(op, f"weights {list(w.shape)} for input {list(x.shape)}")
    attrs = Conv2dAttrs(stride, dilation, pad, x.shape[3] // w.shape[3], b.clamp(op, activation, out))
    b.emit(op, "conv2d", attrs, (x, w, _bias(b, op)), out)


def depthwise_conv_2d(b: Builder, op: SourceOp) -> None:
    x, w, out = b.map_input(op), _weights(b, op), b.output(op)
    stride, dilation, pad, activation = _window(b, op, "DepthwiseConv2DOptions", x, w)
    attrs = DepthwiseConv2dAttrs(stride, dilation, pad, b.clamp(op, activation, out))
    b.emit(op, "depthwise_conv2d", attrs, (x, w, _bias(b, op)), out)


def transpose_conv(b: Builder, op: SourceOp) -> None:
    """Inputs: the output's shape (static, so that it adds nothing), weights OHWI, the map, and a bias or none."""
    mode, sh, sw, activation = b.options(
        op, "TransposeConvOptions", "Padding", "StrideH", "StrideW", "FusedActivationFunction"
    )
    w, x, out = b.tensor(op, 1), b.tensor(op, 2), b.output(op)
    if len(x.shape) != 4 or len(w.shape) != 4 or len(out.shape) != 4:
        raise b.bad_shape(op, f"weights {list(w.shape)} and input {list(x.shape)} for output {list(out.shape)}")
    # The padding of the convolution that goes the other way, from the output to the input.
    top, _, left, _ = b.padding(op, mode, out, w.shape[1:3], (sh, sw), (1, 1))
    attrs = ConvTranspose2dAttrs(
        (out.shape[1], out.shape[2]), (sh, sw), (1, 1), (top, left), 1, b.clamp(op, activation, out)
    )
    b.emit(op, "conv_transpose2d", attrs, (x, w, b.tensor(op, 3) if b.has(op, 3) else None), out)


def batch_matmul(b: Builder, op: SourceOp) -> None:
    first, second = b.options(op, "BatchMatMulOptions", "AdjX", "AdjY")
    attrs = MatmulAttrs(bool(first), bool(second))
    b.emit(op, "matmul", attrs, (b.tensor(op, 0), b.tensor(op, 1)), b.output(op))


def _window(
    b: Builder, op: SourceOp, options: str, x: Tensor, w: Tensor
) -> tuple[tuple[int, int], tuple[int, int], Padding, int]:
    """Stride, dilation, padding and fused activation of a convolution."""
    if len(w.shape) != 4:
        raise b.bad_shape(op, f"weights of shape {list(w.shape)}")
    mode, sh, sw, dh, dw, activation = b.options(
        op,
        options,
        "Padding",
        "StrideH",
        "StrideW",
        "DilationHFactor",
        "DilationWFactor",
        "FusedActivationFunction",
    )
    return (sh, sw), (dh, dw), b.padding(op, mode, x, w.shape[1:3], (sh, sw), (dh, dw)), activation


def _weights(b: Builder, op: SourceOp) -> Tensor:
    """Input 1. Integer weights of a float layer (dynamic range quantisation) compute in a mixture of both."""
    x, w = b.tensor(op, 0), b.tensor(op, 1)
    if x.dtype == DType.FLOAT32 and w.dtype != DType.FLOAT32:
        raise b.unsupported(
            op,
            f"float32 input with {w.dtype.value} weights (dynamic range quantisation)",
            "quantise the activations too: full-integer int8 with a representative dataset",
        )
    # LiteRT looks at the zero point of int8 weights in a fully connected layer with one scale only.
    ignored = op.builtin != "FULLY_CONNECTED" or (w.quant is not None and w.quant.per_channel)
    if ignored and w.dtype == DType.INT8 and w.quant is not None and any(w.quant.zero_point):
        raise QuantError(
            "int8 weights with a zero point that is not 0", b.where(op), "quantise the weights symmetrically"
        )
    return w


def _bias(b: Builder, op: SourceOp) -> Tensor | None:
    """Input 2, one value per output channel, or None when the layer has none."""
    if not b.has(op, 2):
        return None
    bias, out = b.tensor(op, 2), b.output(op)
    if bias.shape != out.shape[-1:]:
        raise b.bad_shape(op, f"bias {list(bias.shape)} for output {list(out.shape)}")
    return bias


def fully_connected(b: Builder, op: SourceOp) -> None:
    activation, keep, layout = b.options(
        op, "FullyConnectedOptions", "FusedActivationFunction", "KeepNumDims", "WeightsFormat"
    )
    x, w, out = b.tensor(op, 0), _weights(b, op), b.output(op)
    if layout != 0:
        raise b.unsupported(op, "weights in a shuffled format", "convert the model with default options")
    if len(w.shape) != 2 or x.elems % w.shape[1]:
        raise b.bad_shape(op, f"weights {list(w.shape)} for input {list(x.shape)}")
    if not x.shape or x.shape[-1] != w.shape[1]:
        flat = b.intermediate(x, (x.elems // w.shape[1], w.shape[1]), "/flat")
        b.emit(op, "reshape", ReshapeAttrs(flat.shape), (x,), flat)
        x = flat
    attrs = FullyConnectedAttrs(bool(keep), b.clamp(op, activation, out))
    b.emit(op, "fully_connected", attrs, (x, w, _bias(b, op)), out)


def _pool(kind: str, attrs_class: type[AvgPool2dAttrs] | type[MaxPool2dAttrs]) -> Importer:
    def run(b: Builder, op: SourceOp) -> None:
        mode, sh, sw, kh, kw, activation = b.options(
            op,
            "Pool2DOptions",
            "Padding",
            "StrideH",
            "StrideW",
            "FilterHeight",
            "FilterWidth",
            "FusedActivationFunction",
        )
        x, out = b.map_input(op), b.output(op)
        if kind == "avg_pool2d":
            _signed_only(b, op, x)
        pad = b.padding(op, mode, x, (kh, kw), (sh, sw), (1, 1))
        attrs = attrs_class((kh, kw), (sh, sw), pad, clamp=b.clamp(op, activation, out))
        b.emit(op, kind, attrs, (x,), out)

    return run


def _signed_only(b: Builder, op: SourceOp, x: Tensor) -> None:
    """LiteRT rounds averages of uint8 half up, and of int8 half away from zero: shifting would change results."""
    if x.dtype == DType.UINT8:
        raise b.unsupported(op, "uint8 (its rounding has no kernel)", "quantise the model to int8")


def _add_sub(options: str, subtract: bool) -> Importer:
    def run(b: Builder, op: SourceOp) -> None:
        (activation,) = b.options(op, options, "FusedActivationFunction")
        out = b.output(op)
        attrs = AddAttrs(subtract, b.clamp(op, activation, out))
        b.emit(op, "add", attrs, (b.tensor(op, 0), b.tensor(op, 1)), out)

    return run


def mul(b: Builder, op: SourceOp) -> None:
    (activation,) = b.options(op, "MulOptions", "FusedActivationFunction")
    out = b.output(op)
    b.emit(op, "mul", MulAttrs(b.clamp(op, activation, out)), (b.tensor(op, 0), b.tensor(op, 1)), out)


def concatenation(b: Builder, op: SourceOp) -> None:
    axis, activation = b.options(op, "ConcatenationOptions", "Axis", "FusedActivationFunction")
    out = b.output(op)
    if activation != 0:
        raise b.unsupported(op, "a fused activation", "use a separate activation operator")
    rank = len(out.shape)
    if not op.inputs or not -rank <= axis < rank:
        raise b.malformed(op, f"axis {axis} of {len(op.inputs)} inputs of rank {rank}")
    inputs = tuple(b.tensor(op, i) for i in range(len(op.inputs)))
    if any(x.quant != out.quant for x in inputs):
        raise b.unsupported(
            op, "inputs and output of different scales", "quantise the model again: LiteRT refuses it too"
        )
    b.emit(op, "concat", ConcatAttrs(axis % rank), inputs, out)


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


def reshape(b: Builder, op: SourceOp) -> None:
    """The output's shape is in the file and static, so a shape input adds nothing."""
    b.move(op, "reshape", ReshapeAttrs(b.output(op).shape))


def pad(b: Builder, op: SourceOp) -> None:
    x, amounts = b.tensor(op, 0), b.const(op, 1)
    if amounts.shape != (len(x.shape), 2) or amounts.dtype.kind != "i":
        raise b.malformed(op, f"paddings of shape {list(amounts.shape)}")
    before, after = (tuple(int(v) for v in amounts[:, k]) for k in (0, 1))
    value: float = x.quant.zero_point[0] if x.quant is not None else 0
    if op.builtin == "PADV2":
        fill = b.tensor(op, 2)
        if fill.elems != 1 or fill.dtype != x.dtype or fill.quant != x.quant:
            raise b.malformed(op, "the padding value has another type or scale than the input")
        value = b.const(op, 2).reshape(-1)[0].item()
    b.move(op, "pad", PadAttrs(before, after, value))


def transpose(b: Builder, op: SourceOp) -> None:
    b.move(op, "transpose", TransposeAttrs(tuple(b.integers(op, 1))))


def _unary(kind: str, attrs: Attrs) -> Importer:
    def run(b: Builder, op: SourceOp) -> None:
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
    x = b.tensor(op, 0)
    if x.is_const:
        raise b.unsupported(
            op,
            f"constant {x.dtype.value} weights that are dequantised to float32",
            "quantise the activations too: full-integer int8 with a representative dataset",
        )
    b.emit(op, "dequantize", Attrs(), (x,), b.output(op))


def _resize(kind: str, options: str) -> Importer:
    def run(b: Builder, op: SourceOp) -> None:
        align, half = b.options(op, options, "AlignCorners", "HalfPixelCenters")
        x, out = b.map_input(op), b.output(op)
        if len(out.shape) != 4:
            raise b.bad_shape(op, f"output of shape {list(out.shape)}")
        if kind == "resize_bilinear":
            _signed_only(b, op, x)
        if b.integers(op, 1) != list(out.shape[1:3]):
            raise b.bad_shape(op, f"size {b.integers(op, 1)} for an output of shape {list(out.shape)}")
        b.emit(op, kind, ResizeAttrs((out.shape[1], out.shape[2]), bool(align), bool(half)), (x,), out)

    return run


def shape(b: Builder, op: SourceOp) -> None:
    """Folded: shapes are static."""
    b.fold(op, np.array(b.tensor(op, 0).shape, dtype=np.int64))


def strided_slice(b: Builder, op: SourceOp) -> None:
    """Folded when its input is constant (shape arithmetic)."""
    begin_mask, end_mask, ellipsis_mask, new_axis, shrink = b.options(
        op, "StridedSliceOptions", "BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask"
    )
    data = b.small_const(op, 0)
    begin, end, strides = (b.integers(op, k) for k in (1, 2, 3))
    if ellipsis_mask or new_axis or len(begin) > data.ndim or 0 in strides:
        raise b.unsupported(op, "this form of strided slice", "use plain slices of shapes")
    if not len(begin) == len(end) == len(strides):
        raise b.malformed(op, "begin, end and strides of different lengths")
    index: list[Any] = []
    for d, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        if shrink >> d & 1:
            if not -data.shape[d] <= first < data.shape[d]:
                raise b.malformed(op, f"index {first} out of range")
            index.append(first)
        else:
            index.append(slice(None if begin_mask >> d & 1 else first, None if end_mask >> d & 1 else last, step))
    b.fold(op, np.asarray(data[tuple(index)]))


def pack(b: Builder, op: SourceOp) -> None:
    """Folded when its inputs are constant (shape arithmetic)."""
    (axis,) = b.options(op, "PackOptions", "Axis")
    parts = [b.small_const(op, k) for k in range(len(op.inputs))]
    if not parts or any(p.shape != parts[0].shape for p in parts):
        raise b.malformed(op, "parts of different shapes")
    if not -parts[0].ndim - 1 <= axis <= parts[0].ndim or sum(p.size for p in parts) != b.output(op).elems:
        raise b.malformed(op, f"axis {axis}, {len(parts)} parts of shape {list(parts[0].shape)}")
    b.fold(op, np.stack(parts, axis))


TFLITE_OPERATORS: dict[str, Importer] = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv,
    "BATCH_MATMUL": batch_matmul,
    "FULLY_CONNECTED": fully_connected,
    "AVERAGE_POOL_2D": _pool("avg_pool2d", AvgPool2dAttrs),
    "MAX_POOL_2D": _pool("max_pool2d", MaxPool2dAttrs),
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
    "DEQUANTIZE": dequantize,
    "RESIZE_NEAREST_NEIGHBOR": _resize("resize_nearest", "ResizeNearestNeighborOptions"),
    "RESIZE_BILINEAR": _resize("resize_bilinear", "ResizeBilinearOptions"),
    "SHAPE": shape,
    "STRIDED_SLICE": strided_slice,
    "PACK": pack,
}


@cache
def importers() -> Mapping[str, Importer]:
    """By operator name, those of other installed packages among them, as ``CUSTOM <code>``."""
    return {**TFLITE_OPERATORS, **{f"CUSTOM {code}": run for code, run in load_extensions().tflite.items()}}
