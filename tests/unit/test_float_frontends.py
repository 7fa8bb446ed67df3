"""Float models of both formats through the frontends and all passes, against LiteRT and onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models
import pytest
import tflite_models
from float_models import FLOAT_CASES, NO_REFERENCE
from onnx import TensorProto, helper
from onnx_models import Array, ModelMaker, kinds, lower, runtime

from tinycompile.ir.graph import Graph

TOLERANCE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize("name", FLOAT_CASES)
def test_tflite_operator(name: str, tmp_path: Path) -> None:
    maker = tflite_models.ModelMaker(seed=len(name))
    data = maker.build(FLOAT_CASES[name](maker))
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    graph = tflite_models.lower(path)
    kernels = "BUILTIN_WITHOUT_DEFAULT_DELEGATES" if name in NO_REFERENCE else "BUILTIN_REF"
    rng = np.random.default_rng(3)
    for _ in range(3):
        inputs = [rng.normal(0, 2, graph.tensors[i].shape).astype(np.float32) for i in graph.inputs]
        (want,) = tflite_models.litert(data, inputs, kernels)
        got = tflite_models.evaluate(graph, inputs)[graph.outputs[0]]
        np.testing.assert_allclose(got.reshape(want.shape), want, **TOLERANCE)


def assert_onnxruntime(model: Any, folder: Path, shapes: dict[str, list[int]]) -> Graph:
    """The lowered model, whose output is onnxruntime's."""
    path = folder / "m.onnx"
    onnx.save(model, path)
    graph = lower(path)
    rng, outputs = np.random.default_rng(5), set()
    for _ in range(3):
        values: dict[str, Array] = {n: rng.normal(0, 2, s).astype(np.float32) for n, s in shapes.items()}
        (want,) = runtime(path, values)
        got = onnx_models.evaluate(graph, list(values.values()))[graph.outputs[0]]
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, **TOLERANCE)
        outputs.add(want.tobytes())
    assert len(outputs) > 1, "the output does not depend on the input"
    return graph


def of_one(folder: Path, shape: list[int], kind: str, *weights: tuple[int, ...], **attrs: Any) -> Graph:
    m = ModelMaker(shape, 4, opset=19)
    return assert_onnxruntime(
        m.model(m.node(kind, "x", *(m.weight(*w) for w in weights), **attrs)), folder, {"x": shape}
    )


WINDOWED: dict[str, tuple[list[int], str, list[tuple[int, ...]], dict[str, Any]]] = {
    "conv": ([1, 3, 8, 7], "Conv", [(4, 3, 3, 3), (4,)], {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    "conv_groups": ([1, 4, 8, 7], "Conv", [(6, 2, 3, 3)], {"group": 2, "dilations": [2, 1]}),
    "conv_depthwise": ([1, 4, 8, 7], "Conv", [(8, 1, 3, 3), (8,)], {"group": 4, "auto_pad": "SAME_LOWER"}),
    "conv_sequence": ([1, 3, 12], "Conv", [(4, 3, 3)], {"pads": [4, 0], "dilations": [2]}),
    "transposed": ([1, 3, 4, 5], "ConvTranspose", [(3, 2, 3, 3), (2,)], {"strides": [2, 2], "pads": [1, 0, 0, 1]}),
    "transposed_padding": (
        [1, 3, 4, 5],
        "ConvTranspose",
        [(3, 2, 3, 3)],
        {"strides": [3, 2], "output_padding": [2, 1]},
    ),
    "transposed_shape": ([1, 1, 3, 3], "ConvTranspose", [(1, 2, 3, 3)], {"strides": [3, 2], "output_shape": [10, 8]}),
    "transposed_upper": ([1, 1, 3, 3], "ConvTranspose", [(1, 2, 4, 3)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "transposed_lower": ([1, 1, 3, 3], "ConvTranspose", [(1, 2, 4, 3)], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    "transposed_groups": ([1, 4, 3, 3], "ConvTranspose", [(4, 3, 2, 2), (6,)], {"group": 2, "dilations": [2, 2]}),
    "transposed_sequence": ([1, 3, 6], "ConvTranspose", [(3, 2, 4), (2,)], {"strides": [2], "pads": [1, 1]}),
    "max": ([1, 3, 8, 7], "MaxPool", [], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    "max_ceil": ([1, 3, 8, 7], "MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "max_dilated": ([1, 3, 8, 7], "MaxPool", [], {"kernel_shape": [2, 2], "dilations": [3, 2]}),
    "average": ([1, 3, 8, 7], "AveragePool", [], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    "average_include": (
        [1, 3, 8, 7],
        "AveragePool",
        [],
        {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1},
    ),
    "average_ceil": (
        [1, 3, 8, 8],
        "AveragePool",
        [],
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1, "count_include_pad": 1},
    ),
    "average_ceil_inside": (
        [1, 3, 8, 8],
        "AveragePool",
        [],
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    ),
    "average_dilated": (
        [1, 3, 9, 8],
        "AveragePool",
        [],
        {"kernel_shape": [2, 3], "dilations": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ),
    "average_sequence": ([1, 3, 9], "AveragePool", [], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    "global_max": ([1, 3, 8, 7], "GlobalMaxPool", [], {}),
    "gemm": ([2, 6], "Gemm", [(6, 4), (4,)], {}),
    "gemm_transposed": ([2, 6], "Gemm", [(4, 6), (4,)], {"transB": 1}),
    "gemm_both_transposed": ([6, 2], "Gemm", [(4, 6)], {"transA": 1, "transB": 1}),
    "matmul": ([2, 3, 6], "MatMul", [(6, 4)], {}),
    "matmul_vector": ([6], "MatMul", [(6, 4)], {}),
    "matmul_by_vector": ([3, 6], "MatMul", [(6,)], {}),
    "matmul_batched": ([2, 3, 6], "MatMul", [(2, 6, 4)], {}),
}


@pytest.mark.parametrize("name", WINDOWED)
def test_onnx_operator(name: str, tmp_path: Path) -> None:
    shape, kind, weights, attrs = WINDOWED[name]
    of_one(tmp_path, shape, kind, *weights, **attrs)


@pytest.mark.parametrize("mode", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("kind", ["nearest", "linear"])
def test_onnx_resize(kind: str, mode: str, tmp_path: Path) -> None:
    m = ModelMaker([1, 2, 5, 4], 1)
    sizes = m.const(np.array([1, 2, 8, 7], dtype=np.int64))
    y = m.node("Resize", "x", "", "", sizes, mode=kind, coordinate_transformation_mode=mode)
    assert_onnxruntime(m.model(y), tmp_path, {"x": [1, 2, 5, 4]})


@pytest.mark.parametrize(
    ("a", "b"), [([3, 4], [4, 5]), ([2, 3, 4], [2, 4, 5]), ([2, 1, 3, 4], [3, 4, 5]), ([4], [4, 5]), ([2, 3, 4], [4])]
)
def test_products_of_two_inputs(a: list[int], b: list[int], tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["y"])],
        "made",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("a", a), ("b", b))],
        [helper.make_value_info("y", helper.make_tensor_type_proto(TensorProto.FLOAT, None))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert "matmul" in kinds(assert_onnxruntime(model, tmp_path, {"a": a, "b": b}))


def test_a_batch_norm_an_activation_and_a_pad_are_folded(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 8, 7], 2)
    pads = m.const(np.array([0, 0, 1, 0, 0, 0, 0, 2], dtype=np.int64))
    y = m.node("Conv", m.node("Pad", "x", pads), m.weight(4, 3, 3, 3))
    spread = m.const(np.abs(m.rng.standard_normal(4)).astype(np.float32) + np.float32(0.5))
    y = m.node("BatchNormalization", y, m.weight(4), m.weight(4), m.weight(4), spread)
    y = m.node("Clip", y, m.const(np.float32(-0.5)), m.const(np.float32(0.75)))
    graph = assert_onnxruntime(m.model(y), tmp_path, {"x": [1, 3, 8, 7]})
    assert kinds(graph) == ["transpose", "conv2d", "transpose"]
    assert graph.ops[1].attrs.clamp == (-0.5, 0.75)  # type: ignore[attr-defined]
    assert graph.ops[1].attrs.pad == (1, 0, 0, 2)  # type: ignore[attr-defined]


def test_a_batch_norm_of_a_transposed_convolution_is_folded(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 4, 5], 2)
    y = m.node("ConvTranspose", "x", m.weight(3, 2, 3, 3), strides=[2, 2])
    spread = m.const(np.ones(2, dtype=np.float32))
    y = m.node("BatchNormalization", y, m.weight(2), m.weight(2), m.weight(2), spread)
    assert kinds(assert_onnxruntime(m.model(y), tmp_path, {"x": [1, 3, 4, 5]})).count("depthwise_conv2d") == 0


def test_nothing_is_folded_behind_a_fused_activation(tmp_path: Path) -> None:
    """A 1x1 depthwise convolution behind a convolution with a relu is no scale of that convolution's weights."""
    maker = tflite_models.ModelMaker(seed=9)
    y = FLOAT_CASES["conv_relu_stride_2"](maker)
    w, b = (maker.tensor(s, None, dtype="FLOAT32", data=maker.rng.standard_normal(s)) for s in ((1, 1, 1, 6), (6,)))
    out = maker.tensor((1, 4, 4, 6), None, dtype="FLOAT32")
    options = {"strideH": 1, "strideW": 1, "depthMultiplier": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    data = maker.build(maker.op("DEPTHWISE_CONV_2D", [y, w, b], out, "DepthwiseConv2DOptions", **options))
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    graph = tflite_models.lower(path)
    assert [op.kind for op in graph.ops] == ["conv2d", "depthwise_conv2d"]
    x = np.random.default_rng(1).normal(0, 2, graph.tensors[graph.inputs[0]].shape).astype(np.float32)
    want = tflite_models.litert(data, [x])[0]
    np.testing.assert_allclose(tflite_models.evaluate(graph, [x])[graph.outputs[0]], want, **TOLERANCE)


def test_integer_weights_alone_compute_in_float(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 6, 5], 3)
    y = m.node("Conv", "x", m.qweight(4, 3, 3, 3, axis=0))
    graph = assert_onnxruntime(m.model(y), tmp_path, {"x": [1, 3, 6, 5]})
    assert "dequantize" not in kinds(graph)


def test_a_float_island_in_an_integer_network(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 6, 5])
    y = m.qdq(m.node("Conv", m.qdq("x"), m.weight(4, 3, 3, 3)))
    path = tmp_path / "m.onnx"
    onnx.save(m.model(y), path)
    graph = lower(path)
    at = kinds(graph).index("conv2d")
    assert kinds(graph)[at - 1 : at + 2] == ["dequantize", "conv2d", "quantize"]
    x = np.random.default_rng(2).uniform(-3, 3, (1, 3, 6, 5)).astype(np.float32)
    (want,) = runtime(path, {"x": x})
    assert np.abs(onnx_models.evaluate(graph, [x])[graph.outputs[0]] - want).max() <= 0.0301


@pytest.mark.parametrize(("shape", "axes"), [([1, 3, 6, 5], [2, 3]), ([1, 4, 9], [2]), ([1, 3, 6, 5], [-1, -2])])
@pytest.mark.parametrize("keep", [0, 1])
def test_means_of_whole_maps_are_pooling(shape: list[int], axes: list[int], keep: int, tmp_path: Path) -> None:
    m = ModelMaker(shape, 3)
    y = m.node("ReduceMean", m.node("Relu", "x"), axes=axes, keepdims=keep)
    assert "mean" not in kinds(assert_onnxruntime(m.model(y), tmp_path, {"x": shape}))


def test_global_average_pool(tmp_path: Path) -> None:
    of_one(tmp_path, [1, 3, 6, 5], "GlobalAveragePool")
    of_one(tmp_path, [1, 3, 6], "GlobalAveragePool")
