"""Weights and bias of an integer convolution or fully connected layer, from those of the float one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import QuantError
from tinycompile.ir.graph import Op, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.passes.fold_batch_norm import CHANNEL_AXIS
from tinycompile.passes.rewriter import Rewriter

# Scales this close are equal: exporters compute the bias scale s_x * s_w in float32.
_SAME_SCALE = 1e-5
_CHECK_BIAS = "give the layer one bias value per output channel"


def layer_inputs(rewriter: Rewriter, op: Op, x: str) -> tuple[str, str] | None:
    """(int8 weights, bias or "") for the layer `op` on the integer tensor `x`; None when they are not constant or not
    quantised. Raises QuantError when the parameters do not fit."""
    weights = _weights(rewriter, op)
    if weights is None:
        return None
    bias = op.inputs[2] if len(op.inputs) > 2 else ""
    if not bias:
        return weights, ""
    values = _bias(rewriter, op, x, weights, bias)
    if values is None:
        return None
    dtype = _bias_type(rewriter.tensor(x), rewriter.tensor(weights), op, values)
    # The scale is s_x * s_w by definition; a copy of it could only disagree.
    return weights, rewriter.constant(values.astype(dtype.numpy), None, f"{bias}/{dtype.value}")


def _bias_type(x: Tensor, w: Tensor, op: Op, bias: NDArray[np.float64]) -> DType:
    """int32; int64 where sums of int16 activations might not fit int32."""
    if x.dtype == DType.INT8:
        return DType.INT32
    assert w.data is not None
    by_channel = np.moveaxis(w.data.astype(np.int64), CHANNEL_AXIS[op.kind], 0).reshape(bias.size, -1)
    largest = np.abs(by_channel).sum(axis=1) * (1 << 15) + np.abs(bias)
    return DType.INT32 if largest.max() < 2**31 else DType.INT64


def _weights(rewriter: Rewriter, op: Op) -> str | None:
    tensor = rewriter.tensor(op.inputs[1])
    axis = CHANNEL_AXIS[op.kind]
    if tensor.data is not None and op.kind == "depthwise_conv2d" and tensor.shape[:3] == (1, 1, 1):
        # One weight per channel (a batch norm by itself) is exact as its sign at the scale of its magnitude.
        if not np.all(np.isfinite(tensor.data)):
            raise QuantError("weights that are not finite", str(op.source), "check the model's weights")
        scale = tuple(float(abs(v)) or 1.0 for v in tensor.data.reshape(-1))
        quant = Quant(scale, (0,) * len(scale), axis)
        return rewriter.constant(np.sign(tensor.data).astype(np.int8), quant, f"{tensor.name}/int8")
    source = rewriter.dequantized_constant(op.inputs[1])
    if source is None or source.dtype != DType.INT8 or source.quant is None:
        return None
    if source.quant.axis not in (None, axis):
        raise QuantError(
            f"weights '{source.name}' are quantised along dimension {source.quant.axis}",
            str(op.source),
            "quantise weights per tensor or per output channel",
        )
    return source.name


def _bias(rewriter: Rewriter, op: Op, x: str, weights: str, bias: str) -> NDArray[np.float64] | None:
    """The bias in units of s_x * s_w: the stored integers where they have that scale, else rounded."""
    quant_x, w = rewriter.tensor(x).quant, rewriter.tensor(weights)
    assert quant_x is not None
    assert w.quant is not None
    channels = w.shape[CHANNEL_AXIS[op.kind]]
    accumulator = quant_x.scalar()[0] * np.array(w.quant.channels(channels)[0], dtype=np.float64)
    tensor = rewriter.tensor(bias)
    if tensor.shape != (channels,):
        raise QuantError(f"a bias of shape {list(tensor.shape)} for {channels} channels", str(op.source), _CHECK_BIAS)
    source = rewriter.dequantized_constant(bias)
    if tensor.data is not None:
        integers = np.rint(tensor.data.astype(np.float64).reshape(-1) / accumulator)
    elif source is not None and source.data is not None and source.quant is not None:
        stored = source.data.astype(np.float64).reshape(-1)
        scales, zero_points = (np.array(v, dtype=np.float64) for v in source.quant.channels(stored.size))
        integers = _at_scale(stored - zero_points, scales, accumulator)
    else:
        return None
    if not np.all(np.abs(integers) < 2**31):
        raise QuantError(
            "the bias does not fit into 32 bits at the scale of input times weights",
            str(op.source),
            "quantise the layer again: its weight or input scale is too small for its bias",
        )
    return np.asarray(integers)


def _at_scale(
    values: NDArray[np.float64], scales: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    ratio = scales / wanted
    return np.where(np.abs(ratio - 1.0) < _SAME_SCALE, values, np.rint(values * ratio))
