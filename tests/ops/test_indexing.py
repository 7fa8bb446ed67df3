"""take, put, top_k and the places of maximum pooling: every type, places outside, equal elements."""

from __future__ import annotations

import numpy as np
import pytest
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Array, Node, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.elementwise_functions import ANY, NUMBER
from tinycompile.ops.max_pool2d_places import MaxPool2dPlaces, MaxPool2dPlacesAttrs
from tinycompile.ops.put import COMBINATIONS, Put, PutAttrs
from tinycompile.ops.take import Take, TakeAttrs
from tinycompile.ops.top_k import TopK, TopKAttrs

OUT = Tensor("y", (), DType.FLOAT32)
SHAPE = (2, 5, 3)


def by_value(dtype: DType) -> str:
    return dtype.value


def out(dtype: DType) -> Tensor:
    return Tensor("y", (), dtype)


def taking(dtype: DType, axis: int, places: tuple[int, ...], fixed: int | None = None) -> Node:
    data, at = activation("x", SHAPE, dtype=dtype), activation("p", places, dtype=DType.INT64)
    if fixed == 0:
        data = constant("x", np.arange(30).reshape(SHAPE).astype(dtype.numpy))
    if fixed == 1:
        at = constant("p", np.arange(np.prod(places), dtype=np.int64).reshape(places) - 2)
    return make_node(Take(), (data, at), out(dtype), TakeAttrs(axis))


def putting(dtype: DType, combination: str, fixed: bool = False) -> Node:
    data = activation("x", (6, 2), dtype=dtype)
    if fixed:
        data = constant("x", np.zeros((6, 2), dtype=dtype.numpy))
    inputs = (data, activation("p", (5,), dtype=DType.INT64), activation("u", (5, 2), dtype=dtype))
    return make_node(Put(), inputs, out(dtype), PutAttrs(combination))


def first(dtype: DType, axis: int, k: int, largest: bool, places: bool) -> Node:
    x = activation("x", SHAPE, dtype=dtype)
    return make_node(TopK(), (x,), out(dtype), TopKAttrs(axis, k, largest, places))


def largest_places(dtype: DType, by_columns: bool, dilation: tuple[int, int] = (1, 1)) -> Node:
    x = activation("x", (1, 6, 7, 3), dtype=dtype)
    attrs = MaxPool2dPlacesAttrs((2, 3), (2, 1), (1, 0, 1, 2), None, dilation, by_columns)
    return make_node(MaxPool2dPlaces(), (x,), out(DType.INT64), attrs)


def few(node: Node, rng: np.random.Generator) -> tuple[Array | None, ...]:
    """Few values, so that some are equal; places that are inside, negative and outside."""
    found: list[Array | None] = []
    for tensor in node.inputs:
        if tensor is None or tensor.is_const:
            found.append(None)
        elif tensor.name == "p":
            found.append(rng.integers(-4, 8, tensor.shape))
        else:
            low = 0 if not tensor.dtype.is_integer or tensor.dtype.int_range[0] == 0 else -2
            values = rng.integers(low if tensor.dtype != DType.FLOAT32 else -2, 4, tensor.shape)
            values = values % 2 if tensor.dtype == DType.BOOL else values
            found.append(values.astype(tensor.dtype.numpy))
    return tuple(found)


def cases() -> list[Case]:
    result = [
        Case(f"take_{d.value}", Take(), taking(d, k % 3, ((4,), (2, 3), ())[k % 3]), values=few)
        for k, d in enumerate(sorted(ANY, key=by_value))
    ]
    result += [Case(f"take_fixed_{k}", Take(), taking(DType.FLOAT32, 1, (4,), k), values=few) for k in (0, 1)]
    for name, (_, types) in COMBINATIONS.items():
        result += [
            Case(f"put_{name}_{d.value}", Put(), putting(d, name), values=few) for d in sorted(types, key=by_value)
        ]
    result.append(Case("put_fixed", Put(), putting(DType.FLOAT32, "add", True), values=few))
    for k, d in enumerate(sorted(NUMBER, key=by_value)):
        for places in (False, True):
            result.append(Case(f"top_{places}_{d.value}", TopK(), first(d, k % 3, 2, k % 2 > 0, places), values=few))
    for k, d in enumerate((DType.FLOAT32, DType.INT8)):
        result.append(Case(f"places_{d.value}", MaxPool2dPlaces(), largest_places(d, k > 0), values=few))
    result.append(Case("places_dilated", MaxPool2dPlaces(), largest_places(DType.FLOAT32, False, (2, 2)), values=few))
    return result


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_first_of_equal_ones_comes_first(largest: bool, axis: int) -> None:
    k = min(SHAPE[axis], 3)
    node = first(DType.INT32, axis, k, largest, True)
    (x,) = few(node, np.random.default_rng(3))
    assert x is not None
    for line, got in zip(
        np.moveaxis(x, axis, -1).reshape(-1, SHAPE[axis]).tolist(),
        np.moveaxis(TopK().reference(node, [x]), axis, -1).reshape(-1, k).tolist(),
        strict=True,
    ):
        assert got == sorted(range(len(line)), key=lambda i: (-line[i] if largest else line[i], i))[:k]


def test_places_of_the_largest() -> None:
    x = np.zeros((1, 4, 6, 2), dtype=np.float32)
    x[0, 1, 2, 0], x[0, 3, 4, 1], x[0, 0, 5, 0] = 3, 3, np.nan
    plain = MaxPool2dPlacesAttrs((2, 2), (2, 2))
    for by_columns, want in ((False, [[0, 8, 5], [12, 14, 16]]), (True, [[0, 9, 20], [2, 10, 18]])):
        attrs = MaxPool2dPlacesAttrs((2, 2), (2, 2), by_columns=by_columns)
        node = make_node(MaxPool2dPlaces(), (activation("x", x.shape, dtype=DType.FLOAT32),), OUT, attrs)
        assert MaxPool2dPlaces().reference(node, [x])[0, :, :, 0].tolist() == want
    node = make_node(MaxPool2dPlaces(), (activation("x", x.shape, dtype=DType.FLOAT32),), OUT, plain)
    assert MaxPool2dPlaces().reference(node, [x])[0, 1, 2, 1] == 24 + 3 * 6 + 4


@pytest.mark.parametrize("k", [0, 6])
def test_more_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(UnsupportedError, match="along dimension 1"):
        first(DType.FLOAT32, 1, k, True, False)


def test_updates_that_do_not_fit_are_refused() -> None:
    inputs = (activation("x", (6, 2)), activation("p", (5,), dtype=DType.INT64), activation("u", (4, 2)))
    with pytest.raises(UnsupportedError, match="into int8"):
        make_node(Put(), inputs, out(DType.INT8), PutAttrs())
