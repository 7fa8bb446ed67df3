"""concat, reshape, pad and transpose: data movement against NumPy, requantising concat against LiteRT."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from litert_models import run_litert, schema, single_op_model
from operator_cases import Case, activation, make_node

from tinycompile.ir.graph import Node
from tinycompile.ir.types import DType
from tinycompile.ops.concat import Concat, ConcatAttrs
from tinycompile.ops.pad import Pad, PadAttrs
from tinycompile.ops.reshape import Reshape, ReshapeAttrs
from tinycompile.ops.transpose import Transpose, TransposeAttrs


def concat(shapes: list[tuple[int, ...]], axis: int, scales: tuple[float, ...] = ()) -> Node:
    inputs = tuple(
        activation(f"x{i}", s, scales[i] if scales else 0.05, 3 + i * bool(scales)) for i, s in enumerate(shapes)
    )
    return make_node(Concat(), inputs, activation("y", (), 0.05, 3), ConcatAttrs(axis))


CONCATS = {
    "channels": concat([(1, 3, 4, 2), (1, 3, 4, 5), (1, 3, 4, 1)], 3),
    "columns": concat([(1, 3, 4, 2), (1, 3, 1, 2)], 2),
    "rows": concat([(1, 3, 4, 2), (1, 1, 4, 2), (1, 2, 4, 2)], 1),
    "vectors": concat([(1, 7), (1, 3)], 1),
    "batch": concat([(2, 3, 4), (1, 3, 4)], 0),
    "middle": concat([(2, 3, 4, 2), (2, 1, 4, 2)], 1),
    "rescaled": concat([(1, 3, 4, 2), (1, 3, 4, 5)], 3, (0.05, 0.08)),
    "rescaled_rows": concat([(1, 3, 4, 2), (1, 2, 4, 2)], 1, (0.02, 0.05)),
}
PADS = {
    "map": ((1, 3, 4, 2), (0, 1, 2, 0), (0, 2, 0, 0), -7),
    "channels": ((1, 3, 4, 2), (0, 0, 1, 1), (0, 1, 1, 2), 5),
    "rows_only": ((1, 3, 4, 2), (0, 3, 0, 0), (0, 0, 0, 0), -128),
    "sequence": ((1, 6, 3), (0, 2, 0), (0, 1, 1), 9),
    "vector": ((5,), (1,), (2,), 1),
}


def pad_node(name: str) -> Node:
    shape, before, after, value = PADS[name]
    x, y = activation("x", shape, 0.05, 3), activation("y", (), 0.05, 3)
    return make_node(Pad(), (x,), y, PadAttrs(before, after, value))


def transpose(shape: tuple[int, ...], perm: tuple[int, ...], dtype: DType = DType.INT8) -> Node:
    x, y = activation("x", shape, 0.05, 3, dtype), activation("y", (), 0.05, 3, dtype)
    return make_node(Transpose(), (x,), y, TransposeAttrs(perm))


def reshape(shape: tuple[int, ...], to: tuple[int, ...]) -> Node:
    return make_node(Reshape(), (activation("x", shape),), activation("y", ()), ReshapeAttrs(to))


def cases() -> list[Case]:
    result = [Case(f"concat_{n}", Concat(), node) for n, node in CONCATS.items()]
    result += [Case(f"pad_{n}", Pad(), pad_node(n)) for n in PADS]
    for perm in ((0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1, 3), (3, 2, 1, 0)):
        result.append(Case(f"transpose_{''.join(map(str, perm))}", Transpose(), transpose((1, 3, 4, 5), perm)))
    result.append(Case("transpose_float", Transpose(), transpose((2, 3, 4), (1, 0, 2), DType.FLOAT32)))
    result.append(Case("transpose_int64", Transpose(), transpose((2, 3, 4), (2, 1, 0), DType.INT64)))
    result.append(Case("reshape", Reshape(), reshape((1, 3, 4, 5), (1, 60))))
    result.append(Case("reshape_same_rows", Reshape(), reshape((1, 3, 4, 5), (3, 4, 5))))
    return result


@pytest.mark.parametrize("name", [n for n in CONCATS if not n.startswith("rescaled")])
def test_concat_is_numpy(name: str) -> None:
    node = CONCATS[name]
    values = Case("", Concat(), node).inputs(4)
    want = np.concatenate([v for v in values if v is not None], axis=node.attrs.axis)
    np.testing.assert_array_equal(Concat().reference(node, values), want)


@pytest.mark.parametrize("name", list(CONCATS))
def test_row_view_offsets_are_where_the_inputs_lie(name: str) -> None:
    node = CONCATS[name]
    offsets = Concat().row_view_offsets(node)
    assert (offsets is not None) == (name in ("rows", "vectors", "batch"))
    if offsets is not None:
        values = Case("", Concat(), node).inputs(4)
        flat = Concat().reference(node, values).reshape(-1)
        for value, offset in zip(values, offsets, strict=True):
            assert value is not None
            np.testing.assert_array_equal(flat[offset : offset + value.size], value.reshape(-1))


def test_rescaled_concat_requantises_each_input() -> None:
    """LiteRT's converter inserts QUANTIZE operators for this; each input must equal that operator."""
    node = CONCATS["rescaled"]
    values = Case("", Concat(), node).inputs(4)
    parts = []
    for tensor, value in zip(node.inputs, values, strict=True):
        assert tensor is not None
        assert value is not None
        out = activation("q", tensor.shape, 0.05, 3)
        parts.append(run_litert(single_op_model("QUANTIZE", [tensor], out), [value]))
    np.testing.assert_array_equal(Concat().reference(node, values), np.concatenate(parts, axis=3))


@pytest.mark.parametrize("name", list(PADS))
def test_pad_is_numpy(name: str) -> None:
    _, before, after, value = PADS[name]
    x = Case("", Pad(), pad_node(name)).inputs(4)[0]
    assert x is not None
    want = np.pad(x, list(zip(before, after, strict=True)), constant_values=value)
    np.testing.assert_array_equal(Pad().reference(pad_node(name), [x]), want)


def test_pad_equals_litert() -> None:
    s = schema()
    assert s is not None
    node = pad_node("map")
    amounts = np.stack([node.attrs.before, node.attrs.after], axis=1).astype(np.int32)
    from operator_cases import constant

    model = single_op_model("PAD", [node.inputs[0], constant("p", amounts)], node.out, "PadOptions")
    x = Case("", Pad(), node).inputs(4)[0]
    assert x is not None
    zero = make_node(Pad(), node.inputs, node.out, PadAttrs(node.attrs.before, node.attrs.after, 3))
    np.testing.assert_array_equal(Pad().reference(zero, [x]), run_litert(model, [x]))


@pytest.mark.parametrize("perm", list(itertools.permutations(range(4))))
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 5)])
def test_transpose_is_numpy(shape: tuple[int, ...], perm: tuple[int, ...]) -> None:
    node = transpose(shape, perm)
    x = Case("", Transpose(), node).inputs(4)[0]
    assert x is not None
    np.testing.assert_array_equal(Transpose().reference(node, [x]), np.transpose(x, perm))
    moves = not np.array_equal(np.transpose(x, perm).reshape(-1), x.reshape(-1))
    assert (Transpose().view(node) is None) == moves


def test_transpose_of_nine_loops_is_unsupported() -> None:
    assert Transpose().unsupported(transpose((2,) * 8, tuple(reversed(range(8))))) is None
    assert "9 loops" in (Transpose().unsupported(transpose((2,) * 9, tuple(reversed(range(9))))) or "")
