"""Convolutions, fully connected layers, products, pooling and resize of float32: sums in double by brute force, LiteRT
and onnxruntime."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from convolution_cases import same_padding
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.avg_pool2d import AvgPool2d, AvgPool2dAttrs
from tinycompile.ops.base import Operator
from tinycompile.ops.conv2d import Conv2d, Conv2dAttrs
from tinycompile.ops.conv_transpose2d import ConvTranspose2d, ConvTranspose2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2d, DepthwiseConv2dAttrs
from tinycompile.ops.fully_connected import FullyConnected, FullyConnectedAttrs
from tinycompile.ops.matmul import TYPES as MATMUL_TYPES
from tinycompile.ops.matmul import Matmul, MatmulAttrs
from tinycompile.ops.max_pool2d import MaxPool2d, MaxPool2dAttrs
from tinycompile.ops.registry import operator
from tinycompile.ops.resize import ResizeAttrs
from tinycompile.ops.resize_bilinear import ResizeBilinear
from tinycompile.ops.resize_nearest import ResizeNearest

INF = float("inf")
RELU, RELU6 = (0.0, INF), (0.0, 6.0)


def floats(name: str, shape: tuple[int, ...], seed: int = 1) -> Tensor:
    values = np.random.default_rng([seed, len(shape)]).standard_normal(shape)
    return constant(name, values.astype(np.float32))


def run_time(name: str, shape: tuple[int, ...] = ()) -> Tensor:
    return activation(name, shape, dtype=DType.FLOAT32)


def one(kind: Operator, shape: tuple[int, ...], attrs: Attrs, *constants: Tensor | None) -> Node:
    return make_node(kind, (run_time("x", shape), *constants), run_time("y"), attrs)


def bias_of(channels: int) -> Tensor:
    """With a zero and a negative zero in it."""
    values = np.random.default_rng(channels).standard_normal(channels).astype(np.float32)
    values[: min(2, channels)] = (-0.0, 0.0)[: min(2, channels)]
    return constant("b", values)


def conv(
    size: tuple[int, int],
    ci: int,
    co: int,
    kernel: tuple[int, int],
    *,
    groups: int = 1,
    bias: bool = True,
    **attrs: Any,
) -> Node:
    full = Conv2dAttrs(groups=groups, **attrs)
    if "pad" not in attrs:
        full = Conv2dAttrs(groups=groups, pad=same_padding(size, kernel, full.stride, full.dilation), **attrs)
    w = floats("w", (co, *kernel, ci // groups))
    return one(Conv2d(), (1, *size, ci), full, w, bias_of(co) if bias else None)


def depthwise(size: tuple[int, int], ch: int, multiplier: int, kernel: tuple[int, int], **attrs: Any) -> Node:
    full = DepthwiseConv2dAttrs(**attrs)
    if "pad" not in attrs:
        full = DepthwiseConv2dAttrs(pad=same_padding(size, kernel, full.stride, full.dilation), **attrs)
    w = floats("w", (1, *kernel, ch * multiplier))
    return one(DepthwiseConv2d(), (1, *size, ch), full, w, bias_of(ch * multiplier))


def transposed(
    given: tuple[int, int], ci: int, co: int, kernel: tuple[int, int], groups: int = 1, **attrs: Any
) -> Node:
    w = floats("w", (co, *kernel, ci // groups))
    return one(ConvTranspose2d(), (1, *given, ci), ConvTranspose2dAttrs(groups=groups, **attrs), w, bias_of(co))


def dense(shape: tuple[int, ...], outputs: int, clamp: Any = None, keep: bool = False, bias: bool = True) -> Node:
    w = floats("w", (outputs, shape[-1]))
    return one(FullyConnected(), shape, FullyConnectedAttrs(keep, clamp), w, bias_of(outputs) if bias else None)


def whole_product(dtype: DType, a: tuple[int, ...], b: tuple[int, ...]) -> Node:
    """A product of integers, whose sums wrap."""
    tensors = (activation("a", a, dtype=dtype), activation("b", b, dtype=dtype))
    return make_node(Matmul(), tensors, Tensor("y", (), dtype), MatmulAttrs())


def product(a: tuple[int, ...], b: tuple[int, ...], attrs: MatmulAttrs | None = None, const: int | None = None) -> Node:
    tensors = [floats(n, s) if const == k else run_time(n, s) for k, (n, s) in enumerate((("a", a), ("b", b)))]
    return make_node(Matmul(), tuple(tensors), run_time("y"), attrs or MatmulAttrs())


LAYERS = {
    "pointwise": conv((5, 6), 7, 9, (1, 1)),
    "pointwise_stride2": conv((5, 6), 4, 8, (1, 1), stride=(2, 2), clamp=RELU),
    "3x3": conv((6, 7), 3, 5, (3, 3), clamp=RELU6),
    "3x3_stride2": conv((8, 7), 3, 8, (3, 3), stride=(2, 2), clamp=(-1.0, 1.0)),
    "3x3_valid": conv((9, 8), 2, 4, (3, 3), stride=(3, 3), pad=(0, 0, 0, 0), bias=False),
    "3x3_dilated": conv((9, 8), 2, 3, (3, 3), dilation=(2, 3)),
    "5x5_width1": conv((6, 1), 3, 4, (5, 5)),
    "groups": conv((4, 5), 6, 10, (3, 3), groups=2, clamp=(-INF, 0.5)),
    "asymmetric_pad": conv((5, 6), 2, 3, (3, 3), pad=(2, 0, 1, 3)),
    "pad_beyond_kernel": conv((2, 3), 2, 3, (2, 2), pad=(3, 4, 4, 3)),
    "sequence": conv((12, 1), 5, 4, (3, 1), dilation=(2, 1), pad=(4, 0, 0, 0)),
    "depthwise_3x3": depthwise((6, 7), 5, 1, (3, 3), clamp=RELU6),
    "depthwise_stride2": depthwise((7, 8), 3, 1, (3, 3), stride=(2, 2)),
    "depthwise_multiplier": depthwise((5, 4), 3, 2, (3, 2), clamp=RELU),
    "depthwise_dilated": depthwise((7, 9), 2, 1, (3, 3), dilation=(2, 2)),
    "depthwise_asymmetric": depthwise((5, 6), 2, 1, (3, 3), pad=(0, 2, 3, 0)),
    "depthwise_late": depthwise((2, 40), 2, 1, (1, 31)),
    "scale": depthwise((4, 5), 6, 1, (1, 1)),
    "transposed_2x2": transposed((3, 4), 4, 3, (2, 2), size=(6, 8), stride=(2, 2), clamp=RELU),
    "transposed_3x3": transposed((4, 3), 2, 5, (3, 3), size=(8, 6), stride=(2, 2), pad=(1, 1)),
    "transposed_stride1": transposed((4, 5), 2, 3, (3, 3), size=(6, 7)),
    "transposed_stride3": transposed((3, 3), 2, 2, (2, 2), size=(9, 8), stride=(3, 3)),
    "transposed_dilated": transposed((4, 4), 2, 3, (3, 3), size=(11, 10), stride=(2, 2), dilation=(2, 2)),
    "transposed_groups": transposed((3, 3), 4, 6, (3, 4), groups=2, size=(5, 6), stride=(2, 2), pad=(1, 2)),
    "transposed_output_padding": transposed((3, 3), 1, 2, (3, 3), size=(10, 8), stride=(3, 2)),
    "transposed_sequence": transposed((5, 1), 3, 2, (4, 1), size=(10, 1), stride=(2, 1), pad=(1, 0)),
}
DENSE = {
    "dense": dense((1, 9), 6, RELU),
    "dense_pixels": dense((3, 4, 5), 7),
    "dense_keep": dense((1, 4, 5), 3, (-1.0, 1.0), True, bias=False),
    "matmul": product((4, 5), (5, 6)),
    "matmul_vector": product((1, 7), (7, 3), const=1),
    "matmul_of_constant": product((3, 4), (4, 2), const=0),
    "matmul_batched": product((2, 3, 4), (2, 4, 5)),
    "matmul_broadcast": product((2, 1, 3, 4), (3, 4, 2)),
    "matmul_broadcast_constant": product((3, 2, 4), (4, 5), const=1),
    "matmul_transposed": product((2, 4, 3), (2, 5, 4), MatmulAttrs(True, True)),
    "matmul_second_transposed": product((3, 4), (2, 4), MatmulAttrs(False, True)),
}


def pool(kind: Operator, size: tuple[int, int], ch: int, attrs: Attrs) -> Node:
    return one(kind, (1, *size, ch), attrs)


POOLS = {
    "max": pool(MaxPool2d(), (6, 7), 3, MaxPool2dAttrs((2, 2), (2, 2))),
    "max_padded": pool(MaxPool2d(), (5, 6), 2, MaxPool2dAttrs((3, 3), (2, 2), (1, 1, 1, 1), RELU6)),
    "max_dilated": pool(MaxPool2d(), (7, 8), 2, MaxPool2dAttrs((2, 3), (1, 2), (1, 0, 0, 2), None, (3, 2))),
    "max_whole": pool(MaxPool2d(), (4, 5), 6, MaxPool2dAttrs((4, 5))),
    "average": pool(AvgPool2d(), (6, 7), 3, AvgPool2dAttrs((2, 3), (2, 2))),
    "average_padded": pool(AvgPool2d(), (5, 6), 2, AvgPool2dAttrs((3, 3), (2, 2), (1, 1, 1, 1), RELU)),
    "average_include": pool(AvgPool2d(), (5, 6), 2, AvgPool2dAttrs((3, 3), (1, 1), (1, 1, 1, 1), None, (1, 1), True)),
    "average_grown": pool(
        AvgPool2d(), (5, 6), 2, AvgPool2dAttrs((3, 3), (2, 3), (1, 2, 0, 3), None, (1, 1), True, (1, 2))
    ),
    "average_dilated": pool(
        AvgPool2d(), (7, 8), 2, AvgPool2dAttrs((2, 3), (1, 2), (1, 2, 1, 2), None, (3, 2), True, (1, 1))
    ),
    "average_whole": pool(AvgPool2d(), (4, 5), 6, AvgPool2dAttrs((4, 5), clamp=(-0.1, 0.1))),
}


def resize(kind: Operator, size: tuple[int, int], to: tuple[int, int], **attrs: Any) -> Node:
    return one(kind, (1, *size, 3), ResizeAttrs(to, **attrs))


RESIZES = {
    "nearest": resize(ResizeNearest(), (3, 4), (6, 8)),
    "nearest_half_pixel": resize(ResizeNearest(), (5, 4), (7, 3), half_pixel=True),
    "bilinear": resize(ResizeBilinear(), (3, 4), (6, 7)),
    "bilinear_half_pixel": resize(ResizeBilinear(), (5, 4), (8, 7), half_pixel=True),
    "bilinear_align_corners": resize(ResizeBilinear(), (3, 5), (7, 9), align_corners=True),
    "bilinear_smaller": resize(ResizeBilinear(), (8, 9), (3, 4), mode="half_pixel"),
    "bilinear_asymmetric": resize(ResizeBilinear(), (3, 4), (5, 7), mode="asymmetric", scales=(1.7, 1.8)),
}
NODES = {**LAYERS, **DENSE, **POOLS, **RESIZES}


def layer_by_force(node: Node, x: Array) -> tuple[Array, int]:
    """A convolution in double, tap by tap as its definition has it, before the clamp; and the number of products."""
    a: Any = node.attrs
    w, (_, out_h, out_w, filters) = node.const(1).astype(np.float64), node.out.shape
    if node.op.kind == "depthwise_conv2d":
        w = np.moveaxis(w[0], -1, 0)[..., None]
    _, kh, kw, depth = w.shape
    per_group = filters // (x.shape[3] // depth)
    out = np.zeros((out_h, out_w, filters))
    out += node.const(2) if node.inputs[2] is not None else 0
    count = 0
    upside = node.op.kind == "conv_transpose2d"
    top, left = a.pad if upside else (a.pad[0], a.pad[2])
    places = (x.shape[1], x.shape[2]) if upside else (out_h, out_w)
    for py, px in itertools.product(*(range(n) for n in places)):
        for ky, kx in itertools.product(range(kh), range(kw)):
            qy = py * a.stride[0] + ky * a.dilation[0] - top
            qx = px * a.stride[1] + kx * a.dilation[1] - left
            (oy, ox), (iy, ix) = ((qy, qx), (py, px)) if upside else ((py, px), (qy, qx))
            inside = 0 <= oy < out_h and 0 <= ox < out_w and 0 <= iy < x.shape[1] and 0 <= ix < x.shape[2]
            for f in range(filters):
                count += depth
                if inside:
                    first = f // per_group * depth
                    out[oy, ox, f] += np.dot(x[0, iy, ix, first : first + depth].astype(np.float64), w[f, ky, kx])
    return out[None], count


def product_by_force(node: Node, values: list[Array]) -> Array:
    if node.op.kind == "fully_connected":
        x = values[0].astype(np.float64).reshape(-1, node.tensor(1).shape[1])
        bias = node.const(2) if node.inputs[2] is not None else 0
        return (x @ node.const(1).T.astype(np.float64) + bias).reshape(node.out.shape)
    a, b = (v.astype(np.float64) for v in values)
    a = np.swapaxes(a, -1, -2) if node.attrs.transpose_a else a
    b = np.swapaxes(b, -1, -2) if node.attrs.transpose_b else b
    return np.asarray(np.matmul(a, b))


def macs(node: Node) -> int:
    if node.op.kind in ("fully_connected", "matmul"):
        k = node.tensor(0).shape[-2 if getattr(node.attrs, "transpose_a", False) else -1]
        return node.out.elems * k
    return layer_by_force(node, np.zeros(node.tensor(0).shape, dtype=np.float32))[1]


def cases() -> list[Case]:
    counted = {**LAYERS, **DENSE}
    result = [Case(n, operator(v.op.kind), v, macs if n in counted else None) for n, v in NODES.items()]
    integers = [t for t in MATMUL_TYPES if t != DType.FLOAT32]
    return result + [Case(f"matmul_{t.value}", Matmul(), whole_product(t, (2, 3, 4), (4, 5)), macs) for t in integers]


def given(node: Node, seed: int) -> list[Array]:
    """Values of the inputs that are made at run time or, of a product, constant."""
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal(t.shape).astype(np.float32) if t.data is None else t.data
        for t in node.inputs[: 2 if node.op.kind == "matmul" else 1]
        if t is not None
    ]


def reference(node: Node, values: list[Array]) -> Array:
    live = [None if t is None or t.is_const else values[k] for k, t in enumerate(node.inputs)]
    return operator(node.op.kind).reference(node, live)


@pytest.mark.parametrize("name", [*LAYERS, *DENSE])
def test_sums_equal_those_in_double(name: str) -> None:
    node = NODES[name]
    values = given(node, 3)
    exact = layer_by_force(node, values[0])[0] if name in LAYERS else product_by_force(node, values)
    clamp = getattr(node.attrs, "clamp", None)
    exact = exact if clamp is None else np.clip(exact, *clamp)
    np.testing.assert_allclose(reference(node, values), exact, rtol=1e-5, atol=1e-5)
    if clamp is not None:
        assert (exact == clamp[0]).any() or (exact == clamp[1]).any(), "the clamp is not exercised"


def test_a_clamp_lets_a_nan_through_and_a_maximum_takes_it() -> None:
    node = NODES["max_padded"]
    x = np.zeros(node.tensor(0).shape, dtype=np.float32)
    x[0, 2, 2, 0] = np.nan
    assert np.isnan(reference(node, [x])[0, 1, 1, 0])
    assert np.isfinite(reference(node, [x])[0, 1, 1, 1])


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_constants_that_are_no_numbers_are_refused(bad: float) -> None:
    w = floats("w", (2, 1, 1, 3))
    assert w.data is not None
    w.data[0, 0, 0, 1] = bad
    node = one(Conv2d(), (1, 2, 2, 3), Conv2dAttrs(), w, None)
    assert "finite" in (Conv2d().unsupported(node) or "")


def test_weights_at_run_time_are_refused() -> None:
    node = make_node(
        Conv2d(), (run_time("x", (1, 4, 4, 2)), run_time("w", (3, 1, 1, 2)), None), run_time("y"), Conv2dAttrs()
    )
    assert "run time" in (Conv2d().unsupported(node) or "")


def test_int8_is_not_mixed_into_float() -> None:
    w = constant("w", np.ones((2, 1, 1, 3), dtype=np.int8))
    node = one(Conv2d(), (1, 2, 2, 3), Conv2dAttrs(), w, None)
    assert "together with int8" in (Conv2d().unsupported(node) or "")


def test_int8_has_no_transposed_convolution_by_offset_weights_and_no_dilated_average() -> None:
    for zero_point, refused in ((0, False), (3, True)):
        w = constant("w", np.ones((1, 1, 1, 1), dtype=np.int8), Quant((0.5,), (zero_point,)))
        inputs = (activation("x", (1, 2, 2, 1)), w, None)
        node = make_node(ConvTranspose2d(), inputs, activation("y", ()), ConvTranspose2dAttrs((2, 2)))
        assert ("zero point" in (ConvTranspose2d().unsupported(node) or "")) is refused
    dilated = AvgPool2dAttrs((2, 2), dilation=(2, 2))
    node = make_node(AvgPool2d(), (activation("x", (1, 4, 4, 1)),), activation("y", ()), dilated)
    assert "dilation" in (AvgPool2d().unsupported(node) or "")


@pytest.mark.parametrize(("a", "b"), [((2, 3), (4, 5)), ((2, 3, 4), (3, 4, 5)), ((3,), (3, 2))])
def test_matrices_that_do_not_fit_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="product"):
        product(a, b)


def test_transposed_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="transposed"):
        transposed((2, 2), 3, 2, (2, 2), size=(3, 3), stride=(0, 1))
