"""Elementwise operators, pooling, means, softmax and movement of int16 values against LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from int16_cases import Q15, named, reference, seeds, wide, wide_constant
from litert_models import run_litert, schema, single_op_model
from operator_cases import Case, activation, constant, make_node

from tinycompile.ir.graph import Array, Attrs, Node, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.avg_pool2d import AvgPool2dAttrs
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.leaky_relu import LeakyReluAttrs
from tinycompile.ops.max_pool2d import MaxPool2dAttrs
from tinycompile.ops.mean import MeanAttrs
from tinycompile.ops.mul import MulAttrs
from tinycompile.ops.quantize import QuantizeAttrs
from tinycompile.ops.registry import operator
from tinycompile.ops.resize import ResizeAttrs
from tinycompile.ops.softmax import SoftmaxAttrs

MAP = (1, 5, 4, 3)
RNG = np.random.default_rng(0)
EVERY = np.arange(-32768, 32768).astype(np.int16).reshape(1, 256, 256, 1)
ALL = EVERY.shape


def make(kind: str, inputs: tuple[Tensor, ...], out: Tensor, attrs: Attrs | None = None) -> Node:
    return make_node(operator(kind), inputs, out, attrs or Attrs())


def values(shape: tuple[int, ...]) -> Array:
    return RNG.integers(-32768, 32768, shape)


BINARY = {
    f"{kind}_{name}": make(
        "mul" if kind == "mul" else "add", (a, b), wide("y", (), 9.3 if kind == "mul" else 0.021), attrs
    )
    for kind, attrs in (("add", AddAttrs()), ("sub", AddAttrs(True)), ("mul", MulAttrs()))
    for name, a, b in (
        ("same", wide("a", MAP, 0.013), wide("b", MAP, 0.02)),
        ("channels", wide("a", MAP, 0.013), wide_constant(values((3,)), 0.02)),
        ("const_first", wide_constant(values((1,)), 0.003), wide("a", MAP, 0.013)),
        ("const_rows", wide("a", MAP, 0.013), wide_constant(values((1, 5, 1, 3)), 0.02)),
        ("vectors", wide("a", (1, 4096), 0.013), wide("b", (1, 4096), 0.0131)),
    )
}
POOLS = {
    "avg_2x2": make("avg_pool2d", (wide("x", MAP),), wide("y", ()), AvgPool2dAttrs((2, 2))),
    "avg_3x3_same": make(
        "avg_pool2d", (wide("x", MAP),), wide("y", ()), AvgPool2dAttrs((3, 3), (2, 2), (1, 1, 0, 1), (0, 32767))
    ),
    "avg_rescaling": make(
        "avg_pool2d", (wide("x", MAP),), wide("y", (), 0.0011), AvgPool2dAttrs((3, 3), (1, 1), (1, 1, 1, 1))
    ),
    "avg_padding_counts": make(
        "avg_pool2d",
        (wide("x", MAP),),
        wide("y", ()),
        AvgPool2dAttrs((3, 3), (1, 1), (1, 1, 1, 1), include_pad=True),
    ),
    "max_3x3": make("max_pool2d", (wide("x", MAP),), wide("y", ()), MaxPool2dAttrs((3, 3), (1, 1), (1, 1, 1, 1))),
    "max_relu": make("max_pool2d", (wide("x", MAP),), wide("y", ()), MaxPool2dAttrs((2, 2), (2, 2), clamp=(0, 32767))),
}
MEANS = {
    "mean_map": make("mean", (wide("x", (1, 9, 7, 5)),), wide("y", (), 0.001), MeanAttrs((1, 2))),
    "mean_coarser": make("mean", (wide("x", (1, 8, 8, 3)),), wide("y", (), 0.01), MeanAttrs((1, 2), False)),
    "mean_columns": make("mean", (wide("x", MAP),), wide("y", ()), MeanAttrs((2,))),
    "mean_channels": make("mean", (wide("x", MAP),), wide("y", ()), MeanAttrs((3,))),
}
RESIZES = {
    "nearest": make("resize_nearest", (wide("x", MAP),), wide("y", ()), ResizeAttrs((7, 9))),
    "bilinear": make("resize_bilinear", (wide("x", MAP),), wide("y", ()), ResizeAttrs((7, 9))),
}


def unary(kind: str, scale: float, out: float, attrs: Attrs | None = None, shape: tuple[int, ...] = MAP) -> Node:
    return make(kind, (wide("x", shape, scale),), wide("y", shape, out), attrs)


def converted(x: DType, y: DType) -> Node:
    zero = {DType.INT8: 5, DType.INT16: 0}
    return make(
        "requantize", (activation("x", MAP, 0.013, zero[x], x),), activation("y", MAP, 0.017, zero[y], y), Attrs()
    )


FUNCTIONS = {
    "logistic": unary("logistic", 0.0003, Q15),
    "logistic_onnx": unary("logistic", 0.0003, 4e-5),
    "tanh": unary("tanh", 0.0003, Q15),
    "tanh_onnx": unary("tanh", 0.0003, 2e-5),
    "leaky_relu": unary("leaky_relu", 0.013, 0.021, LeakyReluAttrs(0.3)),
    "relu": unary("clip", 0.013, 0.011, ClipAttrs(0.0)),
    "relu6": unary("clip", 0.013, 0.011, ClipAttrs(0.0, 6.0)),
    "softmax": make("softmax", (wide("x", (7, 11), 0.0005),), wide("y", (), Q15), SoftmaxAttrs()),
    "requantize": converted(DType.INT16, DType.INT16),
    "requantize_s8_s16": converted(DType.INT8, DType.INT16),
    "requantize_s16_s8": converted(DType.INT16, DType.INT8),
}
EDGES = {
    "quantize": make("quantize", (activation("x", MAP, dtype=DType.FLOAT32),), wide("y", MAP, 0.0013), QuantizeAttrs()),
    "quantize_half_even": make(
        "quantize", (activation("x", MAP, dtype=DType.FLOAT32),), wide("y", MAP, 0.25), QuantizeAttrs(True)
    ),
    "dequantize": make("dequantize", (wide("x", MAP),), activation("y", MAP, dtype=DType.FLOAT32)),
}
CONCATS = {
    f"concat_{axis}_{name}": make(
        "concat", (wide("a", MAP), wide("b", MAP, scale)), wide("y", (), 0.0013), ConcatAttrs(axis)
    )
    for axis in (1, 2, 3)
    for name, scale in (("copied", 0.0013), ("rescaled", 0.0007))
}
NODES = {**BINARY, **POOLS, **MEANS, **RESIZES, **FUNCTIONS, **EDGES, **CONCATS}


def cases() -> list[Case]:
    return named(NODES)


def litert(node: Node, builtin: str, given: list[Array], options: str = "", version: int = 3, **fields: Any) -> Array:
    return run_litert(single_op_model(builtin, node.inputs, node.out, options, version, **fields), given)


def equal(node: Node, builtin: str, given: list[Array], options: str = "", version: int = 3, **fields: Any) -> None:
    want = litert(node, builtin, given, options, version, **fields)
    np.testing.assert_array_equal(reference(node, *given), want)
    assert len(np.unique(want)) > 1 or len(np.unique(given[0])) < 3


@pytest.mark.parametrize("name", BINARY)
def test_sums_and_products_equal_litert(name: str) -> None:
    builtin = name.partition("_")[0].upper()
    fields = {} if builtin == "MUL" else {"potScaleInt16": False}
    version = 4 if builtin == "MUL" else 3
    for given in seeds(BINARY[name]):
        equal(BINARY[name], builtin, given, f"{builtin.capitalize()}Options", version, **fields)


@pytest.mark.parametrize("kind", ["add", "mul"])
@pytest.mark.parametrize("scales", [(0.05, 0.05, 0.1), (1.0, 0.001, 0.9), (0.003, 0.5, 0.02), (0.25, 0.25, 0.25)])
def test_scales_of_sums_and_products(kind: str, scales: tuple[float, float, float]) -> None:
    s_y = scales[2] * (3000 if kind == "mul" else 1)
    node = make(
        kind,
        (wide("a", ALL, scales[0]), wide("b", ALL, scales[1])),
        wide("y", (), s_y),
        AddAttrs() if kind == "add" else MulAttrs(),
    )
    other = np.random.default_rng(3).permutation(EVERY.reshape(-1)).reshape(ALL)
    fields = {} if kind == "mul" else {"potScaleInt16": False}
    equal(node, kind.upper(), [EVERY, other], f"{kind.capitalize()}Options", 4 if kind == "mul" else 3, **fields)


@pytest.mark.parametrize("name", ["avg_2x2", "avg_3x3_same", "max_3x3", "max_relu"])
def test_pooling_equals_litert(name: str) -> None:
    s, node = schema(), POOLS[name]
    a = node.attrs
    fields = {
        "padding": s.Padding.SAME if any(a.pad) else s.Padding.VALID,
        "strideH": a.stride[0],
        "strideW": a.stride[1],
        "filterHeight": a.kernel[0],
        "filterWidth": a.kernel[1],
        "fusedActivationFunction": s.ActivationFunctionType.RELU if a.clamp else s.ActivationFunctionType.NONE,
    }
    for given in seeds(node):
        equal(node, "AVERAGE_POOL_2D" if name.startswith("avg") else "MAX_POOL_2D", given, "Pool2DOptions", **fields)


def test_averages_round_halves_away_from_zero() -> None:
    node = make("avg_pool2d", (wide("x", (1, 1, 4, 1)),), wide("y", ()), AvgPool2dAttrs((1, 2), (1, 2)))
    x = np.array([-3, -4, 32767, 32766], dtype=np.int16).reshape(1, 1, 4, 1)
    assert reference(node, x).reshape(-1).tolist() == [-4, 32767]
    s = schema()
    fields = {"padding": s.Padding.VALID, "strideH": 1, "strideW": 2, "filterHeight": 1, "filterWidth": 2}
    equal(node, "AVERAGE_POOL_2D", [x], "Pool2DOptions", **fields)


@pytest.mark.parametrize("name", ["mean_map", "mean_coarser", "mean_columns", "mean_channels"])
def test_means_equal_litert(name: str) -> None:
    node = MEANS[name]
    axes = constant("axes", np.array(node.attrs.axes, dtype=np.int32))
    for given in seeds(node):
        model = single_op_model(
            "MEAN", (*node.inputs, axes), node.out, "ReducerOptions", 2, keepDims=node.attrs.keep_dims
        )
        np.testing.assert_array_equal(reference(node, *given), run_litert(model, given))


@pytest.mark.parametrize("kind", ["nearest", "bilinear"])
def test_resizing_equals_litert(kind: str) -> None:
    node = RESIZES[kind]
    size = constant("size", np.array(node.out.shape[1:3], dtype=np.int32))
    builtin, options = {
        "nearest": ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
        "bilinear": ("RESIZE_BILINEAR", "ResizeBilinearOptions"),
    }[kind]
    for given in seeds(node):
        model = single_op_model(builtin, (*node.inputs, size), node.out, options, 3)
        np.testing.assert_array_equal(reference(node, *given), run_litert(model, given))


SCALES = [1e-5, 2.0**-13, 2.0**-12, 0.0003, 0.00024, 0.001, 0.013, 0.25, 1.0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", ["logistic", "tanh"])
def test_sigmoids_equal_litert_at_every_input(kind: str, scale: float) -> None:
    equal(unary(kind, scale, Q15, shape=ALL), kind.upper(), [EVERY])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("out", [0.0009, 0.02, 0.25])
def test_piecewise_linear_functions_equal_litert_at_every_input(scale: float, out: float) -> None:
    for attrs, builtin in ((ClipAttrs(0.0), "RELU"), (ClipAttrs(0.0, 6.0), "RELU6")):
        node = unary("clip", scale, out, attrs, ALL)
        np.testing.assert_array_equal(reference(node, EVERY), litert(node, builtin, [EVERY], version=2))
    node = unary("leaky_relu", scale, out, LeakyReluAttrs(0.3), ALL)
    np.testing.assert_array_equal(
        reference(node, EVERY), litert(node, "LEAKY_RELU", [EVERY], "LeakyReluOptions", 2, alpha=0.3)
    )


@pytest.mark.parametrize("scale", [1e-6, 0.0001, 0.0005, 0.01, 1.0])
@pytest.mark.parametrize("width", [2, 3, 16, 64])
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_softmax_equals_litert(scale: float, width: int, beta: float) -> None:
    shape = (4096 // width, width)
    node = make("softmax", (wide("x", shape, scale),), wide("y", (), Q15), SoftmaxAttrs(beta))
    for seed in range(4):
        x = np.random.default_rng(seed).integers(-32768, 32768, shape).astype(np.int16)
        if seed == 3:
            x = (x >> 8).astype(np.int16)
        np.testing.assert_array_equal(reference(node, x), litert(node, "SOFTMAX", [x], "SoftmaxOptions", 3, beta=beta))


@pytest.mark.parametrize("name", ["requantize", "requantize_s8_s16", "requantize_s16_s8"])
def test_conversions_equal_litert(name: str) -> None:
    for given in seeds(FUNCTIONS[name]):
        equal(FUNCTIONS[name], "QUANTIZE", given, version=2)


def test_quantisation_of_floats_equals_litert() -> None:
    scale = float(np.float32(0.0013))
    halves = ((np.arange(-32770, 32770) + 0.5) * np.float32(scale)).astype(np.float32)
    x = np.concatenate([halves, np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves, np.float32(-np.inf))])
    x = np.concatenate([x, np.array([0.0, -0.0, 1e6, -1e6], dtype=np.float32)]).reshape(1, -1)
    node = make(
        "quantize", (activation("x", x.shape, dtype=DType.FLOAT32),), wide("y", x.shape, scale), QuantizeAttrs()
    )
    equal(node, "QUANTIZE", [x], version=2)


def test_dequantisation_equals_litert() -> None:
    node = make("dequantize", (wide("x", ALL, 0.013),), activation("y", ALL, dtype=DType.FLOAT32))
    equal(node, "DEQUANTIZE", [EVERY], version=2)


def test_half_even_is_that_of_onnx() -> None:
    node = EDGES["quantize_half_even"]
    x = np.resize(np.array([0.125, 0.375, -0.125, -0.375, 0.625, np.nan], dtype=np.float32), MAP)
    assert reference(node, x).reshape(-1)[:6].tolist() == [0, 2, 0, -2, 2, 0]


@pytest.mark.parametrize("name", [n for n in NODES if not n.startswith(("quantize", "requantize", "concat"))])
def test_int16_with_a_zero_point_is_refused(name: str) -> None:
    node = NODES[name]
    if node.tensor(0).dtype != DType.INT16 or node.tensor(0).is_const or node.tensor(0).quant is None:
        pytest.skip("its first input has no zero point of int16")
    x = replace(node.tensor(0), quant=Quant(node.tensor(0).quant.scale, (3,)))  # type: ignore[union-attr]
    assert operator(node.op.kind).unsupported(replace(node, inputs=(x, *node.inputs[1:]))) is not None


REFUSED: dict[str, Callable[[], Node]] = {
    "hard_swish": lambda: unary("hard_swish", 0.01, 0.01),
    "coarse logistic": lambda: unary("logistic", 3.0, Q15),
    "long softmax": lambda: make("softmax", (wide("x", (1, 1 << 16)),), wide("y", (), Q15), SoftmaxAttrs()),
    "softmax of another scale": lambda: make("softmax", (wide("x", (1, 9)),), wide("y", (), 1e-5), SoftmaxAttrs()),
    "wide window": lambda: make(
        "avg_pool2d", (wide("x", (1, 256, 256, 1)),), wide("y", ()), AvgPool2dAttrs((256, 256))
    ),
    "long mean": lambda: make("mean", (wide("x", (1, 512, 256, 1)),), wide("y", ()), MeanAttrs((1, 2))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_kernel_is_refused(name: str) -> None:
    node = REFUSED[name]()
    assert operator(node.op.kind).unsupported(node) is not None
