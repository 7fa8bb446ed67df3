"""Hostile and broken ONNX files: always a ModelError with its three parts, no traceback, hang or huge allocation."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinycompile.errors import MalformedModelError, ModelError, QuantError, ShapeError, UnsupportedError
from tinycompile.frontends import load_model
from tinycompile.passes import PASSES
from tinycompile.passes.lowering_check import check_supported

SECONDS = 10.0
OPSET = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]


def value(name: str, shape: Any, elem: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, elem, shape)


def make(nodes: list[Any], consts: dict[str, Any] | None = None, shape: Any = (1, 4), **model: Any) -> Any:
    """A model with input x, output y."""
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in (consts or {}).items()]
    graph = helper.make_graph(nodes, "g", [value("x", shape)], [value("y", None)], initializers)
    return helper.make_model(graph, ir_version=9, **{"opset_imports": OPSET, **model})


def node(kind: str, inputs: str, outputs: str = "y", **attrs: Any) -> Any:
    """`inputs` and `outputs` are lists of names with spaces between."""
    return helper.make_node(kind, inputs.split(" "), outputs.split(" "), **attrs)


def compile_model(path: Path) -> None:
    graph = load_model(path)
    for _, run in PASSES:
        graph = run(graph)
    check_supported(graph)


def rejected(model: Any, folder: Path, error: type[ModelError] = ModelError) -> ModelError:
    """The error of a model that must be rejected, in good time."""
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    start = time.monotonic()
    with pytest.raises(error) as raised:
        compile_model(path)
    assert time.monotonic() - start < SECONDS
    for line in raised.value.lines():
        assert line.split(":", 1)[1].strip()
        assert line.isprintable()
    return raised.value


def qdq_model() -> Any:
    """A small model that compiles: quantise, convolution, dequantise."""
    rng = np.random.default_rng(0)
    consts = {
        "s": np.float32(0.05),
        "z": np.int8(3),
        "w": rng.integers(-127, 128, (2, 3, 3, 3)).astype(np.int8),
        "ws": np.array([0.01, 0.02], dtype=np.float32),
        "wz": np.zeros(2, dtype=np.int8),
        "b": np.array([10, -10], dtype=np.int32),
        "bs": np.array([0.0005, 0.001], dtype=np.float32),
        "bz": np.zeros(2, dtype=np.int32),
    }
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("DequantizeLinear", "w ws wz", "wd", axis=0),
        node("DequantizeLinear", "b bs bz", "bd", axis=0),
        node("Conv", "d wd bd", "c"),
        node("QuantizeLinear", "c s z", "cq"),
        node("DequantizeLinear", "cq s z", "y"),
    ]
    return make(nodes, consts, (1, 3, 6, 6))


def test_the_model_the_others_are_broken_from_compiles(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(qdq_model().SerializeToString())
    compile_model(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"onnx", os.urandom(1000), b"\x08\x09" * 500], ids=len)
def test_no_model_at_all(data: bytes, tmp_path: Path) -> None:
    rejected(data, tmp_path, MalformedModelError)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.onnx", tmp_path):
        with pytest.raises(MalformedModelError):
            compile_model(path)


def test_every_truncation(tmp_path: Path) -> None:
    data = qdq_model().SerializeToString()
    path = tmp_path / "cut.onnx"
    for end in range(0, len(data) - 1, 7):
        path.write_bytes(data[:end])
        with pytest.raises(ModelError):
            compile_model(path)


def test_random_damage(tmp_path: Path) -> None:
    """Each damaged file compiles or is rejected; most are rejected."""
    data = bytearray(qdq_model().SerializeToString())
    rng = np.random.default_rng(7)
    path = tmp_path / "damaged.onnx"
    errors = 0
    for _ in range(400):
        copy = bytearray(data)
        for _ in range(int(rng.integers(1, 6))):
            copy[int(rng.integers(len(copy)))] = int(rng.integers(256))
        path.write_bytes(copy)
        try:
            compile_model(path)
        except ModelError:
            errors += 1
    assert errors > 100


def test_cycles_and_missing_inputs(tmp_path: Path) -> None:
    cyclic = make([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b")])
    assert "no earlier node" in rejected(cyclic, tmp_path, MalformedModelError).what
    rejected(make([node("Relu", "nowhere")]), tmp_path, MalformedModelError)
    rejected(make([node("Relu", "x", "z")]), tmp_path, MalformedModelError)
    rejected(make([node("Conv", "x")], shape=(1, 3, 4, 4)), tmp_path, ModelError)
    rejected(make([helper.make_node("Relu", [], ["y"])]), tmp_path, ModelError)


def test_duplicate_names(tmp_path: Path) -> None:
    rejected(make([node("Relu", "x", "y"), node("Tanh", "x", "y")]), tmp_path, MalformedModelError)
    rejected(make([node("Relu", "x", "x")]), tmp_path, MalformedModelError)
    model = make([node("Add", "x c")], {"c": np.float32(1)})
    model.graph.initializer.append(numpy_helper.from_array(np.float32(2), "c"))
    rejected(model, tmp_path, MalformedModelError)
    model = make([node("Relu", "x")])
    model.graph.input.append(value("x", (1, 4)))
    rejected(model, tmp_path, MalformedModelError)
    model = make([node("Relu", "x")])
    model.graph.output.append(value("y", (1, 4)))
    rejected(model, tmp_path, MalformedModelError)


def broken_initializer(change: Callable[[Any], None]) -> Any:
    model = make([node("Add", "x c")], {"c": np.ones(4, dtype=np.float32)})
    change(model.graph.initializer[0])
    return model


@pytest.mark.parametrize(
    "change",
    [
        lambda t: setattr(t, "raw_data", t.raw_data[:-1]),
        lambda t: setattr(t, "raw_data", t.raw_data * 2),
        lambda t: setattr(t, "raw_data", b""),
        lambda t: t.ClearField("raw_data"),
        lambda t: setattr(t, "data_type", TensorProto.STRING),
        lambda t: setattr(t, "data_type", TensorProto.COMPLEX64),
        lambda t: setattr(t, "data_type", 99),
        lambda t: setattr(t, "data_type", TensorProto.INT8),
        lambda t: t.dims.append(2**40),
        lambda t: t.dims.append(-1),
        lambda t: t.dims.extend([1] * 100),
        lambda t: t.dims.extend([2**31, 2**31, 2**31]),
    ],
)
def test_initializers_that_do_not_fit(change: Callable[[Any], None], tmp_path: Path) -> None:
    rejected(broken_initializer(change), tmp_path)


def external_model(location: str, **entries: str) -> Any:
    model = make([node("Add", "x c")], {"c": np.ones(4, dtype=np.float32)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=text)
    return model


def test_external_data_stays_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(4, dtype=np.float32).tobytes())
    (folder / "inside.bin").write_bytes(secret.read_bytes())
    (folder / "link.bin").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    for location in ("../secret.bin", str(secret), "link.bin", "up/secret.bin", "/etc/passwd", "a/../../secret.bin"):
        assert "outside" in rejected(external_model(location), folder, MalformedModelError).what
    for location in ("missing.bin", "", ".", "bad\0name", "x" * 5000):
        rejected(external_model(location), folder, MalformedModelError)
    for entries in ({"offset": "4"}, {"offset": "-4"}, {"length": "8"}, {"length": "-1"}, {"offset": "x"}):
        rejected(external_model("inside.bin", **entries), folder, MalformedModelError)
    path = folder / "good.onnx"
    path.write_bytes(external_model("inside.bin").SerializeToString())
    load_model(path)


@pytest.mark.parametrize("shape", [None, (1, "n"), ("a", "b"), (0, 4), (1, -3), (2**40,), (1, 2**30, 2**30), (1,) * 60])
def test_shapes_without_meaning(shape: Any, tmp_path: Path) -> None:
    rejected(make([node("Relu", "x")], shape=shape), tmp_path, ShapeError)


BOMBS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "ConstantOfShape": (
        [node("ConstantOfShape", "big", "a"), node("Add", "x a")],
        {"big": np.array([2**20, 2**20], dtype=np.int64)},
    ),
    "Expand": (
        [node("Expand", "one big", "a"), node("Add", "x a")],
        {"one": np.ones(1, dtype=np.float32), "big": np.array([2**20, 2**20], dtype=np.int64)},
    ),
    "Tile": (
        [node("Tile", "one big", "a"), node("Add", "x a")],
        {"one": np.ones(1, dtype=np.float32), "big": np.array([2**45], dtype=np.int64)},
    ),
    "Range": (
        [node("Range", "zero big step", "a"), node("Add", "x a")],
        {"zero": np.float32(0), "big": np.float32(1e30), "step": np.float32(1e-3)},
    ),
    "Pad": ([node("Pad", "x pads")], {"pads": np.array([0, 2**40, 0, 2**40], dtype=np.int64)}),
    "Resize": ([node("Resize", "m  scales")], {"m": 0, "scales": np.array([1, 1, 1e6, 1e6], dtype=np.float32)}),
    "Gather": (
        [node("Gather", "data index", "a"), node("Gather", "a index", "b", axis=1), node("Add", "x b")],
        {"data": np.zeros((300, 300), dtype=np.float32), "index": np.zeros((300, 300), dtype=np.int64)},
    ),
    "Add": (
        [node("Add", "column row", "a"), node("Add", "x a")],
        {"column": np.zeros((10**5, 1), dtype=np.float32), "row": np.zeros((1, 10**5), dtype=np.float32)},
    ),
    "doubling": (
        [node("Concat", f"a{k} a{k}", f"a{k + 1}", axis=0) for k in range(40)] + [node("Add", "x a40")],
        {"a0": np.zeros(1024, dtype=np.float32)},
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_that_ask_for_much(name: str, tmp_path: Path) -> None:
    nodes, consts = BOMBS[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name == "Resize":
        model = make([node("Resize", "x  scales")], {"scales": consts["scales"]}, (1, 1, 64, 64))
    else:
        model = make(nodes, consts)
    rejected(model, tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024  # KiB


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, -np.inf, 1e-40, 1e30])
def test_scales_without_meaning(scale: float, tmp_path: Path) -> None:
    model = qdq_model()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.float32(scale), "s"))
    rejected(model, tmp_path, QuantError)


@pytest.mark.parametrize(
    ("name", "new", "error"),
    [
        ("z", np.array([1, 2, 3], dtype=np.int8), QuantError),
        ("z", np.int32(1000), ModelError),
        ("z", np.float32(3), UnsupportedError),
        ("s", np.ones((2, 2), dtype=np.float32), QuantError),
        ("s", np.zeros(0, dtype=np.float32), ShapeError),
        ("s", np.float64(0.1), UnsupportedError),
        ("ws", np.ones(7, dtype=np.float32), QuantError),
        ("ws", np.array([0.01, np.nan], dtype=np.float32), QuantError),
        ("b", np.array([2**31 - 1, 1], dtype=np.int64), ModelError),
        ("bs", np.array([1e20, 1e20], dtype=np.float32), QuantError),
    ],
)
def test_quantisation_that_does_not_fit(name: str, new: Any, error: type[ModelError], tmp_path: Path) -> None:
    model = qdq_model()
    index = next(k for k, t in enumerate(model.graph.initializer) if t.name == name)
    model.graph.initializer[index].CopyFrom(numpy_helper.from_array(np.asarray(new), name))
    rejected(model, tmp_path, error)


def test_one_tensor_read_with_two_scales(tmp_path: Path) -> None:
    model = qdq_model()
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.06), "other"))
    model.graph.node[1].input[1] = "other"
    rejected(model, tmp_path, QuantError)


NAMES = {
    "quotes": "\"'`",
    "newlines": "a\nb\r\nc",
    "comment": "*/ #error /*",
    "template": "{{ 7 * 7 }}{% for x in y %}",
    "path": "../../etc/passwd",
    "long": "n" * 10_000,
    "control": "\x1b[31m\x07",
    "unicode": "größe→✓\u202e",
    "blank": " ",
}


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_tamed(name: str, tmp_path: Path) -> None:
    text = NAMES[name]
    graph = helper.make_graph(
        [
            helper.make_node("Relu", [text], [text + "1"], name=text),
            helper.make_node("MatMul", [text + "1", "weights"], [text + "2"]),
        ],
        text,
        [value(text, (1, 4))],
        [value(text + "2", None)],
        [numpy_helper.from_array(np.full((4, 2), np.inf, dtype=np.float32), "weights")],
    )
    path = tmp_path / "names.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=OPSET, ir_version=9).SerializeToString())
    loaded = load_model(path)
    assert len(loaded.tensors) == 4
    for word in (*loaded.tensors, *(op.name for op in loaded.ops), *(str(op.source.node) for op in loaded.ops)):
        assert word
        assert len(word) < 200
        assert not set(word) & set("\"'`\n\r{}*\\\x1b")
    rejected(path.read_bytes(), tmp_path, UnsupportedError)  # the message about the weights is printable too


def test_names_that_collide_once_tamed(tmp_path: Path) -> None:
    names = ["a*", "a?", "a_", "a\\"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in zip(["x", *names], [*names, "y"], strict=True)]
    path = tmp_path / "names.onnx"
    path.write_bytes(make(nodes).SerializeToString())
    assert len(load_model(path).tensors) == 6


def test_all_unsupported_operators_are_named_at_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="between"),
        helper.make_node("Einsum", ["b"], ["c"], name="second", equation="ij->ij"),
        helper.make_node("Mystery", ["c"], ["y"], name="third", domain="com.acme"),
    ]
    error = rejected(make(nodes), tmp_path, UnsupportedError)
    for word in ("Det", "first", "Einsum", "second", "com.acme.Mystery", "third"):
        assert word in error.what
    assert "between" not in error.what


def test_what_has_no_kernel_is_refused_by_name(tmp_path: Path) -> None:
    model = make([node("Relu", "x", "a"), node("MatMul", "a w")], {"w": np.full((4, 2), np.inf, dtype=np.float32)})
    error = rejected(model, tmp_path, UnsupportedError)
    assert "fully_connected" in error.what
    assert "not finite" in error.what
    assert "clip" not in error.what
    assert "quantise" in error.fix


def test_control_flow_and_nested_subgraphs(tmp_path: Path) -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["o"])], "g", [], [value("o", (1, 4))])
    for _ in range(30):
        choice = helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner) if _ < 4 else None
        if choice is not None:
            inner = helper.make_graph([choice], "g", [], [value("o", (1, 4))])
    model = make([helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], {"c": np.array(True)})
    assert "control flow" in rejected(model, tmp_path, UnsupportedError).what


def test_deeply_nested_protobuf(tmp_path: Path) -> None:
    """Subgraph in attribute in node in subgraph, 3000 levels deep, written by hand."""

    def field(number: int, payload: bytes) -> bytes:
        length, n = b"", len(payload)
        while True:
            length += bytes([n & 0x7F | (0x80 if n > 0x7F else 0)])
            n >>= 7
            if not n:
                return bytes([number << 3 | 2]) + length + payload

    graph = field(1, field(4, b"Relu"))
    for _ in range(3000):
        graph = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, graph)))
    rejected(b"\x08\x09" + bytes([7 << 3 | 2]) + field(7, graph)[1:], tmp_path)


def functions_model(depth: int, width: int, recursive: bool = False) -> Any:
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = []
    for level in range(depth):
        callee = f"F{level + 1}" if level + 1 < depth else ("F0" if recursive else "Relu")
        domain = "" if callee == "Relu" else "local"
        names = ["a", *(f"t{k}" for k in range(width - 1)), "b"]
        nodes = [helper.make_node(callee, [names[k]], [names[k + 1]], domain=domain) for k in range(width)]
        functions.append(helper.make_function("local", f"F{level}", ["a"], ["b"], nodes, opset))
    graph_node = helper.make_node("F0", ["x"], ["y"], domain="local")
    return make([graph_node], functions=functions, opset_imports=opset)


def test_function_bombs_and_recursion(tmp_path: Path) -> None:
    rejected(functions_model(20, 10), tmp_path, MalformedModelError)
    rejected(functions_model(3, 2, recursive=True), tmp_path, MalformedModelError)
    rejected(functions_model(500, 1), tmp_path, MalformedModelError)
    path = tmp_path / "fine.onnx"
    path.write_bytes(functions_model(3, 2).SerializeToString())
    assert len(load_model(path).ops) == 8


@pytest.mark.parametrize("version", [0, 1, 5, 10_000, -5])
def test_operator_set_versions(version: int, tmp_path: Path) -> None:
    model = make([node("Relu", "x")], opset_imports=[helper.make_opsetid("", version)])
    rejected(model, tmp_path, UnsupportedError)


@pytest.mark.parametrize(
    "bad",
    [
        node("Conv", "x w", strides=[0, 1]),
        node("Conv", "x w", strides=[1]),
        node("Conv", "x w", pads=[-1, 0, 0, 0]),
        node("Conv", "x w", pads=[2**40] * 4),
        node("Conv", "x w", dilations=[2**31, 1]),
        node("Conv", "x w", group=0),
        node("Conv", "x w", group=-3),
        node("Conv", "x w", group="three"),
        node("Conv", "x w", auto_pad="SIDEWAYS"),
        node("Conv", "x w", kernel_shape=[5, 5]),
        node("Conv", "x x"),
        node("MaxPool", "x"),
        node("MaxPool", "x", kernel_shape=[100, 100]),
        node("AveragePool", "x", kernel_shape=[2, 2], strides=[2**40, 1]),
        node("Transpose", "x", perm=[0, 0, 1, 2]),
        node("Transpose", "x", perm=[9, 1, 2, 3]),
        node("Concat", "x x", axis=9),
        node("Flatten", "x", axis=50),
        node("Softmax", "x", axis=-9),
        node("Reshape", "x shape"),
        node("Squeeze", "x axes"),
        node("Unsqueeze", "x axes"),
        node("LeakyRelu", "x", alpha=float("nan")),
        node("Clip", "x one one", unknown=1),
        node("Gemm", "x w"),
        node("MatMul", "x w"),
        node("ReduceMean", "x", axes=[7]),
        node("Cast", "x", to=12345),
        node("BatchNormalization", "x one one one minus"),
        node("Resize", "x   sizes"),
        node("QLinearConv", "x one two w one two one two"),
        helper.make_node("QLinearConcat", ["one"], ["y"], domain="com.microsoft", axis=1),
    ],
    ids=lambda n: n.op_type,
)
def test_attributes_and_inputs_without_meaning(bad: Any, tmp_path: Path) -> None:
    consts = {
        "w": np.ones((2, 3, 3, 3), dtype=np.float32),
        "one": np.float32(1),
        "two": np.float32(2),
        "minus": np.array([-1, -1, -1], dtype=np.float32),
        "shape": np.array([7, 7, -1], dtype=np.int64),
        "axes": np.array([40], dtype=np.int64),
        "sizes": np.array([1, 3, 0, -4], dtype=np.int64),
    }
    rejected(make([bad], consts, (1, 3, 6, 6)), tmp_path)


def test_outputs_that_nothing_computes(tmp_path: Path) -> None:
    """Constants and copies of inputs, of types that a network has."""
    path = tmp_path / "model.onnx"
    for value in (np.ones(3, dtype=np.float32), np.zeros((), dtype=np.int64)):
        path.write_bytes(make([node("Identity", "c")], {"c": value}).SerializeToString())
        compile_model(path)
    path.write_bytes(make([node("Identity", "x")]).SerializeToString())
    compile_model(path)
    rejected(make([node("Identity", "c")], {"c": np.ones(3, dtype=np.float64)}), tmp_path, UnsupportedError)


@pytest.mark.parametrize(
    "kind", [TensorProto.STRING, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, 77]
)
def test_input_types(kind: int, tmp_path: Path) -> None:
    model = make([node("Relu", "x")])
    model.graph.input[0].type.tensor_type.elem_type = kind
    rejected(model, tmp_path, UnsupportedError)


def test_thousands_of_nodes_are_quick_or_refused(tmp_path: Path) -> None:
    chain = [node("Relu", f"a{k}" if k else "x", f"a{k + 1}") for k in range(3000)]
    path = tmp_path / "chain.onnx"
    path.write_bytes(make([*chain, node("Relu", "a3000")]).SerializeToString())
    start = time.monotonic()
    compile_model(path)
    assert time.monotonic() - start < SECONDS
    chain = [node("Relu", "x", f"a{k}") for k in range(30_000)]
    rejected(make([*chain, node("Relu", "a0")]), tmp_path, MalformedModelError)
