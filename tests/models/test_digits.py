"""The ready example: the committed file is what the repository says it is, and what its script makes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tinycompile
from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_plan
from tinycompile.emulate.target import run_target
from tinycompile.pipeline import Build
from tinycompile.quantize.write_onnx import NEWER_OPSET, in_halves
from tinycompile.target import load_target
from tinycompile.zoo import digits_model_path, digits_test_set
from tinycompile.zoo.digits import library_versions

pytest.importorskip("sklearn", reason="scikit-learn, which ships the images, is not installed")
onnxruntime = pytest.importorskip("onnxruntime")


def int8_accuracy(model: Any) -> float:
    images, labels = digits_test_set()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (name,) = (i.name for i in session.get_inputs())
    found = [session.run(None, {name: image[np.newaxis]})[0].argmax() for image in images]
    return float((np.array(found) == labels).mean())


def metadata(model: Any) -> dict[str, str]:
    return {p.key: p.value for p in model.metadata_props}


@pytest.fixture(scope="module")
def model() -> Any:
    return onnx.load(digits_model_path())


def test_the_file_is_small_and_valid(model: Any) -> None:
    assert digits_model_path().stat().st_size < 100_000
    onnx.checker.check_model(model, full_check=True)


def test_it_is_qdq_with_float_edges_and_int8_between(model: Any) -> None:
    edges = [*model.graph.input, *model.graph.output]
    assert [[d.dim_value for d in e.type.tensor_type.shape.dim] for e in edges] == [[1, 1, 8, 8], [1, 10]]
    assert {e.type.tensor_type.elem_type for e in edges} == {onnx.TensorProto.FLOAT}
    makers = {out: node.op_type for node in model.graph.node for out in node.output}
    computing = [n for n in model.graph.node if n.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    assert {n.op_type for n in computing} >= {"Conv", "Add", "GlobalAveragePool", "Gemm", "Softmax"}
    for node in computing:
        assert {makers[name] for name in node.input} <= {"DequantizeLinear"}, node.name
    assert {makers[e.name] for e in model.graph.output} == {"DequantizeLinear"}
    initializers = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and initializers.get(node.input[0], np.zeros(0)).ndim == 4:
            weights, scale, zero_point = (initializers[name] for name in node.input)
            assert weights.dtype == np.int8
            assert scale.shape == (weights.shape[0],), "per channel"
            assert not zero_point.any(), "symmetric"


def test_it_reads_digits_as_well_as_its_metadata_says(model: Any) -> None:
    recorded = metadata(model)
    measured = int8_accuracy(model)
    assert measured >= 0.96
    assert abs(measured - float(recorded["int8_accuracy"])) <= 0.005
    assert float(recorded["float_accuracy"]) >= 0.97
    assert float(recorded["float_accuracy"]) - measured <= 0.01


def test_the_accuracy_is_of_the_weights(model: Any) -> None:
    """The control: the same network with one layer's weights in another order reads nothing."""
    damaged = onnx.ModelProto()
    damaged.CopyFrom(model)
    weights = next(i for i in damaged.graph.initializer if i.name.startswith("pointwise2_weights_quant"))
    weights.raw_data = bytes(reversed(weights.raw_data))
    assert int8_accuracy(damaged) < 0.5


def with_int4_weights(model: Any) -> Any:
    """The file with each layer's weights in 4 bits, as plainly as can be: 127 becomes 7."""
    narrow = onnx.ModelProto()
    narrow.CopyFrom(model)
    narrow.opset_import[0].version = max(narrow.opset_import[0].version, NEWER_OPSET)
    initializers = {i.name: i for i in narrow.graph.initializer}
    for node in narrow.graph.node:
        weights = initializers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weights is None or len(weights.dims) < 2:
            continue
        scale, zero = (initializers[name] for name in node.input[1:])
        values = np.rint(numpy_helper.to_array(weights) * (7 / 127)).astype(np.int8)
        scaled = (numpy_helper.to_array(scale) * np.float32(127 / 7)).astype(np.float32)
        for tensor, made in ((weights, values), (zero, np.zeros(zero.dims, dtype=np.int8))):
            packed = helper.make_tensor(tensor.name, onnx.TensorProto.INT4, tensor.dims, in_halves(made), raw=True)
            tensor.CopyFrom(packed)
        scale.CopyFrom(numpy_helper.from_array(scaled, scale.name))
    return narrow


@pytest.fixture(scope="module")
def narrow_build(model: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Build]:
    folder = tmp_path_factory.mktemp("int4")
    onnx.save(with_int4_weights(model), folder / "digits_int4.onnx")
    return folder, tinycompile.build(folder / "digits_int4.onnx", target="cortex-m4", out=folder / "out")


def test_weights_of_four_bits_read_digits_too(narrow_build: tuple[Path, Build]) -> None:
    """The C code under sanitizers gives the interpreter's bits, of a network that still reads and takes less flash."""
    folder, built = narrow_build
    images, labels = digits_test_set()
    got = run_host(folder / "out", built.plan.interface, [images[:60]]).outputs[0].reshape(60, -1)
    for image, y in zip(images[:60], got, strict=True):
        (want,) = run_plan(built.plan, [image[np.newaxis]])
        np.testing.assert_array_equal(y, want.reshape(-1))
    assert (got.argmax(axis=1) == labels[:60]).mean() > 0.8
    eight = tinycompile.build(digits_model_path(), target="cortex-m4").report
    assert built.report.weights.value < 0.7 * eight.weights.value
    assert built.report.narrow_saved_bytes == pytest.approx(eight.weights.value - built.report.weights.value, abs=128)


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
def test_weights_of_four_bits_on_an_emulated_core(narrow_build: tuple[Path, Build]) -> None:
    pytest.importorskip("unicorn")
    folder, built = narrow_build
    image = digits_test_set()[0][:1]
    got = run_target(folder / "out", built.plan.interface, load_target("cortex-m4"), [image]).outputs[0]
    (want,) = run_plan(built.plan, [image])
    np.testing.assert_array_equal(got.reshape(-1), want.reshape(-1))


def test_the_parts_of_the_data_are_disjoint_and_complete() -> None:
    from tinycompile.zoo.digits_data import load_split

    split = load_split()
    sizes = [len(part.images) for part in (split.train, split.validation, split.test)]
    assert sizes == [1077, 360, 360]
    images = np.concatenate([part.images for part in (split.train, split.validation, split.test)])
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == sum(sizes), "an image stands in two parts"
    assert 0 == images.min() < images.max() == 1
    for part in (split.train, split.validation, split.test):
        assert set(part.labels.tolist()) == set(range(10))


def test_backward_is_the_derivative_of_forward() -> None:
    from tinycompile.zoo import digits_network as network

    random = np.random.default_rng(0)
    parameters = {
        layer.name: (random.normal(0, 0.4, layer.weight_shape), random.normal(0, 0.1, layer.outputs))
        for layer in network.LAYERS
    }
    features = network.LAYERS[-1].outputs
    parameters[network.HEAD] = random.normal(0, 0.4, (features, 10)), random.normal(0, 0.1, 10)
    x, labels = random.uniform(0, 1, (4, 8, 8, 1)), np.array([3, 1, 4, 1])

    def loss() -> float:
        logits = network.forward(parameters, x)[network.HEAD]
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        softmax = exponentials / exponentials.sum(1, keepdims=True)
        return float(-np.log(softmax[np.arange(len(labels)), labels]).mean())

    outputs = network.forward(parameters, x)
    gradients = network.backward(
        parameters, outputs, network.cross_entropy_gradient(outputs[network.HEAD], labels.astype(np.int64))
    )
    for name, pair in parameters.items():
        for value, gradient in zip(pair, gradients[name], strict=True):
            # Along the gradient itself the loss rises by its square: no chance of meeting a dead element only.
            direction, kept = gradient / np.linalg.norm(gradient), value.copy()
            value[...] = kept + 1e-6 * direction
            above = loss()
            value[...] = kept - 1e-6 * direction
            below = loss()
            value[...] = kept
            assert (above - below) / 2e-6 == pytest.approx(np.linalg.norm(gradient), rel=1e-4), name


def test_the_documentation_has_the_same_figures(model: Any) -> None:
    text = (Path(__file__).parents[2] / "docs" / "example-digits.md").read_text(encoding="utf-8")
    assert f"{digits_model_path().stat().st_size:,} bytes" in text
    recorded = metadata(model)
    figures = [f"{float(recorded[key]):.2%}".replace("%", " %") for key in ("float_accuracy", "int8_accuracy")]
    assert f"| test | 360 | {' | '.join(figures)} |" in text


@pytest.mark.slow
def test_training_again_gives_the_same_bytes(model: Any, tmp_path: Path) -> None:
    if metadata(model)["made_with"] != library_versions():
        pytest.skip(f"made with {metadata(model)['made_with']}, here is {library_versions()}")
    again = tmp_path / "again.onnx"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "tinycompile.zoo.digits", "-o", str(again)]
    shown = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout
    assert "float" in shown
    assert "int8" in shown
    assert again.read_bytes() == digits_model_path().read_bytes()
