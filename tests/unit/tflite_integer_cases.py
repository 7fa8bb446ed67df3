"""TFLite models of one int8 operator that computes, made in code, by name; LiteRT's kernels give the same integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tflite_models import ModelMaker

Case = Callable[[ModelMaker], int]
SAME, VALID = 0, 1
RELU6 = 3


def transpose_conv(
    mode: int,
    out: tuple[int, int],
    bias: bool = True,
    per_channel: bool = True,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (2, 2),
    activation: int = 0,
) -> Case:
    def build(m: ModelMaker) -> int:
        x, w = m.input((1, 4, 5, 3)), m.weights((2, *kernel, 3), 0 if per_channel else None)
        options: dict[str, Any] = {"padding": mode, "strideH": stride[0], "strideW": stride[1]}
        inputs = [m.ints([1, *out, 2]), w, x, *([m.bias(2)] if bias else [])]
        return m.op(
            "TRANSPOSE_CONV",
            inputs,
            m.tensor((1, *out, 2), 0.06, -9),
            "TransposeConvOptions",
            fusedActivationFunction=activation,
            **options,
        )

    return build


def prelu(alpha: tuple[int, ...], scale: float = 0.01, shape: tuple[int, ...] = (1, 5, 4, 6)) -> Case:
    def build(m: ModelMaker) -> int:
        x, slopes = m.input(shape), m.tensor(alpha, scale, -3, data=m.rng.integers(-128, 128, alpha))
        return m.op("PRELU", [x, slopes], m.tensor(shape, 0.041, -6))

    return build


def unary(builtin: str, scale: float, zero_point: int, options: str = "", **fields: Any) -> Case:
    def build(m: ModelMaker) -> int:
        y = m.tensor((1, 8, 8, 12), scale, zero_point)
        return m.op(builtin, [m.input((1, 8, 8, 12))], y, options, **fields)

    return build


def batch_matmul(first: bool, second: bool, const: bool = False) -> Case:
    def build(m: ModelMaker) -> int:
        a = m.input((2, 4, 3) if first else (2, 3, 4))
        shape = (2, 5, 4) if second else (2, 4, 5)
        b = m.weights(shape, zero_point=7) if const else m.input(shape, 0.02, -100)
        return m.op("BATCH_MATMUL", [a, b], m.tensor((2, 3, 5), 0.09, 4), "BatchMatMulOptions", adjX=first, adjY=second)

    return build


def squared_difference(other: tuple[int, ...]) -> Case:
    def build(m: ModelMaker) -> int:
        inputs = [m.input((1, 5, 4, 6)), m.input(other, 0.031, -17)]
        return m.op("SQUARED_DIFFERENCE", inputs, m.tensor((1, 5, 4, 6), 0.2, -128))

    return build


def places_at_run_time(m: ModelMaker, shape: tuple[int, ...]) -> int:
    """0, 1 or 2, by where the largest of three int8 values is."""
    x, places = m.input((*shape, 3)), m.tensor(shape, None, dtype="INT32")
    return m.op("ARG_MAX", [x, m.ints(-1)], places, "ArgMaxOptions", outputType=2)


def gather_at_run_time(axis: int, after: tuple[int, ...], const: bool = False) -> Case:
    def build(m: ModelMaker) -> int:
        at = places_at_run_time(m, (4,))
        x = m.weights((5, 3, 6)) if const else m.input((5, 3, 6), 0.01, 0)
        return m.op("GATHER", [x, at], m.tensor(after, 0.01, 0), "GatherOptions", axis=axis)

    return build


def gather_nd_at_run_time(m: ModelMaker) -> int:
    at, x = places_at_run_time(m, (4, 2)), m.input((5, 3, 6))
    return m.op("GATHER_ND", [x, at], m.tensor((4, 6)))


def embedding(m: ModelMaker) -> int:
    table = m.weights((5, 6))
    return m.op("EMBEDDING_LOOKUP", [places_at_run_time(m, (4,)), table], m.tensor((4, 6), 0.01, 0))


def chosen(m: ModelMaker) -> int:
    """Of two tensors of one scale, by a comparison of places."""
    places = [places_at_run_time(m, (4, 3)) for _ in range(2)]
    less = m.op("LESS", places, m.tensor((4, 3), None, dtype="BOOL"))
    return m.op("SELECT_V2", [less, m.input((4, 3)), m.input((4, 3))], m.tensor((4, 3)))


def smallest_place(m: ModelMaker) -> int:
    places = m.tensor((2, 3), None, dtype="INT32")
    m.op("ARG_MIN", [m.input((2, 5, 3)), m.ints(1)], places, "ArgMinOptions", outputType=2)
    return places


def filled(m: ModelMaker) -> int:
    value = m.tensor((), 0.05, 3, data=np.array(77))
    constant = m.op("FILL", [m.ints([2, 3]), value], m.tensor((2, 3)))
    return m.op("ADD", [m.input((2, 3)), constant], m.tensor((2, 3), 0.08), "AddOptions")


def then_relu(case: Case) -> Case:
    """A relu of the same scale, which the operator takes in."""

    def build(m: ModelMaker) -> int:
        x = case(m)
        tensor = m.graph.tensors[x]
        scale, zero_point = tensor.quantization.scale[0], int(tensor.quantization.zeroPoint[0]) - 128 * m.unsigned
        return m.op("RELU", [x], m.tensor(tensor.shape, float(scale), zero_point))

    return build


INTEGER_CASES: dict[str, Case] = {
    "transpose_conv_relu": then_relu(transpose_conv(SAME, (8, 10))),
    "prelu_relu": then_relu(prelu((1, 1, 6))),
    "squared_difference_relu": then_relu(squared_difference((1, 5, 4, 6))),
    "gather_at_run_time": gather_at_run_time(0, (4, 3, 6)),
    "gather_inside_at_run_time": gather_at_run_time(1, (5, 4, 6)),
    "gather_of_a_constant": gather_at_run_time(0, (4, 3, 6), True),
    "gather_nd_at_run_time": gather_nd_at_run_time,
    "embedding_lookup": embedding,
    "select_v2_int8": chosen,
    "arg_min_int8": smallest_place,
    "fill": filled,
    "abs": unary("ABS", 0.04, -100),
    "exp": unary("EXP", 0.3, -128),
    "log": unary("LOG", 0.02, 40),
    "gelu": unary("GELU", 0.04, -90, "GeluOptions"),
    "gelu_approximate": unary("GELU", 0.04, -90, "GeluOptions", approximate=True),
    "batch_matmul": batch_matmul(False, False),
    "batch_matmul_exchanged": batch_matmul(True, True),
    "batch_matmul_constant": batch_matmul(False, True, True),
    "squared_difference": squared_difference((1, 5, 4, 6)),
    "squared_difference_broadcast": squared_difference((1, 1, 1, 6)),
    "prelu_channels": prelu((1, 1, 6)),
    "prelu_scalar": prelu((1, 1, 1), 0.2),
    "prelu_map": prelu((5, 4, 6), 0.003),
    "prelu_columns": prelu((4, 1), 0.02),
    "prelu_vector": prelu((10,), 0.02, (1, 10)),
    "transpose_conv_same": transpose_conv(SAME, (8, 10)),
    "transpose_conv_same_odd": transpose_conv(SAME, (7, 9), False),
    "transpose_conv_valid": transpose_conv(VALID, (9, 11), per_channel=False),
    "transpose_conv_even": transpose_conv(SAME, (8, 15), kernel=(2, 4), stride=(2, 3)),
    "transpose_conv_relu6": transpose_conv(VALID, (9, 11), activation=RELU6),
}

OF_INT8_ALONE = {n for n in INTEGER_CASES if not n.startswith(("transpose_conv", "prelu", "fill"))}
