"""Float TFLite models of one operator, made in code, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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


def function(builtin: str, *shapes: tuple[int, ...], options: str = "", const: int = 0, **fields: Any) -> Case:
    """An elementwise function of run-time operands, and `const` constants behind them, broadcast to the first shape."""

    def build(m: ModelMaker) -> int:
        runs = len(shapes) - const
        inputs = [given(m, s) if k < runs else floats(m, s, True) for k, s in enumerate(shapes)]
        return m.op(builtin, inputs, floats(m, shapes[0]), options, **fields)

    return build


def positive(builtin: str) -> Case:
    """A function of squares, for what wants no negative operand."""

    def build(m: ModelMaker) -> int:
        shape = (2, 5, 3)
        squares = m.op("SQUARE", [given(m, shape)], floats(m, shape), "SquareOptions")
        inputs = [squares, floats(m, (3,), True)] if builtin == "POW" else [squares]
        return m.op(builtin, inputs, floats(m, shape), "PowOptions" if builtin == "POW" else "")

    return build


def decided(builtin: str, *shapes: tuple[int, ...], select: str = "SELECT_V2") -> Case:
    """A comparison, or logic of two, that selects from two operands; whole numbers, so that some are equal."""

    def build(m: ModelMaker) -> int:
        a, b = (m.op("FLOOR", [given(m, s)], floats(m, s)) for s in shapes)
        full = shapes[0]

        def hit(kind: str) -> int:
            return m.op(kind, [a, b], m.tensor(full, None, dtype="BOOL"))

        found = hit(builtin if not builtin.startswith("LOGICAL") else "LESS")
        if builtin.startswith("LOGICAL"):
            inputs = [found] if builtin == "LOGICAL_NOT" else [found, hit("NOT_EQUAL")]
            found = m.op(builtin, inputs, m.tensor(full, None, dtype="BOOL"))
        return m.op(select, [found, a, floats(m, full, True)], floats(m, full))

    return build


def reduction(builtin: str, axes: list[int], keep: bool, out: tuple[int, ...]) -> Case:
    def build(m: ModelMaker) -> int:
        x = given(m, (2, 4, 5, 3))
        return m.op(builtin, [x, m.ints(axes)], floats(m, out), "ReducerOptions", keepDims=keep)

    return build


def place(builtin: str, axis: int, out: tuple[int, ...]) -> Case:
    """The place, as a float again."""

    def build(m: ModelMaker) -> int:
        found = m.tensor(out, None, dtype="INT32")
        m.op(builtin, [given(m, (2, 4, 5, 3)), m.ints(axis)], found, f"{OPTIONS[builtin]}Options", outputType=2)
        return m.op("CAST", [found], floats(m, out), "CastOptions")

    return build


def running(axis: int, exclusive: bool, reverse: bool) -> Case:
    def build(m: ModelMaker) -> int:
        x = given(m, (2, 4, 3))
        options = {"exclusive": exclusive, "reverse": reverse}
        return m.op("CUMSUM", [x, m.ints(axis)], floats(m, (2, 4, 3)), "CumsumOptions", **options)

    return build


NO_REFERENCE = ("ceil", "elu", "round")  # LiteRT has these among its optimised kernels alone


def dequantized(of: Callable[[ModelMaker], int]) -> Case:
    """A fully connected layer whose weights are stored in another type."""

    def build(m: ModelMaker) -> int:
        x, w = given(m, (2, 6)), m.op("DEQUANTIZE", [of(m)], floats(m, (4, 6)))
        return m.op("FULLY_CONNECTED", [x, w, -1], floats(m, (2, 4)), "FullyConnectedOptions")

    return build


def judged(builtin: str) -> Case:
    """Whether any, or all, of a row is above 0."""

    def build(m: ModelMaker) -> int:
        x = given(m, (6, 3))
        above = m.op("GREATER", [x, floats(m, (3,), True)], m.tensor((6, 3), None, dtype="BOOL"))
        found = m.op(builtin, [above, m.ints([1])], m.tensor((6,), None, dtype="BOOL"), "ReducerOptions")
        return m.op("CAST", [found], floats(m, (6,)), "CastOptions")

    return build


def plus(constant: Callable[[ModelMaker], int]) -> Case:
    """A sum with what is known when the model is compiled."""

    def build(m: ModelMaker) -> int:
        return m.op("ADD", [given(m, (4, 9)), constant(m)], floats(m, (4, 9)), "AddOptions")

    return build


def counted(m: ModelMaker) -> int:
    numbers = [m.tensor((), None, dtype="FLOAT32", data=np.array(v)) for v in (2.0, 6.5, 0.5)]
    return m.op("RANGE", numbers, floats(m, (9,)), "RangeOptions")


def cast_of_what_is_used(m: ModelMaker) -> int:
    """A CAST to the same type changes nothing, and its input is read again."""
    made = m.op("ABS", [given(m, (4, 9))], floats(m, (4, 9)))
    same = m.op("CAST", [made], floats(m, (4, 9)), "CastOptions")
    return m.op("SUB", [m.op("EXP", [same], floats(m, (4, 9))), made], floats(m, (4, 9)), "SubOptions")


def ranked(m: ModelMaker) -> int:
    rank = m.op("RANK", [floats(m, (4, 9), True)], m.tensor((), None, dtype="INT32"), "RankOptions")
    return m.op("CAST", [rank], floats(m, ()), "CastOptions")


OPTIONS = {"ARG_MAX": "ArgMax", "ARG_MIN": "ArgMin"}
MAP = (2, 4, 5, 3)
for builtin in ("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "NEG", "ROUND", "SIGN", "SIN", "SQUARE"):
    FLOAT_CASES[builtin.lower()] = function(builtin, MAP)
for builtin in ("LOG", "POW", "RSQRT", "SQRT"):
    FLOAT_CASES[builtin.lower()] = positive(builtin)
for builtin in ("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"):
    FLOAT_CASES[builtin.lower()] = function(builtin, MAP, MAP)
    FLOAT_CASES[f"{builtin.lower()}_broadcast"] = function(builtin, MAP, (4, 1, 3), const=1)
for builtin in ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"):
    FLOAT_CASES[builtin.lower()] = decided(builtin, MAP, MAP)
    FLOAT_CASES[f"{builtin.lower()}_broadcast"] = decided(builtin, MAP, (1, 1, 1, 3))
for builtin in ("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT"):
    FLOAT_CASES[builtin.lower()] = decided(builtin, MAP, MAP, select="SELECT")
for builtin in ("SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
    FLOAT_CASES[builtin.lower()] = reduction(builtin, [1, 2], False, (2, 3))
    FLOAT_CASES[f"{builtin.lower()}_apart"] = reduction(builtin, [-1, 1], True, (2, 1, 5, 1))
FLOAT_CASES |= {
    "div": function("DIV", MAP, (3,), const=1, options="DivOptions", fusedActivationFunction=NO_ACT),
    "div_relu6": function("DIV", MAP, MAP, const=1, options="DivOptions", fusedActivationFunction=RELU6),
    "gelu": function("GELU", MAP, options="GeluOptions", approximate=False),
    "gelu_approximate": function("GELU", MAP, options="GeluOptions", approximate=True),
    "prelu": function("PRELU", MAP, (1, 1, 3), const=1),
    "arg_max": place("ARG_MAX", -1, (2, 4, 5)),
    "arg_min": place("ARG_MIN", 1, (2, 5, 3)),
    "cumsum": running(1, False, False),
    "cumsum_reverse": running(-1, True, True),
    "l2_normalization": function("L2_NORMALIZATION", MAP, options="L2NormOptions"),
    "half_weights": dequantized(lambda m: m.tensor((4, 6), None, dtype="FLOAT16", data=m.rng.standard_normal((4, 6)))),
    "integer_weights": dequantized(lambda m: m.weights((4, 6), zero_point=5)),
    "log_softmax": function("LOG_SOFTMAX", (4, 9)),
    "add_n": function("ADD_N", (4, 9), (4, 9), (4, 9)),
    "floor_div": function("FLOOR_DIV", (4, 9), (9,), const=1, options="FloorDivOptions"),
    "floor_mod": function("FLOOR_MOD", (4, 9), (9,), const=1, options="FloorModOptions"),
    "reduce_any": judged("REDUCE_ANY"),
    "reduce_all": judged("REDUCE_ALL"),
    "zeros_like": plus(lambda m: m.op("ZEROS_LIKE", [floats(m, (4, 9), True)], floats(m, (4, 9)), "ZerosLikeOptions")),
    "range": plus(counted),
    "rank": plus(ranked),
    "cast_of_what_is_used": cast_of_what_is_used,
}
