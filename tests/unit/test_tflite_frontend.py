"""TFLite operators through the frontend and all passes: bit for bit what LiteRT's reference kernels compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from float_models import FLOAT_CASES
from recurrent_models import KEEPING
from tflite_integer_cases import INTEGER_CASES, OF_INT8_ALONE
from tflite_models import ModelMaker, evaluate, litert, lower, random_value
from tflite_movement_cases import MOVEMENT_CASES, moved, several, strided

from tinycompile.errors import MalformedModelError, QuantError, ShapeError, UnsupportedError
from tinycompile.frontends import load_model, supported_operators
from tinycompile.frontends.naming import MAX_PREFIX, UniqueNames, c_prefix
from tinycompile.frontends.tflite.operators import TFLITE_OPERATORS
from tinycompile.ir.graph import Graph
from tinycompile.ir.quant import Quant
from tinycompile.ops.conv2d import Conv2dAttrs

SAME, VALID = 0, 1
NO_ACT, RELU, RELU_N1, RELU6 = 0, 1, 2, 3
Case = Callable[[ModelMaker], int]
CASES: dict[str, Case] = MOVEMENT_CASES | INTEGER_CASES


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
    scale: float = 0.08,
    dtype: str = "INT8",
) -> Case:
    def build(m: ModelMaker) -> int:
        x = m.input((1, *size, 4))
        w = m.weights((6, *kernel, 4 // groups), 0 if per_channel else None, dtype)
        out = output_size(size, kernel, stride, dilation, mode)
        y = m.tensor((1, *out, 6), scale, -7)
        return m.op(
            "CONV_2D",
            [x, w, m.bias(6)],
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
    "conv_int4": conv(dtype="INT4", stride=(2, 1), scale=0.02),
    "conv_int4_grouped": conv(dtype="INT4", groups=2, scale=0.01),
}


def depthwise(multiplier: int, stride: tuple[int, int], mode: int, dilation: int = 1, dtype: str = "INT8") -> Case:
    def build(m: ModelMaker) -> int:
        size, ch = (8, 9), 3 * multiplier
        x, w = m.input((1, *size, 3)), m.weights((1, 3, 3, ch), 3, dtype)
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
    "depthwise_int4": depthwise(3, (1, 2), SAME, dtype="INT4"),
}


def fully_connected(shape: tuple[int, ...], keep: bool = False, bias: bool = True, **weights: Any) -> Case:
    def build(m: ModelMaker) -> int:
        depth = 12
        lead = int(np.prod(shape)) // depth
        x, w = m.input(shape), m.weights((5, depth), **weights)
        y = m.tensor((*shape[:-1], 5) if keep else (lead, 5), 0.2, -20)
        options = {"keepNumDims": keep, "fusedActivationFunction": RELU}
        return m.op("FULLY_CONNECTED", [x, w, m.bias(5) if bias else -1], y, "FullyConnectedOptions", **options)

    return build


CASES |= {
    "fully_connected": fully_connected((1, 12)),
    "fully_connected_flattens": fully_connected((1, 2, 2, 3)),
    "fully_connected_rows": fully_connected((4, 12)),
    "fully_connected_keeps_dims": fully_connected((1, 4, 12), keep=True),
    "fully_connected_without_bias": fully_connected((1, 12), bias=False),
    "fully_connected_per_channel": fully_connected((1, 12), axis=0),
    "fully_connected_weight_zero_point": fully_connected((1, 12), zero_point=5),
    "fully_connected_int4": fully_connected((4, 12), axis=0, dtype="INT4"),
    "fully_connected_int4_per_tensor": fully_connected((1, 12), dtype="INT4"),
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
        a, b = m.input(shapes[0]), m.input(shapes[1])
        out = list(shapes[0])
        out[axis] += 5
        return m.op("CONCATENATION", [a, b], m.tensor(out), "ConcatenationOptions", axis=axis)

    return build


CASES |= {"concat_channels": concat(3), "concat_rows": concat(1), "concat_negative_axis": concat(-1)}


def mean(axes: list[int], keep: bool, shape: tuple[int, ...], quant: tuple[float, int] = (0.04, 5)) -> Case:
    def build(m: ModelMaker) -> int:
        x = m.input((1, 6, 5, 3))
        return m.op("MEAN", [x, m.ints(axes)], m.tensor(shape, *quant), "ReducerOptions", keepDims=keep)

    return build


CASES |= {
    "mean_same_scale": mean([1, 2], False, (1, 3), (0.05, 3)),
    "mean_channels": mean([3], True, (1, 6, 5, 1)),
    "mean": mean([1, 2], False, (1, 3)),
    "mean_keep": mean([-3, 2], True, (1, 1, 1, 3)),
}


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


def assert_bit_exact(data: bytes, path: Path, runs: int, seed: int = 1) -> None:
    path.write_bytes(data)
    graph = lower(path)
    assert graph.name == path.stem
    rng = np.random.default_rng(seed)
    distinct = set()
    for _ in range(runs):
        inputs = [random_value(rng, graph.tensors[i].shape, graph.tensors[i].dtype.numpy) for i in graph.inputs]
        (want,) = litert(data, inputs)
        got = evaluate(graph, inputs)[graph.outputs[0]]
        np.testing.assert_array_equal(got.reshape(want.shape), want)
        distinct.add(want.tobytes())
    assert runs == 1 or len(distinct) > 1, "the output does not depend on the input"


@pytest.mark.parametrize("name", CASES)
def test_operator_is_bit_exact(name: str, tmp_path: Path) -> None:
    maker = ModelMaker(seed=len(name))
    assert_bit_exact(maker.build(CASES[name](maker)), tmp_path / f"{name}.tflite", 4)


# LiteRT rounds these otherwise for uint8; and it refuses the bias of the two coarse convolutions.
NOT_UNSIGNED = ("average_pool", "resize_bilinear", "conv_relu6_fine_scale", "conv_relu_n1_to_1")


@pytest.mark.parametrize(
    "name", [n for n in CASES if n not in OF_INT8_ALONE and not n.startswith(NOT_UNSIGNED) and "int4" not in n]
)
def test_uint8_operator_is_bit_exact(name: str, tmp_path: Path) -> None:
    maker = ModelMaker(seed=len(name), unsigned=True)
    assert_bit_exact(maker.build(CASES[name](maker)), tmp_path / f"{name}.tflite", 2)


# What LiteRT has no kernel of int16 for; of the first two it would only move values.
MOVES_ONLY = {"depth_to_space", "space_to_depth"}
NOT_INT16 = {"relu_n1_to_1", "relu_0_to_1", "hard_swish", "fully_connected_weight_zero_point", "depthwise_int4"}
NOT_INT16 |= {n for n in INTEGER_CASES if not n.startswith("fill")}
# The version of an operator from which LiteRT takes int16.
INT16_VERSIONS = {
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SOFTMAX", "LOGISTIC", "TANH", "ADD", "SUB"), 3),
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SHAPE"), 1),
}


def wide_model(name: str) -> bytes:
    maker = ModelMaker(seed=len(name), wide=True)
    out = CASES[name](maker)
    state_int16_versions(maker)
    return maker.build(out)


def state_int16_versions(maker: ModelMaker) -> None:
    names = {v: k for k, v in vars(maker.schema.BuiltinOperator).items() if isinstance(v, int)}
    for code in maker.model.operatorCodes:
        code.version = INT16_VERSIONS.get(names[code.builtinCode], 2)


@pytest.mark.parametrize("name", sorted(set(CASES) - NOT_INT16 - MOVES_ONLY))
def test_int16_operator_is_bit_exact(name: str, tmp_path: Path) -> None:
    assert_bit_exact(wide_model(name), tmp_path / f"{name}.tflite", 3)


@pytest.mark.parametrize("name", sorted(NOT_INT16))
def test_int16_without_a_kernel_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(wide_model(name))
    with pytest.raises(UnsupportedError, match="int16"):
        lower(path)


@pytest.mark.parametrize("name", ["average_pool_2d_same", "resize_bilinear_plain"])
def test_uint8_averages_are_refused(name: str, tmp_path: Path) -> None:
    maker = ModelMaker(unsigned=True)
    path = tmp_path / "m.tflite"
    path.write_bytes(maker.build(CASES[name](maker)))
    with pytest.raises(UnsupportedError, match="uint8"):
        load_model(path)


ROUND_SCALES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.03, 0.04, 0.06, 0.125, 0.0625, 0.15, 1 / 255, 2 / 255, 6 / 255)
ANY_SCALES = ("relu", "relu6", "relu_n1_to_1", "leaky_relu", "hard_swish", "requantize", "add_maps", "mul_maps", "mean")


@pytest.mark.parametrize("name", ANY_SCALES)
def test_ties_of_round_scales_are_bit_exact(name: str, tmp_path: Path) -> None:
    """Ratios such as 0.05 / 0.02 tie in float32 and not in double: each kernel of LiteRT divides in its own type."""
    rng = np.random.default_rng(len(name))
    for seed in range(30):
        maker = ModelMaker(seed)
        out = CASES[name](maker)
        for tensor in maker.graph.tensors:
            if tensor.quantization is not None:
                tensor.quantization.scale = rng.choice(ROUND_SCALES, 1).astype(np.float32)
                tensor.quantization.zeroPoint = rng.choice([-128, 0, 3, -7, 127], 1)
        assert_bit_exact(maker.build(out), tmp_path / "m.tflite", 1, seed)


@pytest.mark.parametrize("name", sorted(set(ANY_SCALES) - NOT_INT16))
def test_ties_of_round_scales_are_bit_exact_in_int16(name: str, tmp_path: Path) -> None:
    uneven = [s for s in ROUND_SCALES if np.frexp(s)[0] != 0.5]
    rng = np.random.default_rng(len(name))
    for seed in range(15):
        maker = ModelMaker(seed, wide=True)
        out = CASES[name](maker)
        for tensor in maker.graph.tensors:
            if tensor.quantization is not None:
                tensor.quantization.scale = rng.choice(uneven, 1).astype(np.float32)
        state_int16_versions(maker)
        assert_bit_exact(maker.build(out), tmp_path / "m.tflite", 1, seed)


def test_every_operator_of_the_table_has_a_case() -> None:
    made = set()
    for build in (*CASES.values(), *FLOAT_CASES.values(), *KEEPING.values()):
        maker = ModelMaker()
        maker.build(build(maker))
        names = {v: k for k, v in vars(maker.schema.BuiltinOperator).items() if isinstance(v, int)}
        made |= {names[c.builtinCode] for c in maker.model.operatorCodes}
    assert made == set(TFLITE_OPERATORS)
    assert supported_operators()["tflite"] == tuple(sorted(TFLITE_OPERATORS))


@pytest.mark.parametrize("builtin", ["MAXIMUM", "MINIMUM", "REDUCE_MAX", "REDUCE_MIN"])
def test_extremes_of_one_scale_are_bit_exact(builtin: str, tmp_path: Path) -> None:
    m = ModelMaker()
    x = m.input((2, 4, 3))
    if builtin.startswith("REDUCE"):
        y = m.op(builtin, [x, m.ints([1])], m.tensor((2, 3)), "ReducerOptions")
    else:
        y = m.op(builtin, [x, m.input((4, 3))], m.tensor((2, 4, 3)), "MaximumMinimumOptions")
    assert_bit_exact(m.build(y), tmp_path / "m.tflite", 3)


@pytest.mark.parametrize(
    ("builtin", "count", "options"),
    [
        ("RSQRT", 1, ""),
        ("DIV", 2, "DivOptions"),
        ("MAXIMUM", 2, ""),
        ("LOG_SOFTMAX", 1, ""),
        ("LESS", 2, ""),
        ("SUM", 1, "ReducerOptions"),
        ("REDUCE_MAX", 1, "ReducerOptions"),
        ("L2_NORMALIZATION", 1, "L2NormOptions"),
        ("CAST", 1, ""),
    ],
)
def test_functions_of_quantised_integers_are_refused(builtin: str, count: int, options: str, tmp_path: Path) -> None:
    m = ModelMaker()
    inputs = [m.input((2, 4)) for _ in range(count)]
    y = m.op(builtin, inputs, m.tensor((2, 4), 0.01), options)
    with pytest.raises(UnsupportedError, match="int8, quantised or not"):
        load(m, y, tmp_path)


def load(maker: ModelMaker, out: int, folder: Path) -> Graph:
    path = folder / "model.tflite"
    path.write_bytes(maker.build(out))
    return load_model(path)


def test_what_an_imported_graph_says(tmp_path: Path) -> None:
    maker = ModelMaker()
    x = maker.tensor((1, 8, 8, 2), 0.5, -1, name="serving_default_x:0")
    maker.graph.inputs.append(x)
    w, b = maker.weights((4, 3, 3, 2), 0), maker.bias(4)
    y = maker.tensor((1, 4, 4, 4), 0.1, 5, name="net/conv;net/bias")
    options = {"padding": SAME, "strideH": 2, "strideW": 2, "fusedActivationFunction": RELU6}
    maker.op("CONV_2D", [x, w, b], y, "Conv2DOptions", dilationHFactor=1, dilationWFactor=1, **options)
    graph = load(maker, y, tmp_path)
    (op,) = graph.ops
    assert (graph.name, graph.source_format) == ("model", "tflite")
    assert (graph.inputs, graph.outputs) == (("serving_default_x:0",), ("net/conv;net/bias",))
    assert graph.tensors[graph.inputs[0]].quant == Quant((0.5,), (-1,))
    weights = graph.tensors[op.inputs[1]]
    assert weights.quant is not None
    assert (weights.quant.axis, len(weights.quant.scale)) == (0, 4)
    # An even size and stride 2 need one row of padding in all: LiteRT puts it after.
    assert op.attrs == Conv2dAttrs((2, 2), (1, 1), (0, 1, 0, 1), 1, (5, 65))
    assert str(op.source) == "CONV_2D '0 net/conv;net/bias'"


def test_repeated_and_missing_names_are_made_unique(tmp_path: Path) -> None:
    maker = ModelMaker()
    x = maker.tensor((1, 4), name="same")
    maker.graph.inputs.append(x)
    a = maker.op("RELU", [x], maker.tensor((1, 4), name="same"))
    b = maker.op("RELU", [a], maker.tensor((1, 4), name=""))
    graph = load(maker, b, tmp_path)
    assert graph.inputs == ("same",)
    assert graph.ops[0].outputs == ("same#1",)
    assert graph.outputs == ("tensor_2",)


def test_every_unsupported_operator_is_in_one_error(tmp_path: Path) -> None:
    maker = ModelMaker()
    x = maker.input((1, 4))
    a = maker.op("RFFT2D", [x], maker.tensor((1, 4)))
    b = maker.op("RELU", [a], maker.tensor((1, 4)))
    c = maker.op("ADD", [b, b], maker.tensor((1, 4)), "AddOptions", fusedActivationFunction=4)
    d = maker.op("UNIQUE", [c], maker.tensor((1, 4)))
    half = maker.op("RELU", [maker.tensor((1, 4), None, dtype="FLOAT16", data=np.zeros((1, 4)))], maker.tensor((1, 4)))
    with pytest.raises(UnsupportedError) as raised:
        load(maker, maker.op("ADD", [d, half], maker.tensor((1, 4)), "AddOptions"), tmp_path)
    assert raised.value.what == (
        "4 unsupported: operator 0: RFFT2D; operator 2: ADD: fused activation 4; operator 3: UNIQUE; "
        "operator 4: RELU on type FLOAT16"
    )
    assert "tinycompile ops" in raised.value.fix


def test_what_depends_on_unsupported_shape_arithmetic_is_not_reported_as_well(tmp_path: Path) -> None:
    maker = ModelMaker()
    x = maker.input((1, 4))
    axes = maker.op("UNIQUE", [maker.ints([1])], maker.tensor((1,), None, dtype="INT32"))
    y = maker.op("MEAN", [x, axes], maker.tensor((1, 1)), "ReducerOptions", keepDims=True)
    with pytest.raises(UnsupportedError, match=r"^1 unsupported: operator 0: UNIQUE "):
        load(maker, y, tmp_path)


def test_weights_that_are_no_numbers_are_imported_and_refused(tmp_path: Path) -> None:
    maker = ModelMaker()
    x = maker.input((1, 4), None, dtype="FLOAT32")
    w = maker.tensor((3, 4), None, dtype="FLOAT32", data=np.full((3, 4), np.nan))
    y = maker.op("FULLY_CONNECTED", [x, w, -1], maker.tensor((1, 3), None, dtype="FLOAT32"), "FullyConnectedOptions")
    assert [op.kind for op in load(maker, y, tmp_path).ops] == ["fully_connected"]
    with pytest.raises(UnsupportedError, match="finite"):
        lower(tmp_path / "model.tflite")


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (moved("GATHER", (5, 4), (1, 4), [5], options="GatherOptions"), MalformedModelError),
        (moved("GATHER", (5, 4), (5, 1), [[0]] * 5, options="GatherOptions", axis=1, batchDims=1), UnsupportedError),
        (moved("SLICE", (5, 4), (2, 4), [4, 0], [2, 4], options="SliceOptions"), MalformedModelError),
        (moved("TILE", (5, 4), (5, 4), [2**30, 2**30]), ShapeError),
        (moved("TILE", (5, 4), (5, 4), [1, 2]), ShapeError),
        (moved("MIRROR_PAD", (2, 4), (4, 4), [[2, 0], [0, 0]], options="MirrorPadOptions"), MalformedModelError),
        (moved("BROADCAST_TO", (2, 4), (3, 4), [3, 4]), ShapeError),
        (moved("REVERSE_V2", (2, 4), (2, 4), [2]), MalformedModelError),
        (moved("SPACE_TO_BATCH_ND", (1, 5, 3), (2, 2, 3), [2], [[0, 0]]), ShapeError),
        (moved("BATCH_TO_SPACE_ND", (3, 5, 3), (1, 10, 3), [2], [[0, 0]]), ShapeError),
        (several("SPLIT", (1, 5, 3), [(1, 2, 3)] * 2, 1), MalformedModelError),
        (strided((5, 4), (2, 2), [1, 0, 0], [3, 0, 2], [1, 1, 1], ellipsisMask=2), UnsupportedError),
        (strided((5, 4), (5, 4), [0, 0], [5, 4], [1, 1], offset=True), UnsupportedError),
        (strided((5, 4), (5, 4), [0, 0, 0], [5, 4, 1], [1, 1, 1], ellipsisMask=3), MalformedModelError),
        (strided((5, 4), (5, 4), [0, 0, 0], [5, 4, 1], [1, 1, 1]), MalformedModelError),
        (moved("GATHER_ND", (5, 4), (1,), [[5, 0]]), MalformedModelError),
        (moved("GATHER_ND", (5, 4), (1,), [[1, 2, 3]]), ShapeError),
        (moved("GATHER_ND", (5, 4), (1, 4), [[-1]]), MalformedModelError),
        (strided((5, 4), (4,), [5, 0], [6, 4], [1, 1], shrinkAxisMask=1), MalformedModelError),
    ],
)
def test_movement_that_does_not_fit_is_refused(build: Case, error: type[Exception], tmp_path: Path) -> None:
    maker = ModelMaker()
    with pytest.raises(error):
        load(maker, build(maker), tmp_path)


def test_movement_between_scales_is_refused(tmp_path: Path) -> None:
    maker = ModelMaker()
    x = maker.input((5, 4), 0.5)
    with pytest.raises(UnsupportedError, match="other quantisation parameters"):
        load(maker, maker.op("REVERSE_V2", [x, maker.ints([1])], maker.tensor((5, 4), 0.25)), tmp_path)


def test_an_open_batch_is_one_and_other_open_dimensions_are_refused(tmp_path: Path) -> None:
    maker = ModelMaker()
    x = maker.input((1, 4))
    y = maker.op("RELU", [x], maker.tensor((1, 4)))
    maker.graph.tensors[x].shapeSignature = [-1, 4]
    assert load(maker, y, tmp_path).tensors["t0"].shape == (1, 4)
    maker.graph.tensors[x].shapeSignature = [1, -1]
    with pytest.raises(ShapeError, match="not static"):
        load(maker, y, tmp_path)


def test_weights_that_litert_reads_without_their_zero_point_are_refused(tmp_path: Path) -> None:
    maker = ModelMaker()
    x, w = maker.input((1, 4, 4, 2)), maker.weights((3, 1, 1, 2), zero_point=4)
    options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    y = maker.op("CONV_2D", [x, w, maker.bias(3)], maker.tensor((1, 4, 4, 3)), "Conv2DOptions", **options)
    with pytest.raises(QuantError, match="zero point"):
        load(maker, y, tmp_path)


@pytest.mark.parametrize(
    ("stem", "prefix"),
    [
        ("mlperf_kws_int8", "mlperf_kws_int8"),
        ("Model-V2 (final)", "model_v2_final"),
        ("2fast", "model_2fast"),
        ("switch", "model_switch"),
        ("class", "model_class"),
        ("tc_requantize", "model_tc_requantize"),
        ("", "model"),
        ("***", "model"),
        ("模型", "model"),
        ('a"; system("x"); /*', "a_system_x"),
    ],
)
def test_c_prefix(stem: str, prefix: str) -> None:
    assert c_prefix(stem) == prefix


def test_c_prefix_of_a_long_name_is_short() -> None:
    assert c_prefix("x" * 10_000) == "x" * MAX_PREFIX


def test_unique_names_are_unique_and_quick() -> None:
    names = UniqueNames()
    taken = [names.take("a") for _ in range(50_000)]
    taken += [names.take("a#1"), names.take(""), names.take("tensor")]
    assert len(set(taken)) == len(taken)
