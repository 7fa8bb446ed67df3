"""Operators of two int8 operands against LiteRT's reference kernels, with and without broadcasting."""

from __future__ import annotations

import numpy as np
import pytest
from litert_models import run_litert, schema, single_op_model
from operator_cases import Case, activation, constant, make_node

from tinycompile.ir.graph import Node, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ops.add import Add, AddAttrs
from tinycompile.ops.binary import Binary, BinaryAttrs
from tinycompile.ops.mul import Mul, MulAttrs
from tinycompile.ops.prelu import Prelu
from tinycompile.ops.squared_difference import SquaredDifference

OPERATORS: dict[str, Binary] = {
    "add": Add(),
    "sub": Add(),
    "mul": Mul(),
    "prelu": Prelu(),
    "squared_difference": SquaredDifference(),
}
OPTIONS = {"add": "AddOptions", "sub": "SubOptions", "mul": "MulOptions", "prelu": "", "squared_difference": ""}
RNG = np.random.default_rng(0)


def const(shape: tuple[int, ...], scale: float, zero_point: int) -> Tensor:
    data = RNG.integers(-128, 128, shape).astype(np.int8)
    return constant("k", data, Quant((float(np.float32(scale)),), (zero_point,)))


def node(
    kind: str, a: Tensor, b: Tensor, out: tuple[float, int] = (0.09, -4), clamp: tuple[int, int] | None = None
) -> Node:
    attrs = {"add": AddAttrs(False, clamp), "sub": AddAttrs(True, clamp), "mul": MulAttrs(clamp)}.get(
        kind, BinaryAttrs(clamp)
    )
    return make_node(OPERATORS[kind], (a, b), activation("y", (), *out), attrs)


def operands() -> dict[str, tuple[Tensor, Tensor]]:
    map_shape = (1, 5, 4, 3)
    a = activation("a", map_shape, 0.05, 3)
    return {
        "same": (a, activation("b", map_shape, 0.031, -17)),
        "scalar": (a, const((1,), 0.02, 5)),
        "channels": (a, const((3,), 0.02, 5)),
        "const_first": (const((3,), 0.02, 5), a),
        "const_map": (a, const(map_shape, 0.02, 5)),
        "const_rows": (a, const((1, 5, 1, 3), 0.02, 5)),
        "const_columns": (a, const((1, 1, 4, 1), 0.02, 5)),
        "per_channel_activation": (a, activation("b", (1, 1, 1, 3), 0.031, -17)),
        "per_row_activation": (activation("a", (1, 5, 1, 1), 0.05, 3), activation("b", map_shape, 0.031, -17)),
        "both_broadcast": (activation("a", (1, 5, 1, 3), 0.05, 3), activation("b", (1, 1, 4, 3), 0.031, -17)),
        "vector": (activation("a", (1, 10), 0.05, 3), activation("b", (1, 10), 0.031, -17)),
        "sequence": (activation("a", (1, 6, 4), 0.05, 3), const((6, 4), 0.02, 0)),
    }


def cases() -> list[Case]:
    result = []
    for name, (a, b) in operands().items():
        for kind, operator in OPERATORS.items():
            if kind == "prelu" and a.is_const:
                continue
            n = node(kind, a, b, clamp=(-100, 90) if kind in ("add", "prelu") else None)
            # Row kernels with an operand per column take whole rows.
            result.append(Case(f"{kind}_{name}", operator, n))
    return result


def model_of(kind: str, n: Node) -> bytes:
    fields = {"fusedActivationFunction": schema().ActivationFunctionType.NONE} if OPTIONS[kind] else {}
    return single_op_model(kind.upper(), n.inputs, n.out, OPTIONS[kind], 2 if OPTIONS[kind] else 1, **fields)


@pytest.mark.parametrize("name", [n for n in operands() if n != "sequence"])
@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
def test_equals_litert(kind: str, name: str) -> None:
    n = node(kind, *operands()[name])
    model = model_of(kind, n)
    case = Case("", OPERATORS[kind], n)
    for seed in range(6):
        values = case.inputs(seed)
        want = run_litert(model, [v for v in values if v is not None])
        np.testing.assert_array_equal(case.operator.reference(n, values), want)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("scales", [(0.05, 0.05, 0.1), (1.0, 0.001, 0.9), (0.003, 0.5, 0.02), (0.25, 0.25, 0.25)])
def test_every_pair_equals_litert(kind: str, scales: tuple[float, float, float]) -> None:
    """All 65,536 pairs of inputs: ties and saturation included."""
    shape = (1, 256, 256, 1)
    n = node(kind, activation("a", shape, scales[0], 7), activation("b", shape, scales[1], -128), out=(scales[2], 12))
    a, b = (v.astype(np.int8).reshape(shape) for v in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)))
    want = run_litert(model_of(kind, n), [a, b])
    np.testing.assert_array_equal(OPERATORS[kind].reference(n, [a, b]), want)
    assert len(np.unique(want)) > 5


def test_leading_broadcast_is_unsupported() -> None:
    a, b = activation("a", (2, 3, 4, 5), 0.05), activation("b", (1, 3, 4, 5), 0.05)
    assert "broadcasting" in (Add().unsupported(node("add", a, b)) or "")


def test_slopes_at_run_time_of_a_constant_are_unsupported() -> None:
    a, b = operands()["const_first"]
    assert "constant input" in (Prelu().unsupported(node("prelu", a, b)) or "")
