"""TFLite models of one int8 operator that computes, made in code, by name; LiteRT's kernels give the same integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


INTEGER_CASES: dict[str, Case] = {
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
