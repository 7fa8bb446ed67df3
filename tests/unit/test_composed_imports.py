"""ONNX operators that the frontend composes of others, against ONNX's reference implementation: forms of theirs that
the node tests leave out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx_models import Array, ModelMaker, evaluate, lower, runtime

from tinycompile.errors import UnsupportedError

SEED = 11


def assert_reference(m: ModelMaker, outputs: list[str], folder: Path, scale: float = 2.0) -> None:
    """The lowered model's outputs are those of ONNX's reference implementation."""
    path = folder / "m.onnx"
    onnx.save(m.model(*outputs), path)
    graph = lower(path)
    x = np.random.default_rng(SEED).normal(0, scale, m.shape).astype(np.float32)
    found = evaluate(graph, [x])
    wanted = ReferenceEvaluator(onnx.load(path)).run(None, {"x": x})
    for name, want in zip(graph.outputs, wanted, strict=True):
        assert found[name].shape == want.shape
        assert found[name].dtype == want.dtype
        np.testing.assert_allclose(found[name], want, rtol=1e-4, atol=1e-5)


RESIZES: dict[str, tuple[list[int], list[float], dict[str, Any]]] = {
    "linear_of_a_batch": ([2, 3, 5, 4], [1, 1, 1.6, 0.5], {"mode": "linear"}),
    "linear_of_channels": ([1, 4, 3, 5], [1, 2, 1, 1.5], {"mode": "linear"}),
    "linear_of_a_volume": ([1, 2, 3, 4, 5], [1, 1, 2, 0.5, 1.3], {"mode": "linear"}),
    "nearest_of_a_volume": ([1, 2, 3, 4, 5], [1, 1, 2, 0.5, 1.3], {"nearest_mode": "ceil"}),
    "antialias": ([1, 1, 9, 10], [1, 1, 0.4, 0.7], {"mode": "linear", "antialias": 1}),
    "antialias_cubic": ([1, 1, 9, 10], [1, 1, 0.4, 1.5], {"mode": "cubic", "antialias": 1}),
    "antialias_inside": ([1, 1, 9, 10], [1, 1, 0.4, 0.7], {"mode": "cubic", "antialias": 1, "exclude_outside": 1}),
    "cubic": ([1, 2, 4, 5], [1, 1, 1.7, 0.9], {"mode": "cubic", "cubic_coeff_a": -0.5}),
    "symmetric": ([1, 1, 4, 5], [1, 1, 1.7, 0.9], {"coordinate_transformation_mode": "half_pixel_symmetric"}),
    "corners": ([1, 1, 2, 4], [1, 1, 0.6, 0.6], {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    "nearest_corners": ([1, 1, 5, 4], [1, 1, 0.7, 1.4], {"coordinate_transformation_mode": "align_corners"}),
}


@pytest.mark.parametrize("name", RESIZES)
def test_resize(name: str, tmp_path: Path) -> None:
    shape, scales, attrs = RESIZES[name]
    m = ModelMaker(shape, opset=19)
    y = m.node("Resize", "x", "", m.const(np.array(scales, dtype=np.float32)), **attrs)
    assert_reference(m, [y], tmp_path)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_resize_of_some_axes(mode: str, policy: str, tmp_path: Path) -> None:
    m = ModelMaker([1, 4, 6, 2], opset=19)
    sizes = m.const(np.array([9, 7], dtype=np.int64))
    attrs = {"axes": [2, 1], "mode": mode, "keep_aspect_ratio_policy": policy}
    assert_reference(m, [m.node("Resize", "x", "", "", sizes, **attrs)], tmp_path)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_of_a_part(mode: str, tmp_path: Path) -> None:
    """What lies outside of the input is the extrapolation value."""
    m = ModelMaker([1, 1, 5, 4], opset=19)
    roi = m.const(np.array([0, 0, -0.2, 0.3, 1, 1, 0.9, 1.4], dtype=np.float32))
    sizes = m.const(np.array([1, 1, 6, 7], dtype=np.int64))
    attrs = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": mode, "extrapolation_value": 7.5}
    assert_reference(m, [m.node("Resize", "x", roi, "", sizes, **attrs)], tmp_path)


def test_a_cubic_resize_to_one_element_is_refused(tmp_path: Path) -> None:
    m = ModelMaker([1, 1, 4, 4], opset=19)
    sizes = m.const(np.array([1, 1, 1, 3], dtype=np.int64))
    attrs = {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel"}
    onnx.save(m.model(m.node("Resize", "x", "", "", sizes, **attrs)), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match="one element"):
        lower(tmp_path / "m.onnx")


WINDOWS: dict[str, tuple[list[int], str, list[tuple[int, ...]], dict[str, Any]]] = {
    "max_of_a_batch": ([2, 3, 7, 6], "MaxPool", [], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
    "max_of_a_volume": ([2, 2, 5, 6, 4], "MaxPool", [], {"kernel_shape": [2, 3, 2], "strides": [2, 1, 2]}),
    "global_max_of_a_volume": ([1, 2, 3, 4, 5], "GlobalMaxPool", [], {}),
    "average_of_a_batch": ([2, 3, 7], "AveragePool", [], {"kernel_shape": [3], "pads": [1, 1], "count_include_pad": 1}),
    "average_of_a_volume": (
        [1, 2, 5, 6, 4],
        "AveragePool",
        [],
        {"kernel_shape": [2, 3, 2], "strides": [2, 2, 1], "pads": [1, 1, 0, 0, 1, 1], "ceil_mode": 1},
    ),
    "norm_of_order_3": ([1, 2, 6, 5], "LpPool", [], {"kernel_shape": [2, 2], "p": 3, "pads": [0, 1, 1, 0]}),
    "norm_of_all": ([2, 2, 6, 5], "GlobalLpPool", [], {"p": 1}),
    "neighbours": ([1, 6, 3, 4], "LRN", [], {"size": 3, "alpha": 0.3, "beta": 0.75, "bias": 1.5}),
    "normalised_batch": ([2, 3, 4, 5], "BatchNormalization", [(3,)] * 4, {}),
    "conv": (
        [2, 4, 5, 6, 4],
        "Conv",
        [(6, 2, 3, 2, 3), (6,)],
        {"group": 2, "strides": [2, 1, 2], "pads": [1, 0, 1, 2, 1, 0], "dilations": [1, 2, 1]},
    ),
    "transposed": (
        [2, 4, 3, 2, 3],
        "ConvTranspose",
        [(4, 3, 3, 2, 3), (6,)],
        {"group": 2, "strides": [2, 3, 1], "pads": [1, 0, 1, 0, 1, 0], "dilations": [1, 2, 1]},
    ),
    "transposed_batch": ([3, 2, 4, 3], "ConvTranspose", [(2, 3, 3, 3)], {"strides": [2, 2]}),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_over_volumes_and_batches(name: str, tmp_path: Path) -> None:
    shape, kind, weights, attrs = WINDOWS[name]
    m = ModelMaker(shape, opset=19)
    y = m.node(kind, "x", *(m.const(np.abs(m.rng.normal(0, 1, w)).astype(np.float32)) for w in weights), **attrs)
    onnx.save(m.model(y), tmp_path / "m.onnx")
    x = np.random.default_rng(SEED).normal(0, 2, shape).astype(np.float32)
    graph = lower(tmp_path / "m.onnx")
    (want,) = runtime(tmp_path / "m.onnx", {"x": x})
    got = evaluate(graph, [x])[graph.outputs[0]]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


INDEXED: dict[str, tuple[list[int], str, list[Array], dict[str, Any]]] = {
    "gather": ([4, 5, 3], "Gather", [np.array([[1, -1], [0, 2]])], {"axis": 1}),
    "gather_elements": ([2, 5], "GatherElements", [np.array([[1, -1, 0], [4, 2, 2]])], {"axis": 1}),
    "gather_elements_first": ([4, 3], "GatherElements", [np.array([[1, -1, 0], [3, 2, 2]])], {"axis": 0}),
    "gather_nd": ([4, 5, 3], "GatherND", [np.array([[[1, -1]], [[-4, 2]]])], {}),
    "scatter_elements": (
        [4, 5],
        "ScatterElements",
        [np.array([[1, -1, 0], [3, 2, 2]]), np.arange(6, dtype=np.float32).reshape(2, 3)],
        {"axis": 0, "reduction": "add"},
    ),
    "scatter_nd": (
        [4, 5, 3],
        "ScatterND",
        [np.array([[1, -1], [-4, 2], [1, 4]]), np.arange(9, dtype=np.float32).reshape(3, 3)],
        {"reduction": "mul"},
    ),
}


@pytest.mark.parametrize("at_run_time", [False, True])
@pytest.mark.parametrize("name", INDEXED)
def test_indices(name: str, at_run_time: bool, tmp_path: Path) -> None:
    """Constant, and made of the input in such a way that they are the same."""
    shape, kind, inputs, attrs = INDEXED[name]
    m = ModelMaker(shape, opset=18)
    names = [m.const(v) for v in inputs]
    if at_run_time:
        zero = m.node("ReduceMax", m.node("Mul", "x", m.const(np.array(0, dtype=np.float32))), keepdims=0)
        names[0] = m.node("Add", m.const(inputs[0]), m.node("Cast", zero, to=7))
    assert_reference(m, [m.node(kind, "x", *names, **attrs)], tmp_path)


def test_unpooling_undoes_pooling(tmp_path: Path) -> None:
    m = ModelMaker([1, 2, 4, 6])
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    m.nodes.append(onnx.helper.make_node("MaxPool", ["x"], ["best", "places"], **attrs))
    y = m.node("MaxUnpool", "best", "places", **attrs)
    onnx.save(m.model(y), tmp_path / "m.onnx")
    x = np.random.default_rng(SEED).normal(0, 2, m.shape).astype(np.float32)
    graph = lower(tmp_path / "m.onnx")
    windows = x.reshape(1, 2, 2, 2, 3, 2)
    want = np.where(windows == windows.max(axis=(3, 5), keepdims=True), windows, 0).reshape(x.shape)
    np.testing.assert_array_equal(evaluate(graph, [x])[graph.outputs[0]], want)


@pytest.mark.parametrize("largest", [0, 1])
def test_the_first_k(largest: int, tmp_path: Path) -> None:
    m = ModelMaker([2, 6, 3])
    k = m.const(np.array([4], dtype=np.int64))
    m.nodes.append(onnx.helper.make_node("TopK", ["x", k], ["values", "places"], axis=1, largest=largest))
    doubled = m.node("Cast", "places", to=1)
    assert_reference(m, ["values", doubled], tmp_path)


@pytest.mark.parametrize("kind", ["Relu", "Softmax", "Tanh", "GlobalAveragePool", "MaxPool", "ReduceMean", "Hardmax"])
def test_operators_on_constants_alone(kind: str, tmp_path: Path) -> None:
    """They are computed at import, or refused."""
    m = ModelMaker([1, 2, 3, 4], opset=13)
    attrs = {"kernel_shape": [2, 2]} if kind == "MaxPool" else {}
    y = m.node("Add", "x", m.node("ReduceSum", m.node(kind, m.weight(1, 2, 3, 4), **attrs), keepdims=0))
    if kind in ("Hardmax",):
        assert_reference(m, [y], tmp_path)
        return
    onnx.save(m.model(y), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match="constants alone"):
        lower(tmp_path / "m.onnx")


TRANSFORMS: dict[str, tuple[list[int], dict[str, Any], int | None]] = {
    "real": ([2, 12, 1], {}, None),
    "complex": ([1, 16, 2], {}, None),
    "odd": ([1, 9, 2], {"inverse": 1}, None),
    "onesided": ([2, 24, 1], {"onesided": 1}, None),
    "back": ([1, 9, 2], {"inverse": 1, "onesided": 1}, None),
    "back_odd": ([1, 6, 2], {"inverse": 1, "onesided": 1}, 11),
    "padded": ([1, 6, 1], {}, 8),
    "cut": ([3, 12, 2], {}, 8),
    "last_but_one": ([2, 3, 8, 1], {"axis": 2}, None),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_fourier_transforms(name: str, tmp_path: Path) -> None:
    shape, attrs, length = TRANSFORMS[name]
    m = ModelMaker(shape, opset=17)
    inputs = [] if length is None else [m.const(np.array(length, dtype=np.int64))]
    assert_reference(m, [m.node("DFT", "x", *inputs, **attrs)], tmp_path)


@pytest.mark.parametrize("parts", [1, 2])
def test_short_time_transforms(parts: int, tmp_path: Path) -> None:
    m = ModelMaker([2, 40, parts], opset=17)
    window = m.const(np.hanning(12).astype(np.float32))
    y = m.node("STFT", "x", m.const(np.array(7, dtype=np.int64)), window, onesided=int(parts == 1))
    assert_reference(m, [y], tmp_path)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_determinants(size: int, tmp_path: Path) -> None:
    m = ModelMaker([3, size, size], opset=17)
    assert_reference(m, [m.node("Det", "x")], tmp_path)


def test_crops_and_pads_around_the_centre(tmp_path: Path) -> None:
    m = ModelMaker([5, 4, 7], opset=18)
    assert_reference(m, [m.node("CenterCropPad", "x", m.const(np.array([8, 3, 4])), axes=[0, 1, 2])], tmp_path)


@pytest.mark.parametrize("align", [0, 1])
def test_grids_of_affine_transformations(align: int, tmp_path: Path) -> None:
    m = ModelMaker([2, 2, 3], opset=20)
    y = m.node("AffineGrid", "x", m.const(np.array([2, 1, 4, 5])), align_corners=align)
    assert_reference(m, [y], tmp_path)
