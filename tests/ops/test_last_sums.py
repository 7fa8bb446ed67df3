"""mean_of_sums, avg_pool2d_of_sums and requantize_sums against the operators whose output stage they are."""

from __future__ import annotations

import numpy as np
import pytest
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import QuantError, ShapeError
from tinycompile.ir.graph import Array, Node, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.avg_pool2d import AvgPool2d, AvgPool2dAttrs
from tinycompile.ops.avg_pool2d_of_sums import AvgPool2dOfSums, AvgPool2dOfSumsAttrs
from tinycompile.ops.fully_connected import FullyConnected, FullyConnectedAttrs
from tinycompile.ops.last_sums import AverageAttrs, LastSums
from tinycompile.ops.mean import Mean, MeanAttrs
from tinycompile.ops.mean_of_sums import MeanOfSums
from tinycompile.ops.requantize_sums import RequantizeSums, RequantizeSumsAttrs

MEAN, POOL, REQUANTIZE = MeanOfSums(), AvgPool2dOfSums(), RequantizeSums()
Clamp = tuple[int, int] | None
Affine = tuple[float, int]
X = (0.05, 3)


def sums(shape: tuple[int, ...], scale: float, zero_point: int) -> Tensor:
    return activation("x", shape, scale, zero_point, DType.INT32)


def mean(rows: int, ch: int, count: int, out: Affine = X, shape: tuple[int, ...] = ()) -> Node:
    attrs = AverageAttrs(shape or (1, 1, 1, ch), count)
    return make_node(MEAN, (sums((1, rows, 1, ch), X[0], X[1] * count),), activation("y", (), *out), attrs)


def pool(rows: int, ch: int, count: int, out: Affine = X, clamp: Clamp = None) -> Node:
    attrs = AvgPool2dOfSumsAttrs((1, 1, 1, ch), count, clamp)
    return make_node(POOL, (sums((1, rows, 1, ch), X[0], X[1] * count),), activation("y", (), *out), attrs)


def of_int16(kind: str, ch: int, count: int, scale: float = X[0], clamp: Clamp = None) -> Node:
    x, y = sums((1, 3, 1, ch), X[0], 0), activation("y", (), scale, dtype=DType.INT16)
    if kind == "mean":
        return make_node(MEAN, (x,), y, AverageAttrs((1, 1, 1, ch), count))
    return make_node(POOL, (x,), y, AvgPool2dOfSumsAttrs((1, 1, 1, ch), count, clamp))


def requantize(rows: int, ch: int, scales: tuple[float, ...], zero_point: int = 0, clamp: Clamp = None) -> Node:
    quant = Quant(scales, (zero_point,) * len(scales), 3 if len(scales) > 1 else None)
    x = Tensor("x", (1, rows, 1, ch), DType.INT32, quant)
    return make_node(REQUANTIZE, (x,), activation("y", (), 0.31, 11), RequantizeSumsAttrs((1, ch), clamp))


NODES = {
    "mean": mean(4, 37, 20),
    "mean_other_scale": mean(5, 33, 25, (0.013, -7), (1, 33)),
    "mean_of_one_row": mean(1, 12, 6, (0.4, 40)),
    "mean_vector": mean(3, 9, 9, (0.07, 0), (9,)),
    "mean_large_scale_ratio": mean(3, 9, 9, (1e-9, 0)),
    "mean_tiny_scale_ratio": mean(3, 9, 9, (1e7, 0)),
    "pool": pool(4, 37, 24),
    "pool_odd_relu": pool(25, 33, 125, clamp=(3, 127)),
    "pool_above_the_reciprocal": pool(47, 31, 2068),
    "pool_below_the_reciprocal": pool(9, 31, 2043),
    "pool_other_scale": pool(5, 30, 30, (0.021, -30)),
    "pool_other_zero_point": pool(5, 30, 30, (X[0], 4), (-20, 100)),
    "mean_int16": of_int16("mean", 33, 20, 0.071),
    "pool_int16": of_int16("pool", 31, 24, clamp=(0, 32767)),
    "pool_int16_other_scale": of_int16("pool", 31, 30, 0.021),
    "requantize": requantize(4, 21, (0.0007,)),
    "requantize_relu": requantize(1, 10, (0.0011,), clamp=(11, 127)),
    "requantize_per_channel": requantize(3, 7, tuple(0.0003 * 1.3**k for k in range(7))),
    "requantize_zero_point": requantize(3, 7, (0.0007,), -1234),
    "requantize_one_channel": requantize(3, 1, (0.0007,)),
}


def in_range(node: Node, rng: np.random.Generator) -> tuple[Array | None, ...]:
    """Sums that `count` values of int8 can have, their extremes and halves first; any int32 for requantize_sums."""
    x = node.tensor(0)
    if not isinstance(node.attrs, AverageAttrs):
        bits = rng.integers(8, 32, x.shape)
        return ((rng.integers(-(2**31), 2**31, x.shape) >> (31 - bits)).astype(np.int32),)
    count = node.attrs.count
    low, high = node.out.dtype.int_range
    values = rng.integers(low * count, high * count, x.shape, endpoint=True).astype(np.int32)
    first = np.array([low * count, high * count, count // 2, -count // 2, count // 2 - 1, 0])[: x.shape[3]]
    values[0, -1, 0, : first.size] = first
    return (values,)


def cases() -> list[Case]:
    made: list[tuple[str, LastSums]] = [("mean", MEAN), ("pool", POOL), ("requantize", REQUANTIZE)]
    operators = dict(made)
    return [Case(name, operators[name.split("_")[0]], node, values=in_range) for name, node in NODES.items()]


def spread(node: Node, total: Array) -> Array:
    """A map (1, 1, count, ch) of the output's type whose sums per channel are `total`."""
    count = node.attrs.count
    base, rest = total // count, total % count
    return (base + (np.arange(count)[:, None] < rest)).astype(node.out.dtype.numpy)[None, None]


@pytest.mark.parametrize("name", [n for n in NODES if not n.startswith("requantize")])
def test_equals_the_operator_over_the_map(name: str) -> None:
    """mean and avg_pool2d are held to LiteRT in their own tests."""
    node = NODES[name]
    case = next(c for c in cases() if c.name == name)
    for seed in range(8):
        x = case.inputs(seed)[0]
        assert x is not None
        given = spread(node, x[0, -1, 0])
        dtype, zero_point = node.out.dtype, X[1] if node.out.dtype == DType.INT8 else 0
        source = activation("x", given.shape, X[0], zero_point, dtype)
        out = activation("y", (), *node.out.quant.scalar(), dtype)  # type: ignore[union-attr]
        if name.startswith("mean"):
            over = make_node(Mean(), (source,), out, MeanAttrs((1, 2), True))
            want = Mean().reference(over, (given,))
        else:
            attrs = AvgPool2dAttrs(kernel=given.shape[1:3], clamp=node.attrs.clamp)  # type: ignore[arg-type]
            over = make_node(AvgPool2d(), (source,), out, attrs)
            want = AvgPool2d().reference(over, (given,))
        np.testing.assert_array_equal(case.operator.reference(node, (x,)).reshape(-1), want.reshape(-1))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(
    ("s_x", "s_w"), [(0.25, 2.0**-9), (0.25 * (1 + 2.0**-17), 2.0**-9 * (1 - 2.0**-17)), (0.25, 0.0011), (0.25, 2.9e-6)]
)
def test_rounds_as_fully_connected_around_every_half(s_x: float, s_w: float, per_channel: bool) -> None:
    """As biases of a layer whose inputs are 0; those are held to LiteRT in test_fully_connected."""
    s_x, s_w, s_y = (float(np.float32(s)) for s in (s_x, s_w, 0.5))
    halves = np.round((np.arange(-140, 140) + 0.5) / (s_x * s_w / s_y)).astype(np.int64)
    values = (halves[:, None] + np.arange(-1, 2)).reshape(-1).astype(np.int32)
    count = values.size if per_channel else 1
    w_quant = Quant((s_w,) * count, (0,) * count, 0 if per_channel else None)
    w = constant("w", np.ones((values.size, 1), dtype=np.int8), w_quant)
    inputs = (activation("x", (1, 1), s_x), w, constant("b", values))
    layer = make_node(FullyConnected(), inputs, activation("y", (), s_y), FullyConnectedAttrs())
    quant = Quant((s_x * s_w,) * count, (0,) * count, 3 if per_channel else None)
    x = Tensor("x", (1, 1, 1, values.size), DType.INT32, quant)
    node = make_node(REQUANTIZE, (x,), activation("y", (), s_y), RequantizeSumsAttrs((1, values.size)))
    want = FullyConnected().reference(layer, (np.zeros((1, 1), dtype=np.int8), None, None))
    np.testing.assert_array_equal(REQUANTIZE.reference(node, (values.reshape(1, 1, 1, -1),)), want)


def test_only_the_last_row_counts() -> None:
    node = NODES["mean"]
    x = in_range(node, np.random.default_rng(1))[0]
    assert x is not None
    other = x.copy()
    other[0, :-1] += 1000
    np.testing.assert_array_equal(MEAN.reference(node, (x,)), MEAN.reference(node, (other,)))
    other[0, -1] += 1000
    assert (MEAN.reference(node, (x,)) != MEAN.reference(node, (other,))).any()


def test_shapes_and_types_that_do_not_fit_are_refused() -> None:
    out = activation("y", ())
    for shape in ((1, 4, 1, 6), (1, 4, 2, 5)):
        with pytest.raises(ShapeError, match="cannot make"):
            make_node(MEAN, (sums(shape, *X),), out, AverageAttrs((1, 5), 4))
    with pytest.raises(ShapeError, match="cannot make"):
        make_node(MEAN, (sums((1, 4, 1, 6), *X),), out, AverageAttrs((2, 3), 4))
    wrong = make_node(MEAN, (activation("x", (1, 4, 1, 5)),), out, AverageAttrs((1, 5), 4))
    assert "int32" in (MEAN.unsupported(wrong) or "")
    assert MEAN.unsupported(NODES["mean"]) is None


def test_sums_without_one_zero_point_are_refused() -> None:
    x = Tensor("x", (1, 2, 1, 2), DType.INT32, Quant((0.1, 0.2), (0, 1), 3))
    node = make_node(REQUANTIZE, (x,), activation("y", ()), RequantizeSumsAttrs((1, 2)))
    with pytest.raises(QuantError, match="zero point"):
        REQUANTIZE.reference(node, (np.zeros((1, 2, 1, 2), dtype=np.int32),))
