"""fully_connected against LiteRT's reference kernels; weights with zero points against plain integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from convolution_cases import narrow_weights, random_weights, weight_quant
from litert_models import run_litert, schema, single_op_model
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Node
from tinycompile.ir.quant import Quant, multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import Region
from tinycompile.ops.base import Grain
from tinycompile.ops.fully_connected import FullyConnected, FullyConnectedAttrs

FC = FullyConnected()


def layer(
    shape: tuple[int, ...],
    outputs: int,
    keep_dims: bool = False,
    per_channel: bool = False,
    bias: bool = True,
    relu: bool = False,
    w_zero_point: int = 0,
    extreme: bool = False,
    ties: bool = False,
    narrow: bool = False,
    seed: int = 0,
) -> Node:
    """`ties`: every sixteenth accumulator is half way between two outputs."""
    rng = np.random.default_rng(seed)
    w = random_weights((outputs, shape[-1]), rng, extreme, narrow)
    values = rng.integers(-3000, 3000, outputs).astype(np.int32)
    quant = weight_quant(outputs, 0, per_channel, w_zero_point, rng)
    if narrow:
        w, quant = narrow_weights(w, quant)
    if ties:
        w, quant = rng.integers(-3, 3, w.shape, endpoint=True), Quant((0.25,), (0,))
    return make_node(
        FC,
        (
            activation("x", shape, 0.5 if ties else 0.0473, -9),
            constant("w", w.astype(np.int8), quant),
            constant("b", values) if bias else None,
        ),
        activation("y", (), 2.0 if ties else 0.31, 11),
        FullyConnectedAttrs(keep_dims, (11, 127) if relu else None),
    )


NODES = {
    "one_row": layer((1, 33), 10),
    "one_row_relu": layer((1, 16), 8, relu=True, seed=3),
    "rows": layer((5, 12), 7, per_channel=True),
    "sequence_keep_dims": layer((1, 5, 12), 7, keep_dims=True, bias=False),
    "sequence": layer((1, 5, 12), 4),
    "map_to_rows": layer((1, 2, 3, 5), 6),
    "map_keep_dims": layer((1, 2, 3, 5), 6, keep_dims=True),
    "vector": layer((9,), 3),
    "one_input": layer((4, 1), 1),
    "weight_zero_points": layer((3, 10), 5, per_channel=True, w_zero_point=128),
    "weight_zero_point": layer((3, 10), 5, w_zero_point=7, seed=5),
    "ties": layer((9, 37), 13, ties=True, bias=False),
    "extreme_weights": layer((2, 300), 5, extreme=True),
    **{f"narrow_{n}": layer((3, n), 6, per_channel=n > 8, narrow=True) for n in (1, 3, 8, 13, 16, 33)},
    "narrow_extreme": layer((2, 300), 5, narrow=True, extreme=True),
    "narrow_weight_zero_points": layer((3, 10), 5, per_channel=True, w_zero_point=100, narrow=True),
}


def count_macs(node: Node) -> int:
    pixels = np.zeros(node.tensor(0).shape).reshape(-1, node.tensor(0).shape[-1]).shape[0]
    return sum(1 for _ in range(pixels) for _ in np.ndindex(node.const(1).shape))


def cases() -> list[Case]:
    return [Case(name, FC, node, macs=count_macs) for name, node in NODES.items()]


def reference(node: Node, x: Array) -> Array:
    return FC.reference(node, (x, None, None))


def litert(node: Node, x: Array) -> Array:
    s, a = schema(), node.attrs
    model = single_op_model(
        "FULLY_CONNECTED",
        node.inputs,
        node.out,
        "FullyConnectedOptions",
        version=12,
        keepNumDims=a.keep_dims,
        fusedActivationFunction=s.ActivationFunctionType.RELU if a.clamp else s.ActivationFunctionType.NONE,
    )
    return run_litert(model, [x])


@pytest.mark.parametrize("name", [n for n in NODES if "weight_zero_point" not in n])
def test_equals_litert(name: str) -> None:
    case = Case(name, FC, NODES[name])
    for seed in range(6):
        x = case.inputs(seed)[0]
        assert x is not None
        np.testing.assert_array_equal(reference(case.node, x), litert(case.node, x))


def test_per_tensor_multipliers_equal_litert_for_many_scales() -> None:
    for seed in range(40):
        node = layer((16, 40), 24, seed=seed)
        x = Case("scales", FC, node).inputs(seed + 3)[0]
        assert x is not None
        np.testing.assert_array_equal(reference(node, x), litert(node, x))


@pytest.mark.parametrize("name", ["weight_zero_points", "rows"])
def test_equals_plain_integers(name: str) -> None:
    node = NODES[name]
    x = Case(name, FC, node).inputs(9)[0]
    quant = node.tensor(1).quant
    assert x is not None
    assert quant is not None
    scales, zeros = quant.channels(node.out.shape[-1])
    for (p, n), got in np.ndenumerate(reference(node, x)):
        acc = int(node.const(2)[n])
        for k in range(x.shape[1]):
            acc += (int(x[p, k]) + 9) * (int(node.const(1)[n, k]) - zeros[n])
        real = float(np.float32(0.0473)) * scales[n] / float(np.float32(0.31))
        nearest = math.floor(abs(acc) * real + 0.5)
        assert got == min(max((nearest if acc >= 0 else -nearest) + 11, -128), 127)


def sums(values: Array, s_x: float, s_w: float, s_y: float, per_channel: bool) -> Node:
    """A layer whose outputs have exactly the accumulators `values`."""
    count = values.size if per_channel else 1
    quant = Quant((float(np.float32(s_w)),) * count, (0,) * count, 0 if per_channel else None)
    w = constant("w", np.ones((values.size, 1), dtype=np.int8), quant)
    inputs = (activation("x", (1, 1), s_x), w, constant("b", values.astype(np.int32)))
    return make_node(FC, inputs, activation("y", (), s_y), FullyConnectedAttrs())


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(
    ("s_x", "s_w"),
    [
        (0.25, 2.0**-9),  # exact halves
        (0.25 * (1 + 2.0**-17), 2.0**-9 * (1 - 2.0**-17)),  # halves that fall short by 2^-34: no 31-bit multiple
        (0.25 * (1 + 2.0**-17), 2.0**-9 * (1 - 2.0**-17) * (1 + 2.0**-22)),
        (0.25, 0.0011),
        (0.25, 2.9e-6),
    ],
)
def test_rounds_to_the_bit_around_every_half(s_x: float, s_w: float, per_channel: bool) -> None:
    real = float(np.float32(s_x)) * float(np.float32(s_w)) / 0.5
    halves = np.round((np.arange(-140, 140) + 0.5) / real).astype(np.int64)
    values = (halves[:, None] + np.arange(-1, 2)).reshape(-1)
    node = sums(values, s_x, s_w, 0.5, per_channel)
    x = np.zeros((1, 1), dtype=np.int8)
    np.testing.assert_array_equal(reference(node, x), litert(node, x))


def test_double_rounding_would_be_noticed() -> None:
    """The control: the convolutions' rounding differs from LiteRT's fully connected one near halves."""
    real = float(np.float32(0.0011)) / 2
    values = np.round((np.arange(-120, 120) + 0.5) / real).astype(np.int64)
    values = (values[:, None] + np.arange(-1, 2)).reshape(-1)
    node = sums(values, 0.25, 0.0011, 0.5, False)
    twice = multiply_by_quantized_multiplier(values, *quantize_multiplier(real))
    assert (twice != litert(node, np.zeros((1, 1), dtype=np.int8))[0]).any()


def test_regrouped_rows_are_whole_calls() -> None:
    """[1,2,3,5] -> [6,6]: an output row is a column of the input, so the kernel takes the tensors whole."""
    node = NODES["map_to_rows"]
    assert FC.grain(node) is Grain.WHOLE
    assert FC.grain(NODES["map_keep_dims"]) is Grain.FLAT
    need = FC.in_region(node, Region(2, 4, 0, 1))[0]
    assert need is not None
    assert need.region == Region(0, 2, 0, 3)


def test_inputs_that_do_not_fit_are_refused() -> None:
    x, w = activation("x", (1, 8)), constant("w", np.zeros((3, 9), dtype=np.int8))
    with pytest.raises(ShapeError, match="do not fit"):
        make_node(FC, (x, w, None), activation("y", ()), FullyConnectedAttrs())
