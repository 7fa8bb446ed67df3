"""Windowed layers, products of matrices and resizing: integer or float, as their tensors are."""

from __future__ import annotations

from tinycompile.errors import QuantError
from tinycompile.frontends.tflite.builder import Builder, Importer, Padding
from tinycompile.frontends.tflite.reader import SourceOp
from tinycompile.ir.graph import Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.avg_pool2d import AvgPool2dAttrs
from tinycompile.ops.conv2d import Conv2dAttrs
from tinycompile.ops.conv_transpose2d import ConvTranspose2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.fully_connected import FullyConnectedAttrs
from tinycompile.ops.matmul import MatmulAttrs
from tinycompile.ops.max_pool2d import MaxPool2dAttrs
from tinycompile.ops.reshape import ReshapeAttrs
from tinycompile.ops.resize import ResizeAttrs

_INT32 = 2  # TensorType


def conv_2d(b: Builder, op: SourceOp) -> None:
    x, w, out = b.map_input(op), _weights(b, op, b.tensor(op, 0)), b.output(op)
    stride, dilation, pad, activation = _window(b, op, "Conv2DOptions", x, w)
    if x.shape[3] % w.shape[3]:
        raise b.bad_shape(op, f"weights {list(w.shape)} for input {list(x.shape)}")
    attrs = Conv2dAttrs(stride, dilation, pad, x.shape[3] // w.shape[3], b.clamp(op, activation, out))
    b.emit(op, "conv2d", attrs, (x, w, _bias(b, op)), out)


def depthwise_conv_2d(b: Builder, op: SourceOp) -> None:
    x, w, out = b.map_input(op), _weights(b, op, b.tensor(op, 0)), b.output(op)
    if x.dtype == DType.INT16 and w.quant is not None and w.quant.bits is not None:
        what = "weights of 4 bits with int16 activations, which LiteRT reads as bytes"
        raise b.unsupported(op, what, "use int8 weights or activations")
    stride, dilation, pad, activation = _window(b, op, "DepthwiseConv2DOptions", x, w)
    attrs = DepthwiseConv2dAttrs(stride, dilation, pad, b.clamp(op, activation, out))
    b.emit(op, "depthwise_conv2d", attrs, (x, w, _bias(b, op)), out)


def transpose_conv(b: Builder, op: SourceOp) -> None:
    """Inputs: the output's shape (static, so that it adds nothing), weights OHWI, the map, and a bias or none."""
    mode, sh, sw, activation = b.options(
        op, "TransposeConvOptions", "Padding", "StrideH", "StrideW", "FusedActivationFunction"
    )
    x, out = b.tensor(op, 2), b.output(op)
    w = _weights(b, op, x)
    if len(x.shape) != 4 or len(w.shape) != 4 or len(out.shape) != 4:
        raise b.bad_shape(op, f"weights {list(w.shape)} and input {list(x.shape)} for output {list(out.shape)}")
    # The padding of the convolution that goes the other way, from the output to the input.
    top, _, left, _ = b.padding(op, mode, out, w.shape[1:3], (sh, sw), (1, 1))
    attrs = ConvTranspose2dAttrs(
        (out.shape[1], out.shape[2]), (sh, sw), (1, 1), (top, left), 1, b.clamp(op, activation, out)
    )
    b.emit(op, "conv_transpose2d", attrs, (x, w, _bias(b, op, 3)), out)


def batch_matmul(b: Builder, op: SourceOp) -> None:
    first, second = b.options(op, "BatchMatMulOptions", "AdjX", "AdjY")
    attrs = MatmulAttrs(bool(first), bool(second))
    x = b.tensor(op, 0)
    b.emit(op, "matmul", attrs, (x, b.weights(op, x, b.tensor(op, 1))), b.output(op))


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


def _weights(b: Builder, op: SourceOp, x: Tensor) -> Tensor:
    """Input 1."""
    w = b.tensor(op, 1)
    # LiteRT looks at the zero point of int8 weights in an integer fully connected layer with one scale only.
    per_channel = w.quant is not None and w.quant.per_channel
    ignored = op.builtin != "FULLY_CONNECTED" or per_channel or x.dtype == DType.FLOAT32
    if ignored and w.dtype == DType.INT8 and w.quant is not None and any(w.quant.zero_point):
        raise QuantError(
            "int8 weights with a zero point that is not 0", b.where(op), "quantise the weights symmetrically"
        )
    return b.weights(op, x, w)


def _bias(b: Builder, op: SourceOp, position: int = 2) -> Tensor | None:
    """An input of one value per output channel, or None when the layer has none."""
    if not b.has(op, position):
        return None
    bias, out = b.tensor(op, position), b.output(op)
    if bias.shape != out.shape[-1:]:
        raise b.bad_shape(op, f"bias {list(bias.shape)} for output {list(out.shape)}")
    if b.tensor(op, 0).dtype == DType.INT16 and bias.dtype != _bias_type(b, op):
        raise b.unsupported(
            op,
            f"a bias of {bias.dtype.value} with int16 activations, where LiteRT reads {_bias_type(b, op).value}",
            "convert the model again with a bias of int64, or with its type in the operator's options",
        )
    return bias


def _bias_type(b: Builder, op: SourceOp) -> DType:
    """What LiteRT takes the bias of a layer of int16 activations for, whatever its type."""
    if op.builtin == "DEPTHWISE_CONV_2D":
        return DType.INT64
    options = "Conv2DOptions" if op.builtin == "CONV_2D" else "FullyConnectedOptions"
    return DType.INT32 if b.options(op, options, "QuantizedBiasType") == (_INT32,) else DType.INT64


def fully_connected(b: Builder, op: SourceOp) -> None:
    activation, keep, layout = b.options(
        op, "FullyConnectedOptions", "FusedActivationFunction", "KeepNumDims", "WeightsFormat"
    )
    x, out = b.tensor(op, 0), b.output(op)
    w = _weights(b, op, x)
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
        if x.quant != out.quant and x.dtype == DType.INT16:
            raise b.other_scales(op)  # LiteRT looks at those of int8 only
        attrs = attrs_class((kh, kw), (sh, sw), pad, clamp=b.clamp(op, activation, out))
        b.emit(op, kind, attrs, (x,), out)

    return run


def _signed_only(b: Builder, op: SourceOp, x: Tensor) -> None:
    """LiteRT rounds averages of uint8 half up, and of int8 half away from zero: shifting would change results."""
    if x.dtype == DType.UINT8:
        raise b.unsupported(op, "uint8 (its rounding has no kernel)", "quantise the model to int8")


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


LAYERS: dict[str, Importer] = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv,
    "BATCH_MATMUL": batch_matmul,
    "FULLY_CONNECTED": fully_connected,
    "AVERAGE_POOL_2D": _pool("avg_pool2d", AvgPool2dAttrs),
    "MAX_POOL_2D": _pool("max_pool2d", MaxPool2dAttrs),
    "RESIZE_NEAREST_NEIGHBOR": _resize("resize_nearest", "ResizeNearestNeighborOptions"),
    "RESIZE_BILINEAR": _resize("resize_bilinear", "ResizeBilinearOptions"),
}
