"""The corpus's first files, made in code: ``python tests/fuzz/seeds.py`` writes them again, the same to the byte.

Small valid models that together reach every importer of a compute operator and most of the passes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "unit")]

import onnx_models  # noqa: E402
import recurrent_models  # noqa: E402
import tflite_integer_cases  # noqa: E402
import tflite_models  # noqa: E402
from compiling import CORPUS  # noqa: E402

from tinycompile.quantize.write_onnx import in_halves  # noqa: E402


def onnx_qdq_network() -> bytes:
    m = onnx_models.ModelMaker([1, 3, 8, 8])
    x = m.qdq("x")
    a = m.qdq(m.node("Conv", x, m.qweight(4, 3, 3, 3, axis=0), pads=[1] * 4))
    b = m.qdq(m.node("Conv", a, m.qweight(4, 1, 3, 3, axis=0), pads=[1] * 4, group=4))
    c = m.qdq(m.node("Relu", m.node("Add", a, b)))
    d = m.qdq(m.node("MaxPool", c, kernel_shape=[2, 2], strides=[2, 2]))
    e = m.qdq(m.node("Concat", d, d, axis=1))
    f = m.qdq(m.node("Flatten", m.qdq(m.node("GlobalAveragePool", e))))
    g = m.qdq(m.node("Gemm", f, m.qweight(5, 8), transB=1))
    return serialized(m.model(m.qdq(m.node("Softmax", g, axis=-1), 1 / 256, -128)))


def onnx_folding() -> bytes:
    """A shape computed in the graph, padding, clipping and a transpose."""
    m = onnx_models.ModelMaker([1, 3, 6, 6], 1)
    x = m.qdq(m.node("Pad", m.qdq("x"), m.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])), m.const(np.float32(0))))
    a = m.node("Conv", x, m.qweight(4, 3, 3, 3, axis=0))
    c = m.qdq(m.node("Clip", a, m.const(np.float32(0)), m.const(np.float32(6))))
    shape = m.node("Shape", c)
    batch = m.node("Gather", shape, m.const(np.array([0])))
    target = m.node("Concat", batch, m.const(np.array([-1])), axis=0)
    d = m.node("Reshape", m.node("Transpose", c, perm=[0, 2, 3, 1]), target)
    return serialized(m.model(m.qdq(m.node("MatMul", d, m.qweight(144, 3)))))


def onnx_elementwise() -> bytes:
    m = onnx_models.ModelMaker([1, 2, 4, 4], 2)
    x = m.qdq("x")
    a, b = m.qdq(m.node("Sigmoid", x), 1 / 256, -128), m.qdq(m.node("Tanh", x), 1 / 128, 0)
    c = m.qdq(m.node("Sub", m.qdq(m.node("Mul", a, b)), m.qdq(m.node("LeakyRelu", x, alpha=0.1))))
    scales = m.const(np.array([1, 1, 2, 2], dtype=np.float32))
    mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    d = m.qdq(m.node("Resize", c, "", scales, **mode))
    e = m.qdq(m.node("AveragePool", d, kernel_shape=[2, 2], strides=[2, 2]))
    return serialized(m.model(m.qdq(m.node("ReduceMean", e, axes=[2, 3], keepdims=0))))


def onnx_qoperator() -> bytes:
    """QLinear operators of ONNX and of com.microsoft."""
    m = onnx_models.ModelMaker([1, 3, 6, 6], 3)
    s, z, ws, wz = (m.const(v) for v in (np.float32(0.05), np.int8(3), np.float32(0.01), np.int8(0)))
    w = m.const(m.rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8))
    b = m.const(m.rng.integers(-500, 500, 4).astype(np.int32))
    q = m.node("QuantizeLinear", "x", s, z)
    c = m.node("QLinearConv", q, s, z, w, ws, wz, s, z, b, pads=[1] * 4)
    a = m.node("QLinearAdd", c, s, z, c, s, z, s, z, domain="com.microsoft")
    p = m.node("QLinearGlobalAveragePool", a, s, z, s, z, domain="com.microsoft")
    return serialized(m.model(m.node("DequantizeLinear", p, s, z)))


def onnx_local_function() -> bytes:
    """A model-local function, and a second operator set."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    body = [helper.make_node("QuantizeLinear", ["v", "s", "z"], ["q"])]
    body += [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"])]
    function = helper.make_function("local", "FakeQuantize", ["v", "s", "z"], ["w"], body, opsets)
    nodes = [helper.make_node("FakeQuantize", ["x", "s", "z"], ["a"], domain="local")]
    nodes += [helper.make_node("Relu", ["a"], ["b"])]
    nodes += [helper.make_node("FakeQuantize", ["b", "s", "z"], ["y"], domain="local")]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, 4, 4]) for n in "xy")
    s = helper.make_tensor("s", TensorProto.FLOAT, [], [0.1])
    z = helper.make_tensor("z", TensorProto.INT8, [], [2])
    graph = helper.make_graph(nodes, "g", [x], [y], [s, z])
    return serialized(helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=9))


def onnx_float_network() -> bytes:
    m = onnx_models.ModelMaker([1, 3, 6, 6], 4)
    a = m.node("Conv", "x", m.weight(4, 3, 3, 3), m.weight(4), pads=[1] * 4, strides=[2, 2])
    ones, zeros = m.const(np.ones(4, dtype=np.float32)), m.const(np.zeros(4, dtype=np.float32))
    b = m.node("Relu", m.node("BatchNormalization", a, ones, zeros, zeros, ones))
    c = m.node("ConvTranspose", b, m.weight(4, 2, 2, 2), strides=[2, 2])
    d = m.node("Resize", b, "", m.const(np.array([1, 1, 2, 2], dtype=np.float32)), mode="linear")
    e = m.node("Concat", c, d, axis=1)
    f = m.node("MaxPool", m.node("PRelu", e, m.weight(6, 1, 1)), kernel_shape=[2, 2], strides=[2, 2])
    g = m.node("Flatten", m.node("GlobalAveragePool", f))
    h = m.node("Gemm", g, m.weight(6, 5), m.weight(5))
    return serialized(m.model(m.node("Softmax", m.node("MatMul", h, m.weight(5, 5)))))


def onnx_float_functions() -> bytes:
    """Functions of one and two operands, comparisons and choices."""
    m = onnx_models.ModelMaker([1, 2, 3, 4], 5, opset=20)
    x, value = "x", m.const(np.array([0.5, 1, 2, 3], dtype=np.float32))
    for kind in ("Abs", "Sqrt", "Exp", "Erf", "Gelu", "HardSigmoid", "Round", "Softplus", "Sin", "Elu"):
        x = m.node(kind, x)
    a = m.node("Min", m.node("Pow", m.node("Max", x, value), value), value)
    b = m.node("Div", m.node("Neg", a), m.node("Sum", a, x, value))
    chosen = m.node("And", m.node("Less", b, value), m.node("Not", m.node("IsNaN", b)))
    c = m.node("Where", chosen, a, b)
    return serialized(m.model(m.node("Mod", m.node("Cast", m.node("Cast", c, to=6), to=1), value, fmod=1)))


def onnx_reductions() -> bytes:
    m = onnx_models.ModelMaker([1, 4, 6], 6, opset=18)
    a = m.node("LayerNormalization", "x", m.weight(6), m.weight(6), axis=-1)
    b = m.node("InstanceNormalization", a, m.weight(4), m.weight(4))
    c = m.node("ReduceMax", b, m.const(np.array([1])), keepdims=1)
    d = m.node("ReduceLogSumExp", b, m.const(np.array([-1])), keepdims=1)
    e = m.node("CumSum", m.node("Sub", b, c), m.const(np.array(2)))
    f = m.node("Softmax", m.node("Mul", e, d), axis=1)
    g = m.node("ReduceSum", f, m.const(np.array([1, 2])), keepdims=0)
    h = m.node("Cast", m.node("ArgMax", f, axis=2, keepdims=0), to=1)
    return serialized(m.model(m.node("Add", h, m.node("Unsqueeze", g, m.const(np.array([1]))))))


def onnx_selection() -> bytes:
    """Slices, padding, gathering, repetition and other movement by constant indices."""
    m = onnx_models.ModelMaker([1, 4, 4, 6], 7)
    ends = [m.const(np.array(v)) for v in ([0, 1], [4, 9], [1, 3], [1, 2])]
    a = m.node("Slice", "x", *ends)
    b = m.node("Pad", a, m.const(np.array([0, 0, 1, 1, 0, 0, 1, 0])), mode="reflect")
    c = m.node("Gather", b, m.const(np.array([3, 0, 0, 2])), axis=1)
    d = m.node("DepthToSpace", c, blocksize=2)
    e = m.node("Tile", m.node("SpaceToDepth", d, blocksize=4), m.const(np.array([1, 1, 2, 1])))
    f = m.node("Expand", m.node("Trilu", e), m.const(np.array([1, 1, 1, 1])))
    g = m.node("Squeeze", m.node("Transpose", f, perm=[0, 2, 3, 1]), m.const(np.array([0])))
    m.nodes.append(helper.make_node("Split", [g], ["front", "back"], axis=-1))
    return serialized(m.model("front", m.node("Reshape", "back", m.const(np.array([-1])))))


def onnx_int4() -> bytes:
    """Weights of 4 bits, signed per channel, unsigned with one block of scales for each output."""
    m = onnx_models.ModelMaker([1, 3, 5, 5], 4, opset=21)

    def packed(elem: int, shape: tuple[int, ...], name: str) -> str:
        data = in_halves(m.rng.integers(-8, 8, shape))
        m.initializers.append(helper.make_tensor(name, elem, shape, data, raw=True))
        return name

    scales = m.const(np.linspace(0.05, 0.2, 5, dtype=np.float32))
    w = m.node("DequantizeLinear", packed(TensorProto.INT4, (5, 3, 3, 3), "w"), scales, axis=0)
    y = m.node("Flatten", m.qdq(m.node("Relu", m.qdq(m.node("Conv", m.qdq("x"), w)))))
    blocks = m.const(np.linspace(0.01, 0.1, 3, dtype=np.float32)[None])
    zero = helper.make_tensor("zero", TensorProto.UINT4, (1, 3), in_halves(np.full(3, 8)), raw=True)
    m.initializers.append(zero)
    data = packed(TensorProto.UINT4, (45, 3), "v")
    v = m.node("DequantizeLinear", data, blocks, "zero", axis=0, block_size=45)
    return serialized(m.model(m.qdq(m.node("MatMul", y, v))))


def serialized(model: Any) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))


STRIDES = {"strideH": 1, "strideW": 1}


def tflite_network() -> bytes:
    m = tflite_models.ModelMaker(0)
    x = m.op("QUANTIZE", [m.input((1, 8, 8, 3), None, dtype="FLOAT32")], m.tensor((1, 8, 8, 3)))
    conv = {**STRIDES, "dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": 1}
    a = m.op(
        "CONV_2D", [x, m.weights((4, 3, 3, 3), 0), m.bias(4)], m.tensor((1, 8, 8, 4), 0.1), "Conv2DOptions", **conv
    )
    b = m.op(
        "DEPTHWISE_CONV_2D",
        [a, m.weights((1, 3, 3, 4), 3), m.bias(4)],
        m.tensor((1, 8, 8, 4), 0.1),
        "DepthwiseConv2DOptions",
        depthMultiplier=1,
        **conv,
    )
    c = m.op("ADD", [a, b], m.tensor((1, 8, 8, 4), 0.2), "AddOptions", fusedActivationFunction=3)
    d = m.op("CONCATENATION", [c, c], m.tensor((1, 8, 8, 8), 0.2), "ConcatenationOptions", axis=3)
    pool = {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    e = m.op("MAX_POOL_2D", [d], m.tensor((1, 4, 4, 8), 0.2), "Pool2DOptions", **pool)
    f = m.op("MEAN", [e, m.ints([1, 2])], m.tensor((1, 8), 0.15), "ReducerOptions", keepDims=False)
    g = m.op("FULLY_CONNECTED", [f, m.weights((5, 8)), m.bias(5)], m.tensor((1, 5), 0.3), "FullyConnectedOptions")
    h = m.op("SOFTMAX", [g], m.tensor((1, 5), 1 / 256, -128), "SoftmaxOptions", beta=1.0)
    return m.build(m.op("DEQUANTIZE", [h], m.tensor((1, 5), None, dtype="FLOAT32")))


def tflite_movement() -> bytes:
    """Padding, resizing, slicing, transposing and reshaping."""
    m = tflite_models.ModelMaker(1)
    a = m.op("PAD", [m.input((1, 4, 4, 2)), m.ints([[0, 0], [1, 1], [1, 1], [0, 0]])], m.tensor((1, 6, 6, 2)))
    b = m.op(
        "RESIZE_NEAREST_NEIGHBOR",
        [a, m.ints([12, 12])],
        m.tensor((1, 12, 12, 2)),
        "ResizeNearestNeighborOptions",
        halfPixelCenters=True,
    )
    c = m.op("TRANSPOSE", [b, m.ints([0, 3, 1, 2])], m.tensor((1, 2, 12, 12)), "TransposeOptions")
    d = m.op("RESHAPE", [c, m.ints([1, 288])], m.tensor((1, 288)), "ReshapeOptions", newShape=[1, 288])
    e = m.op("EXPAND_DIMS", [d, m.ints(1)], m.tensor((1, 1, 288)), "ExpandDimsOptions")
    return m.build(m.op("SQUEEZE", [e], m.tensor((1, 288)), "SqueezeOptions", squeezeDims=[1]))


def tflite_elementwise(unsigned: bool = False) -> bytes:
    m = tflite_models.ModelMaker(2, unsigned)
    x = m.input((1, 4, 4, 2))
    a = m.op("LOGISTIC", [x], m.tensor((1, 4, 4, 2), 1 / 256, -128))
    b = m.op("TANH", [x], m.tensor((1, 4, 4, 2), 1 / 128, 0))
    c = m.op("MUL", [a, b], m.tensor((1, 4, 4, 2), 0.01), "MulOptions")
    d = m.op("SUB", [c, x], m.tensor((1, 4, 4, 2), 0.06), "SubOptions")
    e = m.op("HARD_SWISH", [d], m.tensor((1, 4, 4, 2), 0.04), "HardSwishOptions")
    f = m.op("LEAKY_RELU", [e], m.tensor((1, 4, 4, 2), 0.04), "LeakyReluOptions", alpha=0.1)
    pool = {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    kind = "MAX_POOL_2D" if unsigned else "AVERAGE_POOL_2D"  # TFLite rounds a mean of uint8 in its own way
    return m.build(m.op(kind, [f], m.tensor((1, 2, 2, 2), 0.04), "Pool2DOptions", **pool))


def tflite_floats() -> bytes:
    m = tflite_models.ModelMaker(3)

    def floats(*shape: int, const: bool = False) -> int:
        return m.tensor(shape, None, dtype="FLOAT32", data=m.rng.standard_normal(shape) if const else None)

    x = m.input((1, 4, 4, 2), None, dtype="FLOAT32")
    conv = {**STRIDES, "dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": 3}
    w, bias = floats(3, 3, 3, 2, const=True), floats(3, const=True)
    a = m.op("CONV_2D", [x, w, bias], floats(1, 4, 4, 3), "Conv2DOptions", **conv)
    up = {"strideH": 2, "strideW": 2}
    inputs = [m.ints([1, 8, 8, 2]), floats(2, 2, 2, 3, const=True), a]
    b = m.op("TRANSPOSE_CONV", inputs, floats(1, 8, 8, 2), "TransposeConvOptions", **up)
    half = {"halfPixelCenters": True}
    c = m.op("RESIZE_BILINEAR", [b, m.ints([4, 4])], floats(1, 4, 4, 2), "ResizeBilinearOptions", **half)
    d = m.op("MUL", [m.op("LOGISTIC", [c], floats(1, 4, 4, 2)), x], floats(1, 4, 4, 2), "MulOptions")
    e = m.op("RESHAPE", [d, m.ints([2, 4, 4])], floats(2, 4, 4), "ReshapeOptions", newShape=[2, 4, 4])
    adj = {"adjX": False, "adjY": True}
    f = m.op("BATCH_MATMUL", [e, e], floats(2, 4, 4), "BatchMatMulOptions", **adj)
    return m.build(m.op("SOFTMAX", [f], floats(2, 4, 4), "SoftmaxOptions", beta=1.0))


def tflite_kept(integer: bool) -> bytes:
    """Operators that keep variable tensors."""
    m = tflite_models.ModelMaker(9)
    outputs = [recurrent_models.lstm(m, integer), recurrent_models.svdf(m, integer)]
    return m.build(*outputs, *([] if integer else [recurrent_models.rnn(m)]))


def tflite_integers() -> bytes:
    """int8 operators that have kernels of their own, and places made at run time."""
    m = tflite_models.ModelMaker(10)
    cases = tflite_integer_cases.INTEGER_CASES
    names = ("transpose_conv_same", "prelu_channels", "batch_matmul", "squared_difference_broadcast", "gelu", "fill")
    names = (*names, "gather_at_run_time", "gather_nd_at_run_time", "embedding_lookup", "select_v2_int8")
    return m.build(*(cases[name](m) for name in names))


def tflite_int4() -> bytes:
    m = tflite_models.ModelMaker(5)
    conv = {**STRIDES, "dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": 1}
    w = m.weights((4, 3, 3, 3), 0, "INT4")
    x = m.op("CONV_2D", [m.input((1, 5, 5, 3)), w, m.bias(4)], m.tensor((1, 5, 5, 4)), "Conv2DOptions", **conv)
    v = m.weights((5, 100), None, "INT4")
    return m.build(m.op("FULLY_CONNECTED", [x, v, m.bias(5)], m.tensor((1, 5), 0.3), "FullyConnectedOptions"))


SEEDS = {
    "onnx/seed-qdq-network.onnx": onnx_qdq_network,
    "onnx/seed-folding.onnx": onnx_folding,
    "onnx/seed-elementwise.onnx": onnx_elementwise,
    "onnx/seed-qoperator.onnx": onnx_qoperator,
    "onnx/seed-local-function.onnx": onnx_local_function,
    "onnx/seed-float-network.onnx": onnx_float_network,
    "onnx/seed-float-functions.onnx": onnx_float_functions,
    "onnx/seed-reductions.onnx": onnx_reductions,
    "onnx/seed-selection.onnx": onnx_selection,
    "onnx/seed-int4.onnx": onnx_int4,
    "tflite/seed-network.tflite": tflite_network,
    "tflite/seed-movement.tflite": tflite_movement,
    "tflite/seed-elementwise.tflite": tflite_elementwise,
    "tflite/seed-elementwise-uint8.tflite": lambda: tflite_elementwise(unsigned=True),
    "tflite/seed-floats.tflite": tflite_floats,
    "tflite/seed-integers.tflite": tflite_integers,
    "tflite/seed-kept.tflite": lambda: tflite_kept(True),
    "tflite/seed-kept-floats.tflite": lambda: tflite_kept(False),
    "tflite/seed-int4.tflite": tflite_int4,
}

if __name__ == "__main__":
    for name, make in SEEDS.items():
        (CORPUS / name).parent.mkdir(parents=True, exist_ok=True)
        (CORPUS / name).write_bytes(make())
