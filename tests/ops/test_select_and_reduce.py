"""select, reduce, cumsum and constant: every way in which they lie in rows, columns and channels, against NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import ShapeError, UnsupportedError
from tinycompile.ir.graph import Array, Attrs, Node, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.base import Grain
from tinycompile.ops.constant import Constant
from tinycompile.ops.cumsum import Cumsum, CumsumAttrs
from tinycompile.ops.elementwise_functions import NUMBER
from tinycompile.ops.reduce import REDUCTIONS, Reduce, ReduceAttrs, arrangement
from tinycompile.ops.select import Select, SelectAttrs

OUT = Tensor("y", (), DType.FLOAT32)
SHAPES = [(7,), (3, 4), (1, 3, 4), (2, 3, 4), (1, 3, 4, 5), (2, 2, 3, 4), (2, 1, 2, 3, 2)]


def selection(shape: tuple[int, ...], indices: Sequence[Sequence[int]], dtype: DType, value: float = 0) -> Node:
    attrs = SelectAttrs(tuple(tuple(i) for i in indices), value)
    return make_node(Select(), (activation("x", shape, dtype=dtype),), OUT, attrs)


def selections() -> dict[str, Node]:
    """Slices of both directions, padding of every kind, expansion and tiling."""
    found = {}
    for k, shape in enumerate(SHAPES):
        dtype = (DType.INT8, DType.FLOAT32, DType.INT64, DType.UINT16, DType.BOOL)[k % 5]
        found[f"every_{k}"] = selection(shape, [range(d) for d in shape], dtype)
        found[f"cut_{k}"] = selection(shape, [range(d)[1:] if d > 1 else range(d) for d in shape], dtype)
        found[f"back_{k}"] = selection(shape, [range(d)[::-1] for d in shape], dtype)
        found[f"padded_{k}"] = selection(shape, [(-1, *range(d), -1, -1) for d in shape], dtype, 1)
        found[f"tiled_{k}"] = selection(shape, [(*range(d), *range(d)) for d in shape], dtype)
    found["steps"] = selection((1, 9, 7, 6), [(0,), range(9)[1::3], range(7)[::2], range(6)[::-2]], DType.FLOAT32)
    found["expanded"] = selection((1, 3, 1), [(0,) * 2, range(3), (0,) * 4], DType.FLOAT32)
    found["columns"] = selection((1, 4, 6, 3), [(0,), range(4), range(1, 5), range(3)], DType.INT8)
    found["holes"] = selection((1, 5, 2, 3), [(0,), (4, -1, 0, 0), (1, -1), (-1, 2)], DType.INT16, -7)
    return found


def reduction(name: str, shape: tuple[int, ...], first: int, end: int, dtype: DType) -> Node:
    return make_node(Reduce(), (activation("x", shape, dtype=dtype),), OUT, ReduceAttrs(name, first, end))


def running_sums(dtype: DType, axis: int, exclusive: bool, reverse: bool) -> Node:
    x = activation("x", (2, 3, 4, 5), dtype=dtype)
    return make_node(Cumsum(), (x,), OUT, CumsumAttrs(axis, exclusive, reverse))


def few(node: Node, rng: np.random.Generator) -> tuple[Array | None, ...]:
    """Integers with ties, floats of several magnitudes."""
    x = node.tensor(0)
    if x.dtype == DType.FLOAT32:
        return ((rng.standard_normal(x.shape) * 10.0 ** rng.integers(-2, 3, x.shape)).astype(np.float32),)
    values = rng.integers(0 if not x.dtype.is_integer or x.dtype.int_range[0] == 0 else -3, 4, x.shape)
    return ((values % 2).astype(np.bool_) if x.dtype == DType.BOOL else values.astype(x.dtype.numpy),)


def cases() -> list[Case]:
    result = [Case(f"select_{name}", Select(), node) for name, node in selections().items()]
    result += [
        Case(f"{name}_{d.value}", Reduce(), reduction(name, (1, 3, 4, 5), 3, 4, d), values=few)
        for name, (_, types) in REDUCTIONS.items()
        for d in DType
        if d in types
    ]
    result += [
        Case(f"cumsum_{k}", Cumsum(), running_sums(d, k % 4, k % 2 > 0, k % 3 > 0), values=few)
        for k, d in enumerate(sorted(NUMBER, key=lambda d: d.value))
    ]
    fixed = constant("c", np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4))
    result.append(Case("constant", Constant(), make_node(Constant(), (fixed,), OUT, Attrs())))
    for k, shape in enumerate(SHAPES):
        for first in range(len(shape)):
            for end in range(first + 1, len(shape) + 1):
                node = reduction("sum", shape, first, end, DType.FLOAT32)
                result.append(Case(f"sum_{k}_{first}_{end}", Reduce(), node, values=few))
    return result


@pytest.mark.parametrize("name", selections())
def test_a_selection_is_numpys(name: str) -> None:
    node = selections()[name]
    (x,) = Case(name, Select(), node).inputs(5)
    assert x is not None
    grid = np.ix_(*node.attrs.indices)
    filled = np.any(np.broadcast_arrays(*(g < 0 for g in grid)), axis=0)
    want = np.where(filled, np.asarray(node.attrs.value, x.dtype), x[grid])
    np.testing.assert_array_equal(Select().reference(node, [x]), want)


def test_running_sums() -> None:
    x = np.zeros((2, 3, 4, 5), dtype=np.int32)
    x[0, 0, 0] = [1, 2, 3, 4, 5]
    for exclusive, reverse, want in (
        (False, False, [1, 3, 6, 10, 15]),
        (True, False, [0, 1, 3, 6, 10]),
        (False, True, [15, 14, 12, 9, 5]),
        (True, True, [14, 12, 9, 5, 0]),
    ):
        got = Cumsum().reference(running_sums(DType.INT32, 3, exclusive, reverse), [x])
        assert got[0, 0, 0].tolist() == want


@pytest.mark.parametrize("shape", SHAPES)
def test_a_reduction_is_numpys(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(-9, 9, shape).astype(np.int32)
    for first in range(len(shape)):
        for end in range(first + 1, len(shape) + 1):
            got = Reduce().reference(reduction("sum", shape, first, end, DType.INT32), [x])
            np.testing.assert_array_equal(got, x.sum(axis=tuple(range(first, end)), keepdims=True))


def test_what_lies_in_rows_streams() -> None:
    nodes = selections()
    assert Select().grain(nodes["steps"]) is Grain.ROW
    assert Select().grain(nodes["expanded"]) is Grain.WHOLE
    assert Reduce().grain(reduction("max", (1, 8, 4, 5), 2, 4, DType.FLOAT32)) is Grain.ROW
    assert Reduce().grain(reduction("max", (1, 8, 4, 5), 1, 2, DType.FLOAT32)) is Grain.WHOLE


@pytest.mark.parametrize(("axes", "want"), [({1}, (1, 2)), ({1, 2}, (1, 3)), ({0, 2}, (1, 4)), ({3, 1, 0}, (1, 4))])
def test_axes_are_brought_together(axes: set[int], want: tuple[int, int]) -> None:
    shape = (1, 3, 4, 5)
    perm, first, end = arrangement(shape, axes)
    x = np.arange(60.0).reshape(shape)
    got = x.transpose(perm).sum(axis=tuple(range(first, end)))
    np.testing.assert_array_equal(got.reshape(-1), x.sum(axis=tuple(axes)).reshape(-1))


def test_what_they_refuse() -> None:
    with pytest.raises(ShapeError, match="leaves it"):
        selection((3,), [(0, 3)], DType.INT8)
    with pytest.raises(UnsupportedError, match="sum of bool"):
        reduction("sum", (3,), 0, 1, DType.BOOL)
