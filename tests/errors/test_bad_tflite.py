"""Hostile and broken TFLite files: always a ModelError with its three parts, no traceback, hang or huge allocation."""

from __future__ import annotations

import math
import os
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_models import ModelMaker

from tinycompile.errors import MalformedModelError, ModelError, QuantError, ShapeError, UnsupportedError
from tinycompile.frontends import load_model
from tinycompile.pipeline import ImportOptions, import_model

SECONDS = 10.0
INT_MAX = 2**31 - 1


def compile_model(path: Path) -> None:
    import_model(path, ImportOptions())


def rejected(data: bytes, folder: Path, error: type[ModelError] = ModelError) -> ModelError:
    """The error of a model that must be rejected, in good time."""
    path = folder / "model.tflite"
    path.write_bytes(data)
    start = time.monotonic()
    with pytest.raises(error) as raised:
        compile_model(path)
    assert time.monotonic() - start < SECONDS
    for line in raised.value.lines():
        assert line.split(":", 1)[1].strip()
        assert line.isprintable()
    return raised.value


def small_model(seed: int = 0) -> ModelMaker:
    """quantise (op 0), convolution (1), pooling (2), addition (3), reshape (4), fully connected (5), softmax (6)."""
    m = ModelMaker(seed)
    x = m.input((1, 6, 6, 2), None, dtype="FLOAT32")
    q = m.op("QUANTIZE", [x], m.tensor((1, 6, 6, 2)))
    c = m.op(
        "CONV_2D",
        [q, m.weights((4, 3, 3, 2), 0), m.bias(4)],
        m.tensor((1, 6, 6, 4), 0.1),
        "Conv2DOptions",
        strideH=1,
        strideW=1,
        dilationHFactor=1,
        dilationWFactor=1,
        fusedActivationFunction=1,
    )
    p = m.op(
        "MAX_POOL_2D",
        [c],
        m.tensor((1, 3, 3, 4), 0.1),
        "Pool2DOptions",
        strideH=2,
        strideW=2,
        filterHeight=2,
        filterWidth=2,
    )
    a = m.op("ADD", [p, p], m.tensor((1, 3, 3, 4), 0.2), "AddOptions")
    r = m.op("RESHAPE", [a, m.ints([1, 36])], m.tensor((1, 36), 0.2), "ReshapeOptions", newShape=[1, 36])
    f = m.op("FULLY_CONNECTED", [r, m.weights((5, 36)), m.bias(5)], m.tensor((1, 5), 0.3), "FullyConnectedOptions")
    m.graph.outputs = [m.op("SOFTMAX", [f], m.tensor((1, 5), 1 / 256, -128), "SoftmaxOptions", beta=1.0)]
    return m


@pytest.fixture(scope="module")
def whole() -> bytes:
    return small_model().build()


def test_the_model_the_others_are_broken_from_compiles(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(whole)
    compile_model(path)


def tolerated(data: bytes, path: Path) -> bool:
    """Compiles the file; whether it was refused. Anything but a ModelError fails the test."""
    path.write_bytes(data)
    start = time.monotonic()
    try:
        compile_model(path)
    except ModelError:
        return True
    finally:
        assert time.monotonic() - start < SECONDS
    return False


def test_truncated_anywhere(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    for size in range(1, len(whole), 17):
        tolerated(whole[:size], path)
    rejected(whole[: len(whole) // 2], tmp_path, MalformedModelError)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 12, 100, 5000])
def test_empty_and_random_bytes(size: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(size)
    for _ in range(20):
        data = rng.bytes(size)
        rejected(data, tmp_path, MalformedModelError)
        rejected(data[:4] + b"TFL3" + data[8:], tmp_path, MalformedModelError)


def test_every_word_of_the_structure_replaced(whole: bytes, tmp_path: Path) -> None:
    """Each aligned word in turn becomes an extreme one: every offset, length, index and number of the file."""
    path, refused, count = tmp_path / "model.tflite", 0, 0
    extremes = [struct.pack("<I", v) for v in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FC00000, 0x10000)]
    for at in range(0, len(whole) - 4, 4):
        data = whole[:at] + extremes[(at // 4) % len(extremes)] + whole[at + 4 :]
        refused += tolerated(data, path)
        count += 1
    assert count / 20 < refused < count


def test_random_bytes_replaced(whole: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    path = tmp_path / "model.tflite"
    for _ in range(400):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), int(rng.integers(1, 12))):
            data[at] = int(rng.integers(0, 256))
        tolerated(bytes(data), path)


def _tensor(index: int, **fields: Any) -> Callable[[ModelMaker], None]:
    def change(m: ModelMaker) -> None:
        for name, value in fields.items():
            setattr(m.graph.tensors[index], name, value)

    return change


def _quant(index: int, **fields: Any) -> Callable[[ModelMaker], None]:
    def change(m: ModelMaker) -> None:
        for name, value in fields.items():
            setattr(m.graph.tensors[index].quantization, name, value)

    return change


def _op(index: int, **fields: Any) -> Callable[[ModelMaker], None]:
    def change(m: ModelMaker) -> None:
        for name, value in fields.items():
            setattr(m.graph.operators[index], name, value)

    return change


def _options(index: int, **fields: Any) -> Callable[[ModelMaker], None]:
    def change(m: ModelMaker) -> None:
        for name, value in fields.items():
            setattr(m.graph.operators[index].builtinOptions, name, value)

    return change


def _ports(inputs: list[int] | None = None, outputs: list[int] | None = None) -> Callable[[ModelMaker], None]:
    def change(m: ModelMaker) -> None:
        m.graph.inputs = m.graph.inputs if inputs is None else inputs
        m.graph.outputs = m.graph.outputs if outputs is None else outputs

    return change


# Tensors of `small_model`: 0 input, 1 quantised, 2 weights, 3 bias, 4 convolved, 5 pooled, 6 added, 7 new shape,
# 8 reshaped, 9 weights, 10 bias, 11 connected, 12 softmax.
BROKEN: dict[str, tuple[type[ModelError], Callable[[ModelMaker], None]]] = {
    "zero_dimension": (ShapeError, _tensor(0, shape=[1, 0, 6, 2])),
    "negative_dimension": (ShapeError, _tensor(1, shape=[1, -1, 6, 2])),
    "huge_dimensions": (ShapeError, _tensor(1, shape=[1, 60_000, 60_000, 60_000])),
    "overflowing_dimensions": (ShapeError, _tensor(1, shape=[INT_MAX] * 4)),
    "too_many_dimensions": (ModelError, _tensor(1, shape=[1] * 40)),
    "wrong_output_shape": (ShapeError, _tensor(4, shape=[1, 5, 6, 4])),
    "dynamic_input": (ShapeError, _tensor(0, shapeSignature=[1, -1, 6, 2])),
    "weights_of_another_size": (MalformedModelError, _tensor(2, shape=[4, 3, 3, 3])),
    "bias_of_another_length": (ModelError, _tensor(3, shape=[2, 2])),
    "buffer_out_of_range": (MalformedModelError, _tensor(2, buffer=1000)),
    "unknown_type": (UnsupportedError, _tensor(1, type=77)),
    "string_type": (UnsupportedError, _tensor(1, type=5)),
    "float_where_int8_was": (ModelError, _tensor(4, type=0)),
    "int16_activations": (ModelError, _tensor(4, type=7)),
    "variable_tensor": (UnsupportedError, _tensor(1, isVariable=True)),
    "no_quantisation": (QuantError, _tensor(4, quantization=None)),
    "no_weight_quantisation": (QuantError, _tensor(2, quantization=None)),
    "nan_scale": (QuantError, _quant(1, scale=np.array([math.nan], dtype=np.float32))),
    "infinite_scale": (QuantError, _quant(1, scale=np.array([math.inf], dtype=np.float32))),
    "zero_scale": (QuantError, _quant(4, scale=np.array([0], dtype=np.float32))),
    "negative_scale": (QuantError, _quant(2, scale=np.array([1, 1, -1, 1], dtype=np.float32))),
    "zero_point_out_of_range": (QuantError, _quant(1, zeroPoint=np.array([200]))),
    "huge_zero_point": (QuantError, _quant(1, zeroPoint=np.array([2**62]))),
    "too_many_scales": (QuantError, _quant(2, scale=np.ones(7, dtype=np.float32), zeroPoint=np.zeros(7, np.int64))),
    "too_few_zero_points": (QuantError, _quant(2, zeroPoint=np.zeros(3, np.int64))),
    "scale_axis_out_of_range": (QuantError, _quant(2, quantizedDimension=9)),
    "negative_scale_axis": (QuantError, _quant(2, quantizedDimension=-1)),
    "activations_per_channel": (
        QuantError,
        _quant(4, scale=np.ones(4, np.float32), zeroPoint=np.zeros(4, np.int64), quantizedDimension=3),
    ),
    "input_index_out_of_range": (MalformedModelError, _op(1, inputs=[1, 2, 99])),
    "input_index_negative": (MalformedModelError, _op(1, inputs=[1, -7, 3])),
    "required_input_absent": (MalformedModelError, _op(1, inputs=[-1, 2, 3])),
    "no_inputs": (MalformedModelError, _op(1, inputs=[])),
    "no_outputs": (MalformedModelError, _op(1, outputs=[])),
    "two_outputs": (MalformedModelError, _op(1, outputs=[4, 7])),
    "output_index_negative": (MalformedModelError, _op(1, outputs=[-1])),
    "cycle": (MalformedModelError, _op(1, inputs=[6, 2, 3])),
    "reads_itself": (MalformedModelError, _op(3, inputs=[5, 6])),
    "output_made_twice": (MalformedModelError, _op(3, outputs=[5])),
    "output_is_a_constant": (MalformedModelError, _op(3, outputs=[2])),
    "output_is_the_input": (MalformedModelError, _op(3, outputs=[0])),
    "weights_computed": (ModelError, _op(1, inputs=[1, 1, 3])),
    "no_operator_code": (MalformedModelError, _op(1, opcodeIndex=50)),
    "options_absent": (MalformedModelError, _op(1, builtinOptions=None, builtinOptionsType=0)),
    "zero_stride": (MalformedModelError, _options(1, strideH=0)),
    "negative_dilation": (MalformedModelError, _options(1, dilationWFactor=-3)),
    "huge_stride": (MalformedModelError, _options(1, strideW=INT_MAX)),
    "unknown_padding": (MalformedModelError, _options(1, padding=9)),
    "unknown_activation": (UnsupportedError, _options(1, fusedActivationFunction=44)),
    "zero_kernel": (MalformedModelError, _options(2, filterHeight=0)),
    "kernel_over_input": (ShapeError, _options(2, filterHeight=60_000, padding=1)),
    "nan_beta": (MalformedModelError, _options(6, beta=math.nan)),
    "no_graph_inputs": (MalformedModelError, _ports(inputs=[])),
    "no_graph_outputs": (MalformedModelError, _ports(outputs=[])),
    "graph_input_out_of_range": (MalformedModelError, _ports(inputs=[40])),
    "graph_input_twice": (MalformedModelError, _ports(inputs=[0, 0])),
    "graph_output_twice": (MalformedModelError, _ports(outputs=[12, 12])),
    "graph_output_unmade": (MalformedModelError, _ports(inputs=[1], outputs=[0])),
    "graph_input_is_constant": (MalformedModelError, _ports(inputs=[0, 2])),
    "graph_output_is_constant": (ModelError, _ports(outputs=[9])),
    "another_schema": (MalformedModelError, lambda m: setattr(m.model, "version", 4)),
    "no_subgraph": (MalformedModelError, lambda m: setattr(m.model, "subgraphs", [])),
    "no_tensors": (MalformedModelError, lambda m: setattr(m.graph, "tensors", [])),
    "no_buffers": (MalformedModelError, lambda m: setattr(m.model, "buffers", [])),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_model(name: str, tmp_path: Path) -> None:
    error, change = BROKEN[name]
    maker = small_model()
    change(maker)
    rejected(maker.build(), tmp_path, error)


def test_options_of_another_operator(tmp_path: Path) -> None:
    maker = small_model()
    maker.graph.operators[1].builtinOptions = maker.graph.operators[6].builtinOptions
    maker.graph.operators[1].builtinOptionsType = maker.graph.operators[6].builtinOptionsType
    rejected(maker.build(), tmp_path, MalformedModelError)


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 3e38])
@pytest.mark.parametrize("index", [1, 2, 4, 6, 8, 9, 11, 12])
def test_extreme_scales_are_refused_or_compile(scale: float, index: int, tmp_path: Path) -> None:
    maker = small_model()
    quant = maker.graph.tensors[index].quantization
    quant.scale = np.full(len(quant.scale), scale, dtype=np.float32)
    tolerated(maker.build(), tmp_path / "model.tflite")


def test_a_scale_of_a_few_units_in_the_last_place(tmp_path: Path) -> None:
    maker = ModelMaker()
    y = maker.op("RELU6", [maker.input((1, 4))], maker.tensor((1, 4), 1e-45))
    rejected(maker.build(y), tmp_path, QuantError)


def test_a_movement_that_loses_the_scale(tmp_path: Path) -> None:
    """A constant without a scale, reshaped to a tensor with one: folding must not meet it."""
    maker = ModelMaker()
    x = maker.input((1, 4))
    const = maker.tensor((4,), None, data=np.ones(4))
    moved = maker.op("RESHAPE", [const], maker.tensor((1, 4)))
    y = maker.op("ADD", [x, moved], maker.tensor((1, 4)), "AddOptions")
    rejected(maker.build(y), tmp_path, UnsupportedError)


def test_more_rows_than_can_be_planned(tmp_path: Path) -> None:
    for rows in (70_000, 2**24):
        maker = ModelMaker()
        y = maker.op("RELU", [maker.input((1, rows, 1, 1))], maker.tensor((1, rows, 1, 1)))
        rejected(maker.build(y), tmp_path, ShapeError)


NAMES = [
    'quo"te',
    "line\nbreak\r\x00\x1b[31m",
    "*/ int main(void) { } /*",
    "{{ config }}{% raw %}",
    "../../etc/passwd",
    "\\u0041??/",
    "x" * 10_000,
    "\u202eright to left",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_hostile_names_compile_to_harmless_ones(name: str, tmp_path: Path) -> None:
    maker = small_model()
    for tensor in maker.graph.tensors:
        tensor.name = name.encode()
    path = tmp_path / "model.tflite"
    path.write_bytes(maker.build())
    graph = load_model(path)
    compile_model(path)
    for made in (*graph.tensors, *(op.name for op in graph.ops), *(str(op.source) for op in graph.ops)):
        assert made.isprintable()
        assert len(made) < 200
        assert not set('"\\{}*?') & set(made)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    maker = small_model()
    for tensor in maker.graph.tensors:
        tensor.name = b"\xff\xfe\x80"
    path = tmp_path / "model.tflite"
    path.write_bytes(maker.build())
    compile_model(path)


def test_missing_files_folders_and_wrong_suffixes(whole: bytes, tmp_path: Path) -> None:
    for path in (tmp_path / "absent.tflite", tmp_path, Path("/dev/null"), tmp_path / ("n" * 5000), Path("a\x00b")):
        with pytest.raises(ModelError):
            load_model(path)
    odd = tmp_path / "model.bin"  # the content tells the format
    odd.write_bytes(whole)
    assert load_model(odd).source_format == "tflite"
    odd = tmp_path / "text.tflite"
    odd.write_text("this is no model, whatever its name says")
    with pytest.raises(MalformedModelError, match="identifier"):
        load_model(odd)
    if os.geteuid() != 0:
        odd.chmod(0)
        with pytest.raises(MalformedModelError, match="cannot read"):
            load_model(odd)


def flatbuffer_of_shared_tables(tensors: int, name_bytes: int) -> bytes:
    """A file whose tensor list names one table `tensors` times: small on disk, long to read without a budget."""
    maker = small_model()
    shared = maker.graph.tensors[1]
    shared.name = b"n" * name_bytes
    data = bytearray(maker.build())
    import tflite

    graph = tflite.Model.GetRootAsModel(data, 0).Subgraphs(0)
    field = graph._tab.Offset(4)
    old, count = graph._tab.Vector(field), graph.TensorsLength()
    target = graph._tab.Indirect(old + 4)  # tensor 1
    assert count > 1
    # A new vector is appended; its entries are offsets, so the table has to lie behind it: a copy of the whole file.
    at = len(data) + -len(data) % 4
    data += bytes(at - len(data))
    copy = at + 4 + 4 * tensors
    copy += -copy % 8
    vector = [copy + target - (at + 4 + 4 * i) for i in range(tensors)]
    tail = struct.pack(f"<I{tensors}I", tensors, *vector)
    original = bytes(data[:at])
    data += tail + bytes(copy - at - len(tail)) + original
    position = graph._tab.Pos + field
    data[position : position + 4] = struct.pack("<I", at - position)
    return bytes(data)


def test_one_long_vector_shared_by_many_tables_is_refused_quickly(tmp_path: Path) -> None:
    error = rejected(flatbuffer_of_shared_tables(50_000, 1_000_000), tmp_path, MalformedModelError)
    assert "overlap" in error.what


def test_memory_stays_bounded(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for shape in ([1, 1, 1, 2**24], [1, 4096, 4096, 3], [1, 2**20, 8, 8]):
        maker = small_model()
        maker.graph.tensors[1].shape = shape
        maker.graph.tensors[0].shape = shape
        rejected(maker.build(), tmp_path)
    maker = ModelMaker()
    x = maker.input((1, 4, 4, 1))
    amounts = maker.ints([[0, 0], [2000, 2000], [2000, 2000], [0, 0]])
    maker.op("PAD", [x, amounts], maker.tensor((1, 4, 4, 1)))
    rejected(maker.build(2), tmp_path, ShapeError)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize(
    "amounts",
    [
        [[0, 0], [-1, 0], [0, 0], [0, 0]],
        [[0, 0], [INT_MAX, INT_MAX], [0, 0], [0, 0]],
        [[0, 0], [0, 0]],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ],
)
def test_paddings_without_meaning(amounts: Any, tmp_path: Path) -> None:
    maker = ModelMaker()
    y = maker.op("PAD", [maker.input((1, 4, 4, 1)), maker.ints(amounts)], maker.tensor((1, 4, 4, 1)))
    rejected(maker.build(y), tmp_path)


@pytest.mark.parametrize(
    ("builtin", "options", "fields", "extra"),
    [
        ("TRANSPOSE", "TransposeOptions", {}, [0, 0, 1, 2]),
        ("TRANSPOSE", "TransposeOptions", {}, [0, 1, 2, 9]),
        ("TRANSPOSE", "TransposeOptions", {}, [[0, 1], [2, 3]]),
        ("MEAN", "ReducerOptions", {}, [7]),
        ("MEAN", "ReducerOptions", {}, list(range(100))),
        ("CONCATENATION", "ConcatenationOptions", {"axis": 9}, None),
        ("CONCATENATION", "ConcatenationOptions", {"axis": -9}, None),
        ("RESIZE_BILINEAR", "ResizeBilinearOptions", {}, [0, -4]),
        ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", {}, [INT_MAX, 4]),
        ("LEAKY_RELU", "LeakyReluOptions", {"alpha": math.inf}, None),
        ("RESHAPE", "ReshapeOptions", {}, [5, 5]),
        ("STRIDED_SLICE", "StridedSliceOptions", {}, [0]),
        ("PACK", "PackOptions", {"axis": 3}, None),
        ("DEQUANTIZE", "", {}, None),
        ("LSTM", "LSTMOptions", {}, None),
        ("WHILE", "WhileOptions", {}, None),
    ],
)
def test_operators_without_meaning(builtin: str, options: str, fields: Any, extra: Any, tmp_path: Path) -> None:
    maker = ModelMaker()
    inputs = [maker.input((1, 4, 4, 2))]
    if extra is not None:
        inputs.append(maker.ints(extra))
    shape = (2, 4) if builtin == "RESHAPE" else (1, 4, 4, 2)
    rejected(maker.build(maker.op(builtin, inputs, maker.tensor(shape), options, **fields)), tmp_path)


def test_constants_only(tmp_path: Path) -> None:
    """An output that is known at compile time is no network."""
    maker = ModelMaker()
    y = maker.op("SHAPE", [maker.input((1, 4))], maker.tensor((2,), None, dtype="INT32"), "ShapeOptions", outType=2)
    rejected(maker.build(y), tmp_path, UnsupportedError)


def test_thousands_of_operators_are_quick_or_refused(tmp_path: Path) -> None:
    maker = ModelMaker()
    last = maker.input((1, 4))
    for _ in range(3000):
        last = maker.op("RELU", [last], maker.tensor((1, 4)))
        del maker.model.operatorCodes[1:]
        maker.graph.operators[-1].opcodeIndex = 0
    path = tmp_path / "model.tflite"
    path.write_bytes(maker.build(last))
    start = time.monotonic()
    assert len(load_model(path).ops) == 3000
    assert time.monotonic() - start < SECONDS
    maker.graph.operators *= 10
    rejected(maker.build(last), tmp_path, MalformedModelError)
