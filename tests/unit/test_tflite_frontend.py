"""TFLite operators through the frontend and all passes: bit for bit what LiteRT's reference kernels compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_models import ModelMaker, evaluate, litert, lower, random_value

from tinycompile.errors import MalformedModelError, QuantError, ShapeError, UnsupportedError
from tinycompile.frontends import load_model, supported_operators
from tinycompile.frontends.naming import MAX_PREFIX, UniqueNames, c_prefix
from tinycompile.frontends.tflite.operators import TFLITE_OPERATORS

SAME, VALID = 0, 1
NO_ACT, RELU, RELU_N1, RELU6 = 0, 1, 2, 3
Case = Callable[[ModelMaker], int]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def add(build: Case) -> Case:
        CASES[name] = build
        return build

    return add


def conv(
    size: tuple[int, int] = (8, 7),
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    mode: int = SAME,
    activation: int = NO_ACT,
    groups: int = 1,
    per_channel: bool = True,
    bias: bool = True,
    scale: float = 0.08,
) -> Case:
    def build(m: ModelMaker) -> int:
        x = m.input((1, *size, 4))
        w = m.weights((6, *kernel, 4 // groups), 0 if per_channel else None)
        out = output_size(size, kernel, stride, dilation, mode)
        y = m.tensor((1, *out, 6), scale, -7)
        inputs = [x, w, m.bias(6)] if bias else [x, w]
        return m.op(
            "CONV_2D",
            inputs,
            y,
            "Conv2DOptions",
            padding=mode,
            strideH=stride[0],
            strideW=stride[1],
            dilationHFactor=dilation[0],
            dilationWFactor=dilation[1],
            fusedActivationFunction=activation,
        )

    return build


def output_size(size: Any, kernel: Any, stride: Any, dilation: Any, mode: int) -> tuple[int, ...]:
    """TensorFlow's formulas (tf.nn.convolution)."""
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if mode == SAME:
        return tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
    return tuple(-(-(n - e + 1) // s) for n, e, s in zip(size, extents, stride, strict=True))


CASES |= {
    "conv_same": conv(),
    "conv_same_stride_2_even": conv((8, 10), stride=(2, 2)),
    "conv_same_stride_2_odd": conv((9, 7), stride=(2, 2)),
    "conv_same_even_kernel": conv((7, 7), kernel=(4, 2), stride=(2, 1)),
    "conv_same_dilated": conv((9, 8), dilation=(2, 3)),
    "conv_same_stride_over_kernel": conv((9, 9), kernel=(1, 1), stride=(3, 2)),
    "conv_valid": conv(mode=VALID, stride=(2, 1)),
    "conv_valid_dilated": conv((9, 9), mode=VALID, dilation=(3, 2)),
    "conv_relu": conv(activation=RELU),
    "conv_relu6": conv(activation=RELU6),
    "conv_relu6_fine_scale": conv(activation=RELU6, scale=0.0235294122248888),
    "conv_relu_n1_to_1": conv(activation=RELU_N1, scale=0.013),
    "conv_groups": conv(groups=2),
    "conv_per_tensor": conv(per_channel=False),
    "conv_without_bias": conv(bias=False),
}


def depthwise(multiplier: int, stride: tuple[int, int], mode: int, dilation: int = 1) -> Case:
    def build(m: ModelMaker) -> int:
        size, ch = (8, 9), 3 * multiplier
        x, w = m.input((1, *size, 3)), m.weights((1, 3, 3, ch), 3)
        y = m.tensor((1, *output_size(size, (3, 3), stride, (dilation,) * 2, mode), ch), 0.07, 11)
        return m.op(
            "DEPTHWISE_CONV_2D",
            [x, w, m.bias(ch)],
            y,
            "DepthwiseConv2DOptions",
            padding=mode,
            strideH=stride[0],
            strideW=stride[1],
            dilationHFactor=dilation,
            dilationWFactor=dilation,
            depthMultiplier=multiplier,
            fusedActivationFunction=RELU6,
        )

    return build


CASES |= {
    "depthwise_same_stride_2": depthwise(1, (2, 2), SAME),
    "depthwise_multiplier": depthwise(2, (1, 1), SAME),
    "depthwise_valid_dilated": depthwise(1, (1, 1), VALID, 2),
}


def fully_connected(shape: tuple[int, ...], keep: bool = False, **weights: Any) -> Case:
    def build(m: ModelMaker) -> int:
        depth = 12
        lead = int(np.prod(shape)) // depth
        x, w = m.input(shape), m.weights((5, depth), **weights)
        y = m.tensor((*shape[:-1], 5) if keep else (lead, 5), 0.2, -20)
        options = {"keepNumDims": keep, "fusedActivationFunction": RELU}
        return m.op("FULLY_CONNECTED", [x, w, m.bias(5)], y, "FullyConnectedOptions", **options)

    return build


CASES |= {
    "fully_connected": fully_connected((1, 12)),
    "fully_connected_flattens": fully_connected((1, 2, 2, 3)),
    "fully_connected_rows": fully_connected((4, 12)),
    "fully_connected_keeps_dims": fully_connected((1, 4, 12), keep=True),
    "fully_connected_per_channel": fully_connected((1, 12), axis=0),
    "fully_connected_weight_zero_point": fully_connected((1, 12), zero_point=5),
}


def binary(
    builtin: str, other: tuple[int, ...], const: bool = False, activation: int = NO_ACT, swap: bool = False
) -> Case:
    def build(m: ModelMaker) -> int:
        shape = (1, 5, 6, 4)
        a = m.input(shape)
        b = m.weights(other, zero_point=-4) if const else m.input(other, 0.031, -9)
        y = m.tensor(shape, 0.09, 6)
        options = f"{builtin.capitalize()}Options"
        return m.op(builtin, [b, a] if swap else [a, b], y, options, fusedActivationFunction=activation)

    return build


for builtin in ("ADD", "SUB", "MUL"):
    CASES |= {
        f"{builtin.lower()}_maps": binary(builtin, (1, 5, 6, 4), activation=RELU),
        f"{builtin.lower()}_channels": binary(builtin, (1, 1, 1, 4), const=True),
        f"{builtin.lower()}_scalar_first": binary(builtin, (1,), const=True, swap=True),
        f"{builtin.lower()}_gate": binary(builtin, (1, 1, 1, 4), activation=RELU6),
    }


def pool(builtin: str, mode: int, stride: tuple[int, int], activation: int = NO_ACT) -> Case:
    def build(m: ModelMaker) -> int:
        size, kernel = (8, 7), (3, 2)
        x = m.input((1, *size, 3))
        y = m.tensor((1, *output_size(size, kernel, stride, (1, 1), mode), 3))
        return m.op(
            builtin,
            [x],
            y,
            "Pool2DOptions",
            padding=mode,
            strideH=stride[0],
            strideW=stride[1],
            filterHeight=kernel[0],
            filterWidth=kernel[1],
            fusedActivationFunction=activation,
        )

    return build


for builtin in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
    CASES |= {
        f"{builtin.lower()}_same": pool(builtin, SAME, (2, 2)),
        f"{builtin.lower()}_valid": pool(builtin, VALID, (1, 2), RELU6),
    }


def unary(builtin: str, scale: float, zero_point: int, options: str = "", **fields: Any) -> Case:
    def build(m: ModelMaker) -> int:
        shape = (1, 6, 5, 4)
        return m.op(builtin, [m.input(shape)], m.tensor(shape, scale, zero_point), options, **fields)

    return build


CASES |= {
    "relu": unary("RELU", 0.07, -100),
    "relu6": unary("RELU6", 0.03, -128),
    "relu_n1_to_1": unary("RELU_N1_TO_1", 0.02, 0),
    "relu_0_to_1": unary("RELU_0_TO_1", 0.02, -20),
    "leaky_relu": unary("LEAKY_RELU", 0.04, 9, "LeakyReluOptions", alpha=0.15),
    "hard_swish": unary("HARD_SWISH", 0.04, -50),
    "logistic": unary("LOGISTIC", 1 / 256, -128),
    "tanh": unary("TANH", 1 / 128, 0),
    "requantize": unary("QUANTIZE", 0.11, -30),
    "softmax": unary("SOFTMAX", 1 / 256, -128, "SoftmaxOptions", beta=1.0),
}


@case("quantize")
def _(m: ModelMaker) -> int:
    return m.op("QUANTIZE", [m.input((1, 40), None, dtype="FLOAT32")], m.tensor((1, 40)))


@case("dequantize")
def _(m: ModelMaker) -> int:
    return m.op("DEQUANTIZE", [m.input((1, 40))], m.tensor((1, 40), None, dtype="FLOAT32"))


def concat(axis: int) -> Case:
    def build(m: ModelMaker) -> int:
        shapes = [[1, 4, 3, 2], [1, 4, 3, 2]]
        shapes[1][axis] = 5
        a, b = m.input(shapes[0]), m.input(shapes[1], 0.08, -6)
        out = list(shapes[0])
        out[axis] += 5
        return m.op("CONCATENATION", [a, b], m.tensor(out, 0.08, -6), "ConcatenationOptions", axis=axis)

    return build


CASES |= {"concat_channels": concat(3), "concat_rows": concat(1), "concat_negative_axis": concat(-1)}


def mean(axes: list[int], keep: bool, shape: tuple[int, ...]) -> Case:
    def build(m: ModelMaker) -> int:
        x = m.input((1, 6, 5, 3))
        return m.op("MEAN", [x, m.ints(axes)], m.tensor(shape, 0.04, 5), "ReducerOptions", keepDims=keep)

    return build


CASES |= {"mean": mean([1, 2], False, (1, 3)), "mean_keep": mean([-3, 2], True, (1, 1, 1, 3))}


def reshaped(builtin: str, before: tuple[int, ...], after: tuple[int, ...]) -> Case:
    def build(m: ModelMaker) -> int:
        x = m.input(before)
        inputs = [x] if builtin == "SQUEEZE" else [x, m.ints(list(after) if builtin == "RESHAPE" else 0)]
        options = "SqueezeOptions" if builtin == "SQUEEZE" else ""
        moved = m.op(builtin, inputs, m.tensor(after), options)
        return m.op("RELU", [moved], m.tensor(after, 0.05, 3))

    return build


CASES |= {
    "reshape": reshaped("RESHAPE", (1, 4, 3, 2), (1, 24)),
    "squeeze": reshaped("SQUEEZE", (1, 1, 6, 4), (6, 4)),
    "expand_dims": reshaped("EXPAND_DIMS", (6, 4), (1, 6, 4)),
}


@case("reshape_by_shape_arithmetic")
def _(m: ModelMaker) -> int:
    """What `tf.reshape(x, [tf.shape(x)[0], 2, 12])` becomes."""
    x = m.input((1, 24))
    shape = m.op("SHAPE", [x], m.tensor((2,), None, dtype="INT32"), "ShapeOptions", outType=2)
    batch = m.op(
        "STRIDED_SLICE",
        [shape, m.ints([0]), m.ints([1]), m.ints([1])],
        m.tensor((), None, dtype="INT32"),
        "StridedSliceOptions",
        shrinkAxisMask=1,
    )
    target = m.op(
        "PACK", [batch, m.ints(2), m.ints(12)], m.tensor((3,), None, dtype="INT32"), "PackOptions", valuesCount=3
    )
    moved = m.op("RESHAPE", [x, target], m.tensor((1, 2, 12)))
    return m.op("RELU", [moved], m.tensor((1, 2, 12)))


@case("pad")
def _(m: ModelMaker) -> int:
    x = m.input((1, 4, 3, 2))
    return m.op("PAD", [x, m.ints([[0, 0], [1, 2], [0, 3], [0, 1]])], m.tensor((1, 7, 6, 3)))


@case("padv2")
def _(m: ModelMaker) -> int:
    x, value = m.input((1, 4, 3, 2)), m.tensor((1,), data=np.array([-77]))
    return m.op("PADV2", [x, m.ints([[0, 0], [1, 2], [2, 0], [0, 0]]), value], m.tensor((1, 7, 5, 2)))


@case("transpose")
def _(m: ModelMaker) -> int:
    return m.op("TRANSPOSE", [m.input((1, 4, 3, 2)), m.ints([0, 3, 1, 2])], m.tensor((1, 2, 4, 3)))


def resize(builtin: str, align: bool, half: bool) -> Case:
    def build(m: ModelMaker) -> int:
        options = "ResizeNearestNeighborOptions" if "NEAREST" in builtin else "ResizeBilinearOptions"
        x = m.input((1, 4, 5, 3))
        flags = {"alignCorners": align, "halfPixelCenters": half}
        return m.op(builtin, [x, m.ints([9, 7])], m.tensor((1, 9, 7, 3)), options, **flags)

    return build


for builtin in ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"):
    for flags in ((False, False), (True, False), (False, True)):
        CASES[f"{builtin.lower()}_{'align' if flags[0] else 'half' if flags[1] else 'plain'}"] = resize(builtin, *flags)


@pytest.mark.parametrize("name", CASES)
def test_operator_is_bit_exact(name: str, tmp_path: Path) -> None:
    maker = ModelMaker(seed=len(name))
    data = maker.build(CASES[name](maker))
    path = tmp_path / f"{name}.tflite"
    path.write_bytes(data)
    graph = lower(path)
    assert graph.name == name
    rng = np.random.default_rng(1)
    distinct = set()
    for _ in range(4):
        inputs = [random_value(rng, graph.tensors[i].shape, graph.tensors[i].dtype.numpy) for i in graph.inputs]
        (want,) = litert(data, inputs)
        got = evaluate(graph, inputs)[graph.outputs[0]]
        np.testing.assert_array_equal(got.reshape(want.shape), want)
        distinct.add(want.tobytes())
    assert len(distinct) > 1, "the output does not depend on the input"


def test_every_operator_of_the_table_has_a_case() -> None:
    made = set()
    for build in CASES.values():
        maker = ModelMaker()
        maker.build(build(maker))
        names = {v: k for k, v in vars(maker.schema.BuiltinOperator).items() if isinstance(v, int)}
        made |= {names[c.builtinCode] for c in maker.model.operatorCodes}
    assert made == set(TFLITE_OPERATORS)
    assert supported_operators()["tflite"] == tuple(sorted(TFLITE_OPERATORS))
