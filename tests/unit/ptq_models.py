"""Small float models for post-training quantisation, and their samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx_models import Array, ModelMaker

from tinycompile.ir.graph import Graph
from tinycompile.quantize.quantizer import Quantized, QuantizeOptions, load_float_model, quantize_graph
from tinycompile.watch import Watch


def save(maker: ModelMaker, path: Path, *outputs: str) -> Path:
    onnx.save(maker.model(*outputs), path)
    return path


def residual_network(seed: int = 0) -> tuple[ModelMaker, str]:
    """Convolutions with every activation and batch norm, a residual sum, pooling, a classifier."""
    m = ModelMaker([1, 3, 12, 12], seed)
    y = m.node("Conv", "x", m.weight(8, 3, 3, 3), m.weight(8), pads=[1, 1, 1, 1], strides=[2, 2])
    parameters = [m.const(m.rng.uniform(0.5, 1.5, 8).astype(np.float32)) for _ in range(2)]
    y = m.node("BatchNormalization", y, parameters[0], m.weight(8), m.weight(8), parameters[1])
    y = m.node("Relu", y)
    z = m.node("Conv", y, m.weight(8, 1, 3, 3), m.weight(8), group=8, pads=[1, 1, 1, 1])
    z = m.node("Clip", z, m.const(np.float32(0)), m.const(np.float32(6)))
    z = m.node("Conv", z, m.weight(8, 8, 1, 1))
    y = m.node("Relu", m.node("Add", y, z))
    y = m.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = m.node("GlobalAveragePool", y)
    y = m.node("Gemm", m.node("Flatten", y), m.weight(5, 8), m.weight(5), transB=1)
    return m, m.node("Softmax", y)


def branches() -> tuple[ModelMaker, str]:
    """Concatenation, padding, slices, resize, a product with a gate, tanh, hard swish, leaky ReLU, average pooling."""
    m = ModelMaker([1, 4, 8, 8], 1)
    a = m.node("LeakyRelu", m.node("Conv", "x", m.weight(6, 4, 1, 1), m.weight(6)), alpha=0.1)
    b = m.node("HardSwish", m.node("Conv", "x", m.weight(6, 4, 3, 3), m.weight(6), pads=[1, 1, 1, 1]))
    gate = m.node("Sigmoid", m.node("Conv", m.node("GlobalAveragePool", b), m.weight(6, 6, 1, 1), m.weight(6)))
    both = m.node("Concat", a, m.node("Mul", b, gate), axis=1)
    part = m.node("Slice", both, *(m.const(np.array(v, dtype=np.int64)) for v in ([2], [10], [1])))
    part = m.node("Pad", part, m.const(np.array([0, 0, 1, 0, 0, 0, 1, 2], dtype=np.int64)))
    part = m.node("AveragePool", part, kernel_shape=[2, 2], strides=[2, 2])
    sizes = m.const(np.array([1, 8, 10, 10], dtype=np.int64))
    big = m.node(
        "Resize", part, "", "", sizes, mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"
    )
    scaled = m.node("Sub", m.node("Mul", big, m.weight(1, 8, 1, 1)), m.const(np.float32(0.3)))
    return m, m.node("Tanh", m.node("Conv", scaled, m.weight(4, 8, 3, 3), m.weight(4)))


def islands() -> tuple[ModelMaker, str]:
    """A layer normalisation and a GELU, which have no int8 kernels, between layers that have."""
    m = ModelMaker([1, 6, 16], 2)
    y = m.node("MatMul", "x", m.weight(16, 16))
    y = m.node("Add", y, m.weight(16))
    y = m.node("LayerNormalization", y, m.const(np.ones(16, dtype=np.float32)), m.weight(16), axis=-1)
    y = m.node("Mul", y, m.node("Sigmoid", m.node("MatMul", y, m.weight(16, 16))))
    h = m.node("MatMul", y, m.weight(16, 24))
    h = m.node(
        "Mul",
        h,
        m.node("Add", m.node("Erf", m.node("Mul", h, m.const(np.float32(0.70710677)))), m.const(np.float32(1))),
    )
    return m, m.node("Add", m.node("MatMul", h, m.weight(24, 16)), y)


def sequence() -> tuple[ModelMaker, str]:
    """1-D convolutions, dilated and strided, with a residual sum."""
    m = ModelMaker([1, 4, 30], 3)
    y = m.node("Relu", m.node("Conv", "x", m.weight(8, 4, 3), m.weight(8), pads=[1, 1]))
    z = m.node("Conv", y, m.weight(8, 8, 3), m.weight(8), dilations=[2], pads=[2, 2])
    y = m.node("Add", y, z)
    y = m.node("MaxPool", y, kernel_shape=[2], strides=[2])
    y = m.node("ReduceMean", y, axes=[2], keepdims=0)
    return m, m.node("Gemm", y, m.weight(6, 8), m.weight(6), transB=1)


def functions() -> tuple[ModelMaker, str]:
    """Functions of one value of several operators, some of them read at places between, and of a clipped sum."""
    m = ModelMaker([1, 4, 8, 8], 6)
    y = m.node("Conv", "x", m.weight(6, 4, 3, 3), m.weight(6), pads=[1, 1, 1, 1])
    gelu = m.node("Erf", m.node("Mul", y, m.const(np.float32(0.70710677))))
    gelu = m.node("Mul", m.node("Mul", y, m.const(np.float32(0.5))), m.node("Add", gelu, m.const(np.float32(1))))
    z = m.node("Conv", gelu, m.weight(6, 6, 1, 1), m.weight(6))
    mish = m.node("Mul", z, m.node("Tanh", m.node("Softplus", z)))
    both = m.node("Relu", m.node("Add", mish, gelu))
    root = m.node("Sqrt", m.node("Add", both, m.const(np.float32(0.1))))
    gate = m.node("HardSigmoid", root, alpha=0.3, beta=0.1)
    scaled = m.node("Mul", root, gate)
    return m, m.node("Conv", m.node("Concat", scaled, gate, axis=1), m.weight(3, 12, 1, 1), m.weight(3))


def unpooling() -> tuple[ModelMaker, str]:
    """An encoder that keeps where its largest values were, and a decoder that puts others there."""
    m = ModelMaker([1, 3, 12, 8], 7)
    y = m.node("Relu", m.node("Conv", "x", m.weight(5, 3, 3, 3), m.weight(5), pads=[1, 1, 1, 1]))
    m.nodes.append(helper.make_node("MaxPool", [y], ["largest", "places"], kernel_shape=[2, 2], strides=[2, 2]))
    z = m.node("Conv", "largest", m.weight(5, 5, 1, 1), m.weight(5))
    up = m.node("MaxUnpool", z, "places", kernel_shape=[2, 2], strides=[2, 2])
    return m, m.node("Conv", up, m.weight(2, 5, 3, 3), m.weight(2), pads=[1, 1, 1, 1])


NETWORKS: dict[str, Any] = {
    f.__name__: f for f in (residual_network, branches, islands, sequence, functions, unpooling)
}


def inputs(graph: Graph, count: int, seed: int = 5) -> list[dict[str, Array]]:
    rng = np.random.default_rng(seed)
    names = graph.inputs
    return [{n: rng.normal(0, 1, graph.tensors[n].shape).astype(np.float32) for n in names} for _ in range(count)]


def quantized(name: str, folder: Path, **options: Any) -> tuple[Graph, Quantized]:
    """A network of `NETWORKS`, prepared, and quantised with 40 samples."""
    maker, out = NETWORKS[name]()
    graph = load_float_model(save(maker, folder / f"{name}.onnx", out))
    return graph, quantize_graph(graph, inputs(graph, 40), QuantizeOptions(**options), Watch())
