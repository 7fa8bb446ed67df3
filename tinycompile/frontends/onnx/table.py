"""The operators of ONNX and ONNX Runtime that import, each with the function that imports it."""

from __future__ import annotations

from collections.abc import Callable

from tinycompile.frontends.onnx import (
    elementwise,
    functions,
    indexing,
    layers,
    movement,
    pooling,
    products,
    quantization,
    recurrent,
    reductions,
    resizing,
    selection,
    signals,
    volumes,
)
from tinycompile.frontends.onnx.builder import Builder, Value
from tinycompile.frontends.onnx.source import SourceNode

Importer = Callable[[Builder, SourceNode], Value | tuple[Value, ...]]

_ONNX: dict[str, Importer] = {
    "Add": elementwise.add,
    "AveragePool": pooling.average_pool,
    "BatchNormalization": layers.batch_normalization,
    "BitCast": movement.bit_cast,
    "Cast": movement.cast,
    "CastLike": movement.cast_like,
    "Clip": elementwise.clip,
    "Concat": movement.concat,
    "Constant": movement.constant,
    "Conv": layers.conv,
    "ConvInteger": layers.conv_integer,
    "ConvTranspose": layers.conv_transpose,
    "DequantizeLinear": quantization.dequantize_linear,
    "Div": elementwise.div,
    "Dropout": movement.dropout,
    "EyeLike": movement.eye_like,
    "Flatten": movement.flatten,
    "Gemm": products.gemm,
    "GlobalAveragePool": pooling.global_average_pool,
    "GlobalMaxPool": pooling.global_max_pool,
    "HardSwish": elementwise.hard_swish,
    "Identity": movement.identity,
    "LeakyRelu": elementwise.leaky_relu,
    "MatMul": products.matmul,
    "MatMulInteger": products.matmul_integer,
    "MaxPool": pooling.max_pool,
    "Mul": elementwise.mul,
    "QLinearConv": layers.qlinear_conv,
    "QLinearMatMul": products.qlinear_matmul,
    "QuantizeLinear": quantization.quantize_linear,
    "Relu": elementwise.relu,
    "Reshape": movement.reshape,
    "Resize": resizing.resize,
    "Shape": movement.shape,
    "Sigmoid": elementwise.sigmoid,
    "Size": movement.size,
    "Softmax": elementwise.softmax,
    "Squeeze": movement.squeeze,
    "Sub": elementwise.sub,
    "Tanh": elementwise.tanh,
    "Transpose": movement.transpose,
    "Unsqueeze": movement.unsqueeze,
    "Upsample": resizing.resize,
}

_MICROSOFT: dict[str, Importer] = {
    "DequantizeLinear": quantization.dequantize_linear,
    "QGemm": products.qgemm,
    "QLinearAdd": elementwise.qlinear_add,
    "QLinearAveragePool": pooling.qlinear_average_pool,
    "QLinearConcat": movement.qlinear_concat,
    "QLinearGlobalAveragePool": pooling.qlinear_global_average_pool,
    "QLinearLeakyRelu": elementwise.qlinear_leaky_relu,
    "QLinearMul": elementwise.qlinear_mul,
    "QLinearReduceMean": pooling.qlinear_reduce_mean,
    "QLinearSigmoid": elementwise.qlinear_sigmoid,
    "QLinearSoftmax": elementwise.qlinear_softmax,
    "QuantizeLinear": quantization.quantize_linear,
}

_ALL = (
    functions.FUNCTIONS
    | selection.SELECTIONS
    | reductions.REDUCTIONS
    | indexing.INDEXING
    | recurrent.RECURRENT
    | signals.SIGNALS
    | volumes.VOLUMES
    | _ONNX
)
IMPORTERS: dict[tuple[str, str], Importer] = {
    **{("", kind): importer for kind, importer in _ALL.items()},
    **{("com.microsoft", kind): importer for kind, importer in _MICROSOFT.items()},
}

# As in the file: contributed operators with their domain.
ONNX_OPERATORS = tuple(f"{domain}.{kind}" if domain else kind for domain, kind in IMPORTERS)
