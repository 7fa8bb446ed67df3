"""Files that ask for much are refused with a clear error in 5 s and 2 GiB; what is large but harmless is read."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limited import CPU_SECONDS, refused, run_limited
from onnx import TensorProto, helper, numpy_helper
from test_bad_onnx import OPSET, external_model, functions_model, make, node, value
from test_bad_tflite import small_model, tolerated

from tinycompile.errors import MalformedModelError
from tinycompile.frontends import load_model
from tinycompile.frontends.limits import MAX_FILE_BYTES

MB = 1 << 20


def sparse(path: Path, size: int, start: bytes = b"") -> Path:
    """A file of `size` bytes that takes no room: `start` and zeros."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return path


@pytest.mark.parametrize("size", [1 << 30, 1 << 40, MAX_FILE_BYTES])
@pytest.mark.parametrize("start", [b"", b"\x08\x09", b"\x20\0\0\0TFL3"], ids=["zeros", "onnx", "tflite"])
def test_a_large_file(size: int, start: bytes, tmp_path: Path) -> None:
    error = refused("inspect", sparse(tmp_path / "large.onnx", size, start))
    assert size == MAX_FILE_BYTES or f"{size} bytes" in error


def varint(n: int) -> bytes:
    result = b""
    while n > 0x7F:
        result, n = result + bytes([n & 0x7F | 0x80]), n >> 7
    return result + bytes([n])


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def wire_model(graph: bytes, more: bytes = b"") -> bytes:
    """IR version 9, operator set 17."""
    return b"\x08\x09" + field(8, b"\x10\x11") + more + field(7, graph)


RELU = field(1, field(4, b"Relu"))
WIRE: dict[str, bytes] = {
    "nodes of no bytes": wire_model(b"\x0a\x00" * (8 * MB)),
    "constants of no bytes": wire_model(RELU + b"\x2a\x00" * (8 * MB)),
    "inputs of one node": wire_model(field(1, field(4, b"Relu") + b"\x0a\x00" * (8 * MB))),
    "attributes of one node": wire_model(field(1, field(4, b"Relu") + b"\x2a\x00" * (8 * MB))),
    "operator sets": wire_model(RELU, b"\x42\x00" * (8 * MB)),
    "functions": wire_model(RELU, b"\xca\x01\x00" * (5 * MB)),
    "dimensions": wire_model(RELU + field(5, b"\x08\x01" * (8 * MB))),
    "numbers of one byte": wire_model(RELU + field(5, field(7, b"\x01" * (80 * MB)))),
    "a name": wire_model(field(1, field(4, b"Relu") + field(1, b"x" * (16 * MB)))),
}


@pytest.mark.parametrize("name", WIRE)
def test_small_fields_that_become_large_messages(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(WIRE[name])
    assert "more than" in (error := refused("inspect", path)) or "at most" in error


@pytest.mark.parametrize("depth", [40, 3000, 20_000])
def test_deep_nesting(depth: int, tmp_path: Path) -> None:
    """Subgraph in attribute in node in subgraph."""
    graph = RELU
    for _ in range(depth):
        graph = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, graph)))
        if len(graph) > 4 * MB:
            break
    path = tmp_path / "model.onnx"
    path.write_bytes(wire_model(graph))
    assert "in one another" in refused("inspect", path)


def filled(count: int) -> Any:
    """Node and constants that make `count` zeros at import."""
    return node("ConstantOfShape", "n", "f0"), {"n": np.array([count], dtype=np.int64)}


def folded(count: int, nodes: int) -> Any:
    first, consts = filled(count)
    chain = [node("Exp", f"f{k}", f"f{k + 1}") for k in range(nodes)]
    return make([first, *chain, node("Relu", "x")], consts)


def selected(kind: str, shape: tuple[int, ...], count: int = 1, **consts: Any) -> Any:
    """A chain of `count` selections of the elements of x."""
    steps = [node(kind, " ".join([f"a{k}" if k else "x", *consts]), f"a{k + 1}") for k in range(count)]
    return make([*steps, node("Relu", f"a{count}")], {k: np.array(v, dtype=np.int64) for k, v in consts.items()}, shape)


def function_of_a_large_constant() -> Any:
    model = functions_model(4, 16)
    weight = numpy_helper.from_array(np.zeros(1 << 18, dtype=np.float32))
    body = [helper.make_node("Constant", [], ["c"], value=weight), helper.make_node("Add", ["a", "c"], ["b"])]
    del model.functions[3].node[:]
    model.functions[3].node.extend(body)
    return model


def function_of_a_long_argument() -> Any:
    body = [helper.make_node("Add", ["a", "a"], [f"t{k}"]) for k in range(9000)] + [
        helper.make_node("Relu", ["a"], ["b"])
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    name = "n" * 1_000_000
    function = helper.make_function("local", "F", ["a"], ["b"], body, opsets)
    call = helper.make_node("F", [name], ["y"], domain="local")
    return make([helper.make_node("Relu", ["x"], [name]), call], functions=[function], opset_imports=opsets)


def composed(kind: str, count: int, shape: tuple[int, ...], consts: dict[str, Any], **attrs: Any) -> Any:
    """`count` nodes that importers make many operators of."""
    names = " ".join(["x", *consts])
    steps = [node(kind, names, f"y{k}" if k else "y", **attrs) for k in range(count)]
    return make(steps, consts, shape)


REQUESTS: dict[str, Callable[[], Any]] = {
    "many constant expressions": lambda: make(
        [node("Shape", "x", "s"), *(node("Add", "s s", f"f{k}") for k in range(18_000)), node("Relu", "x")]
    ),
    "large constant expressions": lambda: folded(4 * MB, 300),
    "slices of a wide row": lambda: selected("Slice", (1, 1 << 23), 40, s=[0], e=[(1 << 23) - 1], axes=[1]),
    "a wide tile": lambda: selected("Tile", (1, 4), r=[1, 1 << 22]),
    "a wide expansion": lambda: selected("Expand", (1, 1), r=[1, 1 << 24]),
    "triangles": lambda: selected("Trilu", (4000, 4000), 30),
    "operands": lambda: make([helper.make_node("Concat", ["x"] * 100_000, ["y"], axis=0)]),
    "results": lambda: make(
        [helper.make_node("Split", ["x"], ["y", *(f"o{k}" for k in range(4095))])], shape=(4096, 8)
    ),
    "a function of a large constant": function_of_a_large_constant,
    "a function of a long argument": function_of_a_long_argument,
    "functions of functions": lambda: functions_model(20, 10),
    "operators": lambda: make([node("Relu", "x", f"a{k}") for k in range(30_000)]),
    "recurrent layers of two directions": lambda: composed(
        "GRU",
        19_000,
        (2, 1, 1),
        {"w": np.ones((2, 3, 1), np.float32), "r": np.ones((2, 3, 1), np.float32)},
        direction="bidirectional",
    ),
    "Fourier transforms of long rows": lambda: composed("DFT", 19_000, (1, 1024, 1), {}, axis=1),
    "Fourier transforms by matrices": lambda: composed("DFT", 400, (1, 2047, 1), {}, axis=1),
    "one convolution": lambda: make(
        [node("Conv", "x w")], {"w": np.ones((1, 1, 3, 3), np.float32)}, (1, 1, 2**17, 2**17)
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_small_models_that_ask_for_much_work(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(REQUESTS[name]().SerializeToString())
    error = refused("inspect", path)
    assert "nested too deeply or too large" not in error, "only running out of memory ended it"


def test_external_data_named_by_many_tensors(tmp_path: Path) -> None:
    """A sparse file of 64 MiB, read again for each of a hundred constants."""
    sparse(tmp_path / "weights.bin", 64 * MB)
    model = external_model("weights.bin", length=str(64 * MB))
    tensor = model.graph.initializer[0]
    tensor.dims[:] = [16 * MB]
    for k in range(100):
        model.graph.initializer.add().CopyFrom(tensor)
        model.graph.initializer[-1].name = f"c{k}"
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert "bytes of external data" in refused("inspect", path)


def test_dimensions_without_bytes(tmp_path: Path) -> None:
    """Constants that declare 16 Mi elements and hold a few bytes."""
    model = make([node("Relu", "x")])
    for k in range(1000):
        model.graph.initializer.append(TensorProto(name=f"c{k}", data_type=1, dims=[16 * MB], raw_data=b"\0" * 8))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert "8 bytes of data" in refused("inspect", path)


def test_what_is_large_but_harmless_is_read(tmp_path: Path) -> None:
    """The control: 40 MB of weights and a description of 100 KB import within the same limits."""
    weights = np.zeros((10_000, 1000), dtype=np.float32)
    model = make([node("MatMul", "x w")], {"w": weights}, (1, 10_000))
    model.doc_string = "d" * 100_000
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    run = run_limited("inspect", path)
    assert run.status == 0, run.stderr


def test_operators_that_are_one_table(tmp_path: Path) -> None:
    """30,000 operators that are one table: more than any model has, in a file of 200 KB."""
    maker = small_model()
    maker.graph.operators = [maker.graph.operators[1]] * 30_000
    path = tmp_path / "model.tflite"
    path.write_bytes(maker.build())
    assert "operators" in refused("inspect", path)


def test_offsets_that_point_back(tmp_path: Path) -> None:
    """Each word of a flatbuffer in turn points at itself, at the root table, and far beyond the end."""
    data = small_model().build()
    (root,) = struct.unpack_from("<I", data)
    for at in range(8, min(len(data) - 4, 1200), 4):
        for target in (0, root - at, 0x7FFFFFFF):
            changed = bytearray(data)
            struct.pack_into("<i", changed, at, target)
            tolerated(bytes(changed), tmp_path / "model.tflite")


def test_long_names_are_cheap(tmp_path: Path) -> None:
    """Names of a million characters, of which reports show the ends."""
    name = "n" * 1_000_000
    graph = helper.make_graph(
        [helper.make_node("Relu", [name], [name + "1"])], "g", [value(name, (1, 4))], [value(name + "1", None)]
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=OPSET, ir_version=9).SerializeToString())
    assert all(len(t) <= 130 for t in load_model(path).tensors)
    assert run_limited("inspect", path).cpu_seconds < CPU_SECONDS


def test_the_wire_is_read_as_protobuf_does(tmp_path: Path) -> None:
    """Damage that is found before protobuf would: a group, and lengths beyond the end of the file or of a message."""
    path = tmp_path / "model.onnx"
    for data in (b"\x0b\x0c", b"\x3a\x7f\x00", wire_model(b"\x0a\x05\x22"), b"\xff" * 20, b"\x08"):
        path.write_bytes(data)
        with pytest.raises(MalformedModelError):
            load_model(path)
