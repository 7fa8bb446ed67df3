"""Elementwise functions: every one on every type, and every way in which operands broadcast."""

from __future__ import annotations

import math

import numpy as np
import pytest
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Array, Node, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.elementwise_functions import FUNCTIONS, SUFFIX, evaluate
from tinycompile.ops.elementwise_operator import Elementwise, ElementwiseAttrs

OPERATOR = Elementwise()
SHAPE = (1, 3, 2, 5)
EVERY_TYPE = ("add", "div", "mod", "shift_right")
PARAMS: dict[str, tuple[float, ...]] = {
    "clip": (2, 5),
    "isinf": (-math.inf, math.nan),
    "shrink": (1.5, 0.5),
    "hard_sigmoid": (0.2, 0.5),
    "selu": (1.67, 1.05),
}
# Float functions are tried where they are finite and well conditioned; elsewhere they give what the C library gives.
DOMAINS = {
    "log": (0.1, 100),
    "sqrt": (0, 100),
    "pow": (0.1, 5),
    "asin": (-1, 1),
    "acos": (-0.9, 0.9),
    "atanh": (-0.9, 0.9),
    "acosh": (1.1, 50),
    "tan": (-1.5, 1.5),
    "sin": (-20, 20),
    "cos": (-20, 20),
    "hard_sigmoid": (-2.4, 5),
    "hard_swish": (-2.9, 5),
    "gelu": (-4, 4),
    "gelu_tanh": (-2.5, 4),
    "mish": (-10, 10),
}


def values(node: Node, rng: np.random.Generator) -> tuple[Array | None, ...]:
    """Integers with many 0, 1, -1 and extremes; floats in the function's domain, special values where all are exact."""
    low, high = DOMAINS.get(node.attrs.function, (-30, 30))
    result: list[Array | None] = []
    for t in node.inputs:
        assert t is not None
        if t.is_const:
            result.append(None)
        elif t.dtype == DType.FLOAT32:
            x = rng.uniform(low, high, t.shape).astype(np.float32)
            if node.attrs.function not in DOMAINS and FUNCTIONS[node.attrs.function].ulp == 0:
                special = np.array([0, 1, -1, 0.5, 1.5, 2.5, math.inf, -math.inf, math.nan], dtype=np.float32)
                x = np.where(rng.random(t.shape) < 0.3, rng.choice(special, t.shape), x)
            result.append(x)
        elif t.dtype == DType.BOOL:
            result.append(rng.random(t.shape) < 0.5)
        else:
            ends = t.dtype.int_range
            few = np.array([0, 1, 2, 7, *ends, *((-1, -3) if ends[0] < 0 else ())], dtype=t.dtype.numpy)
            wide = rng.integers(*ends, t.shape, t.dtype.numpy, endpoint=True)
            result.append(np.where(rng.random(t.shape) < 0.6, rng.choice(few, t.shape), wide))
    return tuple(result)


def node(name: str, operands: tuple[Tensor, ...]) -> Node:
    params = PARAMS.get(name, (0.25, 0.75))[: FUNCTIONS[name].params]
    out = Tensor("y", (), DType.FLOAT32)
    return make_node(OPERATOR, operands, out, ElementwiseAttrs(name, params))


def case(name: str, label: str, operands: tuple[Tensor, ...]) -> Case:
    return Case(f"{name}_{label}", OPERATOR, node(name, operands), values=values)


def every_type(name: str, dtype: DType) -> Case:
    count = FUNCTIONS[name].operands
    types = [DType.BOOL, dtype, dtype] if name == "where" else [dtype] * count
    operands = tuple(activation(f"x{k}", SHAPE, dtype=t) for k, t in enumerate(types))
    return case(name, SUFFIX[dtype], operands)


def broadcast(dtype: DType) -> list[Case]:
    """The second operand of less shape, at run time and constant, on either side."""
    rng = np.random.default_rng(1)
    shapes = [(), (5,), (2, 1), (2, 5), (3, 2, 5), (1, 3, 1, 1), (1, 3, 1, 5)]
    result = []
    for k, shape in enumerate(shapes):
        x = activation("x", SHAPE, dtype=dtype)
        fixed = constant("c", rng.integers(1, 9, shape).astype(dtype.numpy))
        result.append(case("sub", f"const{k}", (x, fixed)))
        result.append(case("sub", f"const{k}_first", (fixed, x)))
        full = (1,) * (4 - len(shape)) + shape
        result.append(case("sub", f"run{k}", (x, activation("b", full, dtype=dtype))))
    condition = activation("m", (1, 3, 2, 1), dtype=DType.BOOL)
    scalar = constant("s", np.array(3, dtype=dtype.numpy))
    result.append(case("where", "mixed", (condition, scalar, activation("x", SHAPE, dtype=dtype))))
    result.append(case("less", "vectors", (activation("x", (6,), dtype=dtype), activation("b", (1,), dtype=dtype))))
    result.append(case("add", "both", (activation("x", (1, 3, 1, 5)), activation("b", (1, 1, 2, 1)))))
    return result


def cases() -> list[Case]:
    """Every function as float and on another type, in turn; what differs by type on all of them."""
    every = []
    for number, (name, function) in enumerate(FUNCTIONS.items()):
        types = [d for d in SUFFIX if d in function.types]
        if name not in EVERY_TYPE and len(types) > 2:
            types = [types[0], types[1 + number % (len(types) - 1)]]
        every += [every_type(name, d) for d in types]
    return [*every, *broadcast(DType.FLOAT32), *broadcast(DType.INT16)[::3]]


def test_types_without_a_kernel_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="relu of types uint8"):
        node("relu", (activation("x", SHAPE, dtype=DType.UINT8),))
    with pytest.raises(UnsupportedError, match="add of types int8, int16"):
        node("add", (activation("x", SHAPE), activation("b", SHAPE, dtype=DType.INT16)))


def test_a_broadcast_that_is_no_product_of_rows_columns_and_channels_is_refused() -> None:
    operands = (activation("x", (2, 3, 4, 5), dtype=DType.FLOAT32), activation("b", (3, 1, 1), dtype=DType.FLOAT32))
    reason = OPERATOR.unsupported(node("mul", operands))
    assert reason is not None
    assert "broadcasting" in reason


def test_integers_wrap_and_division_by_zero_gives_zero() -> None:
    low = np.array([-128, -128, 5, -7, 7, -7], dtype=np.int8)
    other = np.array([-1, 2, 0, 2, -2, -2], dtype=np.int8)
    assert evaluate("div", [low, other], ()).tolist() == [-128, -64, 0, -3, -3, 3]
    assert evaluate("mod", [low, other], ()).tolist() == [0, 0, 0, 1, -1, -1]
    assert evaluate("fmod", [low, other], ()).tolist() == [0, 0, 0, -1, 1, -1]
    assert evaluate("pow", [other, low], ()).tolist() == [1, 0, 0, 0, -128, 0]
    assert evaluate("neg", [low[:1]], ()).tolist() == [-128]
    assert evaluate("shift_left", [np.array([3], np.uint8), np.array([200], np.uint8)], ()).tolist() == [0]
