"""Weights of 4 bits from model files to flash: what keeps them so, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx_models import Array, ModelMaker, evaluate, lower, runtime, samples
from tflite_models import ModelMaker as TfliteMaker

from tinycompile.codegen.c import emit_c
from tinycompile.errors import InternalError, MalformedModelError, QuantError, UnsupportedError
from tinycompile.frontends import load_model
from tinycompile.ir.graph import Graph
from tinycompile.ir.printer import print_graph
from tinycompile.ir.quant import Quant, is_narrow, narrowed
from tinycompile.ir.verify import verify_graph
from tinycompile.ops.registry import OPERATORS
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.schedule import plan_graph
from tinycompile.target import load_target


def int4_weights(m: ModelMaker, shape: tuple[int, ...], axis: int | None, unsigned: bool = False, **attrs: Any) -> str:
    """Random dequantised weights, per tensor or along `axis`; of uint4 around 8."""
    dtype, middle = (ml_dtypes.uint4, 8) if unsigned else (ml_dtypes.int4, 0)
    data = (m.rng.integers(-8, 8, shape) + middle).astype(dtype)
    count = () if axis is None else (shape[axis],)
    scales = np.asarray(m.rng.uniform(0.05, 0.2, count), dtype=np.float32)
    zeros = np.full(count, middle).astype(dtype)
    names = m.const(data), m.const(scales), m.const(zeros)
    return m.node("DequantizeLinear", *names, **({} if axis is None else {"axis": axis}), **attrs)


def network(m: ModelMaker, conv: str, dense: str, bias: bool = True) -> str:
    """A convolution 3 -> 6 and a fully connected layer over all of its map, quantised throughout."""
    y = m.node("Conv", m.qdq("x"), conv, *([m.weight(6)] if bias else []), pads=[1, 1, 1, 1])
    y = m.qdq(m.node("Relu", m.qdq(y, 0.05)), 0.05, -128)
    return m.qdq(m.node("MatMul", m.node("Flatten", y), dense), 0.4)


def widths(graph: Graph) -> dict[str, int | None]:
    """Bits of the weights of each layer, by its kind."""
    nodes = [n for n in graph.nodes() if len(n.inputs) > 1]
    return {n.op.kind: None if n.tensor(1).quant is None else n.tensor(1).quant.bits for n in nodes}


def close_to_onnxruntime(graph: Graph, path: Path, step: float) -> None:
    for x in samples([1, 3, 4, 5], 4):
        (want,) = runtime(path, {"x": x})
        got = evaluate(graph, [x])[graph.outputs[0]]
        assert np.abs(got - want).max() <= 2.01 * step


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_int4_and_uint4_of_onnx(unsigned: bool, per_channel: bool, tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 4, 5], opset=21)
    conv = int4_weights(m, (6, 3, 3, 3), 0 if per_channel else None, unsigned)
    out = network(m, conv, int4_weights(m, (120, 7), 1 if per_channel else None, unsigned))
    onnx.save(m.model(out), tmp_path / "m.onnx")
    graph = lower(tmp_path / "m.onnx")
    assert widths(graph) == {"conv2d": 4, "fully_connected": 4}
    close_to_onnxruntime(graph, tmp_path / "m.onnx", 0.4)
    streamed = stream_reductions(graph)
    verify_graph(streamed, "stream_reductions", OPERATORS)
    assert widths(streamed)["fully_connected_rows"] == 4


def test_uint4_that_reaches_beyond_what_four_signed_bits_hold(tmp_path: Path) -> None:
    """0..15 without a zero point: the values are right, in 8 bits."""
    m = ModelMaker([1, 3, 4, 5], opset=21)
    data = m.const(m.rng.integers(0, 16, (120, 7)).astype(ml_dtypes.uint4))
    dense = m.node("DequantizeLinear", data, m.const(np.float32(0.05)))
    onnx.save(m.model(network(m, m.qweight(6, 3, 3, 3), dense)), tmp_path / "m.onnx")
    graph = lower(tmp_path / "m.onnx")
    assert widths(graph) == {"conv2d": None, "fully_connected": None}
    close_to_onnxruntime(graph, tmp_path / "m.onnx", 0.4)


def test_small_int8_weights_stay_bytes(tmp_path: Path) -> None:
    """Only what the model gives in 4 bits is unpacked at run time."""
    m = ModelMaker([1, 3, 4, 5], opset=21)
    data = m.const(m.rng.integers(-8, 8, (120, 7)).astype(np.int8))
    dense = m.node("DequantizeLinear", data, m.const(np.float32(0.05)))
    onnx.save(m.model(network(m, m.qweight(6, 3, 3, 3), dense)), tmp_path / "m.onnx")
    assert widths(lower(tmp_path / "m.onnx")) == {"conv2d": None, "fully_connected": None}


def test_a_constant_node_of_int4(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 4, 5], opset=21)
    value = onnx.numpy_helper.from_array(m.rng.integers(-8, 8, (120, 7)).astype(ml_dtypes.int4))
    dense = m.node("DequantizeLinear", m.node("Constant", value=value), m.const(np.float32(0.05)))
    onnx.save(m.model(network(m, m.qweight(6, 3, 3, 3), dense)), tmp_path / "m.onnx")
    assert widths(lower(tmp_path / "m.onnx"))["fully_connected"] == 4


BLOCKS = {
    "one block": ((1, 7), 120, True),
    "equal blocks": ((4, 7), 30, True),
    "all equal": ((4, 7), 30, True),
    "different blocks": ((4, 7), 30, False),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_that_are_channels(name: str, tmp_path: Path) -> None:
    """Scales of blocks become those of channels where they differ along those alone; else the layer is of floats."""
    shape, block, integer = BLOCKS[name]
    m = ModelMaker([1, 3, 4, 5], opset=21)
    rows = 1 if name != "different blocks" else shape[0]
    scales = np.broadcast_to(m.rng.uniform(0.05, 0.2, (rows, 1 if name == "all equal" else shape[1])), shape)
    data = m.const(m.rng.integers(-8, 8, (120, 7)).astype(ml_dtypes.int4))
    attrs = {"axis": 0, "block_size": block}
    dense = m.node("DequantizeLinear", data, m.const(scales.astype(np.float32)), **attrs)
    onnx.save(m.model(network(m, m.qweight(6, 3, 3, 3), dense)), tmp_path / "m.onnx")
    graph = lower(tmp_path / "m.onnx")
    found = {n.op.kind: n.out.dtype.value for n in graph.nodes()}
    assert ("fully_connected" in found and found["fully_connected"] == "int8") is integer
    assert not integer or widths(graph)["fully_connected"] == 4
    close_to_onnxruntime(graph, tmp_path / "m.onnx", 0.4)


def test_a_negative_batch_norm_behind_int4(tmp_path: Path) -> None:
    """It changes signs: -8 becomes 8, which 4 bits do not hold."""
    kept = []
    for low in (-7, -8):
        m = ModelMaker([1, 3, 4, 5], opset=21)
        data = m.rng.integers(-7, 8, (6, 3, 3, 3))
        data[0, 0, 0, 0] = low
        w = m.node("DequantizeLinear", m.const(data.astype(ml_dtypes.int4)), m.const(np.float32(0.1)))
        y = m.node("Conv", m.qdq("x"), w, pads=[1, 1, 1, 1])
        gamma = np.array([-1, 1, 2, 0.5, -2, 1], dtype=np.float32)
        zeros, ones = np.zeros(6, dtype=np.float32), np.ones(6, dtype=np.float32)
        y = m.node("BatchNormalization", y, m.const(gamma), m.const(zeros), m.const(zeros), m.const(ones))
        onnx.save(m.model(m.qdq(y, 0.1)), tmp_path / "m.onnx")
        graph = lower(tmp_path / "m.onnx")
        kept.append(widths(graph)["conv2d"])
        close_to_onnxruntime(graph, tmp_path / "m.onnx", 0.1)
    assert kept == [4, None]


def test_quantisation_to_int4_is_refused(tmp_path: Path) -> None:
    m = ModelMaker([1, 3, 4, 5], opset=21)
    zero = m.const(np.zeros((), dtype=ml_dtypes.int4))
    scale = m.const(np.float32(0.1))
    onnx.save(
        m.model(m.node("DequantizeLinear", m.node("QuantizeLinear", "x", scale, zero), scale)), tmp_path / "m.onnx"
    )
    with pytest.raises(UnsupportedError, match="4 bits"):
        load_model(tmp_path / "m.onnx")


def test_int4_of_tflite_with_a_zero_point_is_refused(tmp_path: Path) -> None:
    """As LiteRT does."""
    m = TfliteMaker()
    x, w = m.input((1, 12)), m.weights((5, 12), None, "INT4", 3)
    y = m.tensor((1, 5), 0.2)
    path = tmp_path / "m.tflite"
    path.write_bytes(m.build(m.op("FULLY_CONNECTED", [x, w, -1], y, "FullyConnectedOptions")))
    with pytest.raises(QuantError, match="zero point"):
        load_model(path)


def test_int4_of_tflite_with_a_byte_too_few_is_malformed(tmp_path: Path) -> None:
    m = TfliteMaker()
    x, w = m.input((1, 3)), m.weights((5, 3), None, "INT4")
    buffer = m.model.buffers[m.graph.tensors[w].buffer]
    assert len(buffer.data) == 8
    buffer.data = buffer.data[:7]
    path = tmp_path / "m.tflite"
    path.write_bytes(m.build(m.op("FULLY_CONNECTED", [x, w, -1], m.tensor((1, 5), 0.2), "FullyConnectedOptions")))
    with pytest.raises(MalformedModelError, match="7 bytes of data"):
        load_model(path)


def narrow_network(folder: Path) -> Graph:
    m = ModelMaker([1, 3, 4, 5], opset=21)
    conv, dense = int4_weights(m, (6, 3, 3, 3), 0), int4_weights(m, (120, 7), 1)
    onnx.save(m.model(network(m, conv, dense)), folder / "m.onnx")
    return lower(folder / "m.onnx")


def test_the_verifier_counts_the_bits(tmp_path: Path) -> None:
    graph = narrow_network(tmp_path)
    (node,) = [n for n in graph.nodes() if n.op.kind == "conv2d"]
    weights = node.tensor(1)
    assert weights.data is not None
    assert weights.quant is not None
    data = weights.data.copy()
    data[0, 0, 0, 0] = 8
    for broken in (
        replace(weights, data=data),
        replace(weights, quant=replace(weights.quant, bits=3)),
        replace(weights, data=None),
    ):
        with pytest.raises(InternalError):
            verify_graph(graph.rebuild(graph.ops, [broken]), "a pass", OPERATORS)


def test_text_and_sizes_tell_of_them(tmp_path: Path) -> None:
    graph = narrow_network(tmp_path)
    assert "int8[7,120] in 4 bits 7 scales" in print_graph(graph)
    weights = {n.op.kind: n.tensor(1).nbytes for n in graph.nodes() if len(n.inputs) > 1}
    assert weights == {"conv2d": 81, "fully_connected": 420}
    emission = emit_c(plan_graph(graph, load_target("host")))
    # A row of the convolution's kernel, 9 weights, is a run of its own.
    assert emission.narrow_saved_bytes == 6 * 27 + 840 - 6 * 3 * 5 - 420


def test_zero_points_are_taken_off_first() -> None:
    data: Array = np.array([[90, 97], [-8, 7]], dtype=np.int8)
    quant = Quant((1.0, 1.0), (97, 0), 0)
    assert is_narrow(data, quant)
    assert narrowed(data, quant).bits == 4
    assert narrowed(data, replace(quant, zero_point=(96, 0))).bits == 4
    assert narrowed(data, replace(quant, zero_point=(99, 0))).bits is None
