"""Example nodes of int16 activations, and what LiteRT's reference kernels make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from convolution_cases import Pair, litert_padding, same_padding, weight_quant
from litert_models import run_litert, schema, single_op_model
from operator_cases import Case, activation, constant, make_node

from tinycompile.ir.graph import Array, Attrs, Node, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.conv2d import Conv2d, Conv2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2d, DepthwiseConv2dAttrs
from tinycompile.ops.fully_connected import FullyConnected, FullyConnectedAttrs
from tinycompile.ops.registry import operator

Q15 = 2.0**-15
INT64, INT32 = np.int64, np.int32


def wide(name: str, shape: tuple[int, ...], scale: float = 0.0013) -> Tensor:
    """An int16 run-time tensor."""
    return activation(name, shape, scale, dtype=DType.INT16)


def wide_constant(data: Array, scale: float) -> Tensor:
    return constant("k", data.astype(np.int16), Quant((float(np.float32(scale)),), (0,)))


def _bias(filters: int, kind: type | None, rng: np.random.Generator) -> Tensor | None:
    return None if kind is None else constant("b", rng.integers(-(10**6), 10**6, filters).astype(kind))


def convolution(
    size: Pair,
    channels: int,
    filters: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    pad: tuple[int, int, int, int] | str = "SAME",
    groups: int = 1,
    depthwise: bool = False,
    bias: type | None = INT64,
    relu: bool = False,
    out_scale: float = 0.07,
    extreme: bool = False,
    seed: int = 0,
) -> Node:
    """A convolution; `bias`: its type, None for none. `extreme`: a filter's weights are all 127, or all -127."""
    rng = np.random.default_rng(seed)
    shape = (1, *kernel, filters) if depthwise else (filters, *kernel, channels // groups)
    w = rng.integers(-127, 127, shape, endpoint=True)
    if extreme:
        w = np.broadcast_to(
            np.where(np.arange(filters) & 1, -127, 127).reshape((-1,) + (1, 1, 1) * (not depthwise)), shape
        )
    if pad == "SAME":
        pad = same_padding(size, kernel, stride, dilation)
    elif pad == "VALID":
        pad = (0, 0, 0, 0)
    assert not isinstance(pad, str)
    clamp = (0, 32767) if relu else None
    attrs: Attrs = Conv2dAttrs(stride, dilation, pad, groups, clamp)
    if depthwise:
        attrs = DepthwiseConv2dAttrs(stride, dilation, pad, clamp)
    weights = constant("w", w.astype(np.int8), weight_quant(filters, 3 if depthwise else 0, True, 0, rng))
    inputs = (wide("x", (1, *size, channels)), weights, _bias(filters, bias, rng))
    return make_node(DepthwiseConv2d() if depthwise else Conv2d(), inputs, wide("y", (), out_scale), attrs)


def layer(
    shape: tuple[int, ...],
    outputs: int,
    bias: type | None = INT64,
    per_channel: bool = True,
    relu: bool = False,
    out_scale: float = 0.05,
    keep_dims: bool = False,
    seed: int = 0,
) -> Node:
    """A fully connected layer."""
    rng = np.random.default_rng(seed)
    w = rng.integers(-127, 127, (outputs, shape[-1]), endpoint=True).astype(np.int8)
    weights = constant("w", w, weight_quant(outputs, 0, per_channel, 0, rng))
    inputs = (wide("x", shape), weights, _bias(outputs, bias, rng))
    attrs = FullyConnectedAttrs(keep_dims, (0, 32767) if relu else None)
    return make_node(FullyConnected(), inputs, wide("y", (), out_scale), attrs)


def sums(values: Array, kind: str, s_w: float, s_y: float) -> Node:
    """A layer of `kind` whose outputs have exactly the accumulators `values`: its weights are 0."""
    shape = {"conv2d": (values.size, 1, 1, 1), "depthwise_conv2d": (1, 1, 1, values.size)}.get(kind, (values.size, 1))
    w = constant("w", np.zeros(shape, dtype=np.int8), Quant((float(np.float32(s_w)),), (0,)))
    attrs: Attrs = {"conv2d": Conv2dAttrs(), "depthwise_conv2d": DepthwiseConv2dAttrs()}.get(
        kind, FullyConnectedAttrs()
    )
    x = wide("x", (1, 1) if kind == "fully_connected" else (1, 1, 1, 1), 0.25)
    return make_node(operator(kind), (x, w, constant("b", values)), wide("y", (), s_y), attrs)


_OPTIONS = {
    "conv2d": ("CONV_2D", "Conv2DOptions", 8),
    "depthwise_conv2d": ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", 2),
    "fully_connected": ("FULLY_CONNECTED", "FullyConnectedOptions", 12),
}


def litert_layer(node: Node, x: Array) -> Array:
    """A layer by LiteRT, which wants a bias of convolutions."""
    s, a = schema(), node.attrs
    builtin, options, version = _OPTIONS[node.op.kind]
    bias = node.inputs[2]
    fields: dict[str, Any] = {
        "fusedActivationFunction": s.ActivationFunctionType.RELU if a.clamp else s.ActivationFunctionType.NONE
    }
    if bias is not None and node.op.kind != "depthwise_conv2d":
        fields["quantizedBiasType"] = s.TensorType.INT32 if bias.dtype == DType.INT32 else s.TensorType.INT64
    if node.op.kind == "conv2d" and bias is None:
        bias = constant("b", np.zeros(node.out.shape[-1], dtype=np.int64))
    if node.op.kind == "fully_connected":
        fields["keepNumDims"] = a.keep_dims
    else:
        fields["padding"] = getattr(s.Padding, litert_padding(node) or "")
        fields["strideH"], fields["strideW"] = a.stride
        fields["dilationHFactor"], fields["dilationWFactor"] = a.dilation
    if node.op.kind == "depthwise_conv2d":
        fields["depthMultiplier"] = node.out.shape[3] // x.shape[3]
    model = single_op_model(builtin, (*node.inputs[:2], bias), node.out, options, version, **fields)
    return run_litert(model, [x])


def reference(node: Node, *values: Array) -> Array:
    """The operator's own result; constants need no values."""
    run_time = iter(values)
    inputs = [None if t is None or t.is_const else next(run_time) for t in node.inputs]
    return operator(node.op.kind).reference(node, inputs)


def seeds(node: Node, count: int = 6) -> list[list[Array]]:
    """Run-time inputs: extremes of the type, then random."""
    case = Case("", operator(node.op.kind), node)
    return [[v for v in case.inputs(seed) if v is not None] for seed in range(count)]


def named(nodes: dict[str, Node], **more: Any) -> list[Case]:
    return [Case(name, operator(node.op.kind), node, **more) for name, node in nodes.items()]
