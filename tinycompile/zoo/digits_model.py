"""The trained digits network as ONNX: the float model, and its int8 QDQ form made by onnxruntime's quantiser.

Both are NCHW at opset 17. Ranges are rounded outwards to multiples of 1/64 before they become scales, so that the last
bits of onnxruntime's float kernels, which differ between processors, do not reach the model file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tinycompile.errors import ToolchainError
from tinycompile.zoo.digits_data import Images, LabelledImages
from tinycompile.zoo.digits_network import CLASSES, HEAD, LAYERS, Parameters

try:
    import onnxruntime
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QDQQuantizer,
        QuantType,
        TensorsData,
        create_calibrator,
    )
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
except ImportError:
    raise ToolchainError(
        "onnxruntime, which quantises and runs the model, is not installed",
        "tinycompile.zoo.digits",
        "pip install 'tinycompile[quant]'",
    ) from None

OPSET, IR_VERSION = 17, 8
RANGE_STEP = 64


def float_model(parameters: Parameters) -> Any:
    """ModelProto: float32 `image` [1,1,8,8] -> `probabilities` [1,10]."""
    initializers, nodes = [], []

    def constant(name: str, value: Any) -> str:
        initializers.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    x = "image"
    outputs: dict[str, str] = {}
    for layer in LAYERS:
        weights, bias = parameters[layer.name]
        hwio = weights[:, :, np.newaxis] if layer.depthwise else weights
        operands = [constant(f"{layer.name}_weights", hwio.transpose(3, 2, 0, 1)), constant(f"{layer.name}_bias", bias)]
        x = node(
            "Conv",
            [x, *operands],
            f"{layer.name}_conv",
            kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            pads=[layer.kernel // 2] * 4,
            group=layer.inputs if layer.depthwise else 1,
        )
        x = node("Add", [x, outputs[layer.add]], f"{layer.name}_add") if layer.add else x
        x = outputs[layer.name] = node("Relu", [x], layer.name) if layer.relu else x
    x = node("Flatten", [node("GlobalAveragePool", [x], "mean")], "features")
    weights, bias = parameters[HEAD]
    x = node("Gemm", [x, constant("weights", weights.T), constant("bias", bias)], "logits", transB=1)
    node("Softmax", [x], "probabilities", axis=1)

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, CLASSES])
    graph = helper.make_graph(nodes, "digits", [image], [probabilities], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """The calibration images, one at a time."""

    def __init__(self, images: Images) -> None:
        self.images: Iterator[Images] = iter(images)

    def get_next(self) -> dict[str, Images] | None:
        image = next(self.images, None)
        return None if image is None else {"image": image[np.newaxis]}


def quantized_model(model: Any, calibration: LabelledImages) -> Any:
    """The QDQ form of a float model: asymmetric int8 activations, symmetric int8 weights per channel, int32 biases.

    Ranges are the minimum and maximum of every tensor over the images of `calibration`.
    """
    operators = sorted({*QDQRegistry, *QLinearOpsRegistry})  # what onnxruntime's own quantize_static takes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(model, path)
        calibrator = create_calibrator(path, operators, str(Path(folder) / "augmented.onnx"))
        calibrator.collect_data(Samples(calibration.images))
        measured = calibrator.compute_data()
    ranges = {
        name: (np.floor(low * RANGE_STEP) / RANGE_STEP, np.ceil(high * RANGE_STEP) / RANGE_STEP)
        for name, (low, high) in ((name, data.range_value) for name, data in measured.items())
    }
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=operators,
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model


def accuracy(model: Any, data: LabelledImages) -> float:
    """The share of images, 0..1, whose most probable class is the label; by onnxruntime, one image at a time."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = [session.run(None, {"image": image[np.newaxis]})[0].argmax() for image in data.images]
    return float((np.array(found) == data.labels).mean())


def describe(model: Any, **properties: str) -> None:
    """Replaces the model's metadata: the accuracies and what made it."""
    del model.metadata_props[:]
    helper.set_model_props(model, properties)
