"""Small graphs of float and integer operators through the whole compiler to C, against onnxruntime: what single node
tests do not show (layout, broadcasts of several ranks, several types in one arena, in-place use)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from conformance import _run

Consts = dict[str, Any]
Step = tuple[str, str, str, dict[str, Any]]


def step(kind: str, inputs: str, output: str, **attrs: Any) -> Step:
    return kind, inputs, output, attrs


def f32(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(len(shape)).uniform(0.5, 2.0, shape).astype(np.float32)


def i64(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=np.int64)


# name: (shape of the input x, constants, steps); the last output is the network's.
GRAPHS: dict[str, tuple[tuple[int, ...], Consts, Sequence[Step]]] = {
    "squeeze_excite": (
        (1, 4, 5, 6),
        {"axes": i64(2, 3)},
        [
            step("ReduceMean", "x axes", "m"),
            step("Sigmoid", "m", "s"),
            step("Mul", "x s", "y"),
        ],
    ),
    "batch_of_three_dimensions": (
        (2, 3, 4),
        {"column": f32(3, 1), "row": f32(4), "each": f32(2, 1, 1)},
        [
            step("Add", "x column", "a"),
            step("Mul", "a row", "b"),
            step("Sub", "each b", "c"),
            step("ReduceMax", "c", "d", keepdims=1),
            step("Div", "c d", "y"),
        ],
    ),
    "broadcast_at_run_time": (
        (2, 3, 4),
        {"axes": i64(0), "last": i64(2)},
        [
            step("ReduceSum", "x axes", "m", keepdims=0),
            step("ReduceMin", "x last", "n", keepdims=1),
            step("Add", "x m", "a"),
            step("Mul", "a n", "y"),
        ],
    ),
    "several_types": (
        (1, 6, 8),
        {"half": f32(1), "one": i64(1), "seven": i64(7)},
        [
            step("Greater", "x half", "g"),
            step("Cast", "x", "k", to=TensorProto.INT64),
            step("Mod", "k seven", "r"),
            step("Add", "r one", "p"),
            step("Cast", "p", "f", to=TensorProto.FLOAT),
            step("Not", "g", "h"),
            step("Where", "h x f", "w"),
            step("Cast", "w", "i", to=TensorProto.INT32),
            step("Cast", "i", "j", to=TensorProto.FLOAT),
            step("Sub", "w j", "y"),
        ],
    ),
    "channel_shuffle": (
        (1, 6, 4, 4),
        {"a": i64(1, 2, 3, 4, 4), "b": i64(1, 6, 4, 4), "sizes": i64(2, 4)},
        [
            step("Reshape", "x a", "r"),
            step("Transpose", "r", "t", perm=[0, 2, 1, 3, 4]),
            step("Reshape", "t b", "s"),
            step("Split", "s sizes", "p q", axis=1),
            step("Exp", "p", "e"),
            step("Concat", "q e", "y", axis=1),
        ],
    ),
    "attention_of_one_vector": (
        (1, 5, 8),
        {"axes": i64(1)},
        [
            step("Softmax", "x", "s", axis=1),
            step("Mul", "x s", "w"),
            step("ReduceSum", "w axes", "y", keepdims=0),
        ],
    ),
    "normalised_twice": (
        (2, 3, 8),
        {"g": f32(8), "b": f32(8)},
        [
            step("LayerNormalization", "x g b", "n", axis=-1),
            step("Gelu", "n", "u"),
            step("Add", "x u", "r"),
            step("LayerNormalization", "r g", "m", axis=-1),
            step("LogSoftmax", "m", "y", axis=-1),
        ],
    ),
    "cut_and_padded": (
        (1, 3, 6, 5),
        {
            "starts": i64(5, 0),
            "ends": i64(-10, 4),
            "axes": i64(2, 3),
            "steps": i64(-2, 1),
            "pads": i64(0, 1, 2, 1, 0, 0, 1, 2),
        },
        [
            step("Slice", "x starts ends axes steps", "s"),
            step("Tanh", "s", "t"),
            step("Pad", "t pads", "p", mode="reflect"),
            step("Pad", "p pads", "q"),
            step("Tile", "q tiles", "y"),
        ],
    ),
    "places": (
        (4, 6),
        {"depth": i64(6), "values": np.array([0, 1], dtype=np.float32), "index": i64(3, 0, 0)},
        [
            step("ArgMax", "x", "a", axis=1, keepdims=0),
            step("OneHot", "a depth values", "o"),
            step("Mul", "o x", "m"),
            step("Gather", "m index", "y", axis=0),
        ],
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_onnxruntimes(name: str, tmp_path: Path) -> None:
    shape, consts, steps = GRAPHS[name]
    consts = {"tiles": i64(1, 1, 2, 1), **consts}
    nodes = [helper.make_node(k, i.split(), o.split(), **a) for k, i, o, a in steps]
    used = {i for node in nodes for i in node.input}
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", None))]
    weights = [numpy_helper.from_array(v, n) for n, v in consts.items() if n in used]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    x = np.random.default_rng(3).normal(0, 3, shape).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x})
    (got,) = _run(path, [x], {})
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
