"""quantize and dequantize: exact at every threshold, its neighbours, infinities, zeros and subnormals."""

from __future__ import annotations

import numpy as np
import pytest
from litert_models import run_litert, single_op_model
from operator_cases import Case, activation, make_node

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.types import DType
from tinycompile.ops.dequantize import Dequantize
from tinycompile.ops.quantize import Quantize, QuantizeAttrs, direct, from_ordered, ordered, thresholds

SCALES = [0.0039103, 0.5847029, 1.0, 0.1, 1e-6, 3e4, 2.0**-7]


def quantize(shape: tuple[int, ...], scale: float, zero_point: int, half_even: bool = False) -> Node:
    x, y = activation("x", shape, dtype=DType.FLOAT32), activation("y", shape, scale, zero_point)
    return make_node(Quantize(), (x,), y, QuantizeAttrs(half_even))


def dequantize(shape: tuple[int, ...], scale: float, zero_point: int) -> Node:
    x, y = activation("x", shape, scale, zero_point), activation("y", shape, dtype=DType.FLOAT32)
    return make_node(Dequantize(), (x,), y, Attrs())


def hard_floats(scale: float, zero_point: int, half_even: bool) -> np.ndarray:
    """Every threshold with both neighbours, and the floats where formulas go wrong."""
    keys = thresholds(scale, zero_point, half_even).astype(np.int64)
    near = from_ordered(np.concatenate([keys - 1, keys, keys + 1]))
    special = [0.0, -0.0, 1e-45, -1e-45, 1e-38, 3e38, -3e38, np.inf, -np.inf]
    halves = (np.arange(-130, 131) + 0.5) * scale
    return np.concatenate([near, np.array(special, dtype=np.float32), halves.astype(np.float32)]).astype(np.float32)


def cases() -> list[Case]:
    def hard(node: Node, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        scale, zero_point = node.out.quant.scalar()  # type: ignore[union-attr]
        pool = hard_floats(scale, zero_point, node.attrs.half_even)
        return (rng.choice(pool, node.tensor(0).shape).astype(np.float32),)

    return [
        Case("quantize", Quantize(), quantize((1, 5, 6, 7), 0.02, 3), values=hard),
        Case("quantize_half_even", Quantize(), quantize((1, 40), 0.3, -128, True), values=hard),
        Case("dequantize", Dequantize(), dequantize((1, 5, 6, 7), 0.02, 3)),
    ]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("zero_point", [-128, 0, 5, 127])
@pytest.mark.parametrize("half_even", [False, True])
def test_thresholds_are_the_formula(scale: float, zero_point: int, half_even: bool) -> None:
    s = float(np.float32(scale))
    x = hard_floats(s, zero_point, half_even)
    node = quantize((len(x),), s, zero_point, half_even)
    np.testing.assert_array_equal(Quantize().reference(node, [x]), direct(x, s, zero_point, half_even))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("zero_point", [-128, 5])
def test_quantize_equals_litert(scale: float, zero_point: int) -> None:
    s = float(np.float32(scale))
    x = hard_floats(s, zero_point, False)
    with np.errstate(over="ignore", invalid="ignore"):
        x = x[np.abs(x / np.float32(s)) < 2**30]  # beyond int32 LiteRT's conversion is undefined
    node = quantize((len(x),), s, zero_point)
    want = run_litert(single_op_model("QUANTIZE", node.inputs, node.out), [x])
    np.testing.assert_array_equal(Quantize().reference(node, [x]), want)
    assert len(np.unique(want)) == 256


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_dequantize_equals_litert(scale: float, zero_point: int) -> None:
    x = np.arange(-128, 128).astype(np.int8)
    node = dequantize((256,), scale, zero_point)
    want = run_litert(single_op_model("DEQUANTIZE", node.inputs, node.out), [x])
    got = Dequantize().reference(node, [x])
    np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32))


def test_ordered_keys_order_all_floats() -> None:
    x = np.array([-np.inf, -3e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3e38, np.inf], dtype=np.float32)
    keys = ordered(x).astype(np.int64)
    assert np.all(np.diff(keys) > 0)
    np.testing.assert_array_equal(from_ordered(keys).view(np.uint32), x.view(np.uint32))


def test_nan_is_beyond_the_infinity_of_its_sign() -> None:
    node = quantize((2,), 0.1, 0)
    x = np.array([np.nan, -np.nan], dtype=np.float32)
    x.view(np.uint32)[:] = [0x7FC00000, 0xFFC00000]
    np.testing.assert_array_equal(Quantize().reference(node, [x]), [127, -128])
