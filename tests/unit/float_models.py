"""Float TFLite models of one operator, made in code, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tflite_models import ModelMaker

SAME, VALID = 0, 1
NO_ACT, RELU, RELU_N1, RELU6 = 0, 1, 2, 3
Case = Callable[[ModelMaker], int]


def floats(m: ModelMaker, shape: tuple[int, ...], const: bool = False) -> int:
    data = m.rng.standard_normal(shape) if const else None
    return m.tensor(shape, None, dtype="FLOAT32", data=data)


def given(m: ModelMaker, shape: tuple[int, ...]) -> int:
    return m.input(shape, None, dtype="FLOAT32")


def conv(activation: int, stride: int, mode: int, groups: int, out: tuple[int, int]) -> Case:
    def build(m: ModelMaker) -> int:
        x, w = given(m, (1, 8, 7, 4)), floats(m, (6, 3, 3, 4 // groups), True)
        options: dict[str, Any] = {"padding": mode, "strideH": stride, "strideW": stride}
        options |= {"dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": activation}
        return m.op("CONV_2D", [x, w, floats(m, (6,), True)], floats(m, (1, *out, 6)), "Conv2DOptions", **options)

    return build


def depthwise(activation: int, multiplier: int) -> Case:
    def build(m: ModelMaker) -> int:
        x, w = given(m, (1, 8, 9, 3)), floats(m, (1, 3, 3, 3 * multiplier), True)
        options: dict[str, Any] = {"padding": SAME, "strideH": 2, "strideW": 2, "depthMultiplier": multiplier}
        options |= {"dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": activation}
        y = floats(m, (1, 4, 5, 3 * multiplier))
        inputs = [x, w, floats(m, (3 * multiplier,), True)]
        return m.op("DEPTHWISE_CONV_2D", inputs, y, "DepthwiseConv2DOptions", **options)

    return build


def transpose_conv(mode: int, out: tuple[int, int], bias: bool) -> Case:
    def build(m: ModelMaker) -> int:
        x, w = given(m, (1, 4, 5, 3)), floats(m, (2, 3, 3, 3), True)
        inputs = [m.ints([1, *out, 2]), w, x, *([floats(m, (2,), True)] if bias else [])]
        options = {"padding": mode, "strideH": 2, "strideW": 2}
        return m.op("TRANSPOSE_CONV", inputs, floats(m, (1, *out, 2)), "TransposeConvOptions", **options)

    return build


def fully_connected(activation: int) -> Case:
    def build(m: ModelMaker) -> int:
        x, w = given(m, (1, 2, 2, 3)), floats(m, (5, 12), True)
        y = floats(m, (1, 5))
        options = {"fusedActivationFunction": activation}
        return m.op("FULLY_CONNECTED", [x, w, floats(m, (5,), True)], y, "FullyConnectedOptions", **options)

    return build


def batch_matmul(first: bool, second: bool) -> Case:
    def build(m: ModelMaker) -> int:
        a = given(m, (2, 4, 3) if first else (2, 3, 4))
        b = given(m, (2, 5, 4) if second else (2, 4, 5))
        return m.op("BATCH_MATMUL", [a, b], floats(m, (2, 3, 5)), "BatchMatMulOptions", adjX=first, adjY=second)

    return build


def pool(builtin: str, mode: int, out: tuple[int, int], activation: int) -> Case:
    def build(m: ModelMaker) -> int:
        options: dict[str, Any] = {"padding": mode, "strideH": 2, "strideW": 2, "filterHeight": 3, "filterWidth": 2}
        y = floats(m, (1, *out, 3))
        return m.op(
            builtin, [given(m, (1, 8, 7, 3))], y, "Pool2DOptions", fusedActivationFunction=activation, **options
        )

    return build


def resize(builtin: str, align: bool, half: bool) -> Case:
    def build(m: ModelMaker) -> int:
        options = "ResizeNearestNeighborOptions" if "NEAREST" in builtin else "ResizeBilinearOptions"
        x, y = given(m, (1, 4, 5, 2)), floats(m, (1, 7, 9, 2))
        return m.op(builtin, [x, m.ints([7, 9])], y, options, alignCorners=align, halfPixelCenters=half)

    return build


def binary(builtin: str, activation: int) -> Case:
    def build(m: ModelMaker) -> int:
        x, y, out = given(m, (1, 4, 5, 3)), floats(m, (3,), True), floats(m, (1, 4, 5, 3))
        return m.op(builtin, [x, y], out, f"{builtin.capitalize()}Options", fusedActivationFunction=activation)

    return build


FLOAT_CASES: dict[str, Case] = {
    "add": binary("ADD", NO_ACT),
    "add_relu": binary("ADD", RELU),
    "sub_relu6": binary("SUB", RELU6),
    "mul_relu_n1": binary("MUL", RELU_N1),
    "conv": conv(NO_ACT, 1, SAME, 1, (8, 7)),
    "conv_relu_stride_2": conv(RELU, 2, SAME, 1, (4, 4)),
    "conv_relu6_valid": conv(RELU6, 2, VALID, 1, (3, 3)),
    "conv_relu_n1_groups": conv(RELU_N1, 1, SAME, 2, (8, 7)),
    "depthwise": depthwise(RELU6, 1),
    "depthwise_multiplier": depthwise(NO_ACT, 2),
    "transpose_conv_same": transpose_conv(SAME, (8, 10), False),
    "transpose_conv_same_odd": transpose_conv(SAME, (7, 9), True),
    "transpose_conv_valid": transpose_conv(VALID, (9, 11), True),
    "fully_connected": fully_connected(NO_ACT),
    "fully_connected_relu": fully_connected(RELU),
    "batch_matmul": batch_matmul(False, False),
    "batch_matmul_transposed": batch_matmul(True, True),
    "average_pool_same": pool("AVERAGE_POOL_2D", SAME, (4, 4), NO_ACT),
    "average_pool_relu": pool("AVERAGE_POOL_2D", VALID, (3, 3), RELU),
    "max_pool_same": pool("MAX_POOL_2D", SAME, (4, 4), RELU6),
}
for builtin in ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"):
    for align, half in ((False, False), (True, False), (False, True)):
        FLOAT_CASES[f"{builtin.lower()}_{align}_{half}"] = resize(builtin, align, half)
