"""integer_lstm: whole and coupled, with cells of every scale and a state that is constant or given."""

from __future__ import annotations

import numpy as np
import pytest
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Node
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.fixed_point import logistic16, tanh16
from tinycompile.ops.integer_lstm import IntegerLstm, IntegerLstmAttrs

STEPS, INPUTS, HIDDEN = 5, 3, 6


def node(attrs: IntegerLstmAttrs, batch: int = 2, state_given: bool = True, gain: float = 0.02) -> Node:
    rng = np.random.default_rng(batch)
    rows = (3 if attrs.coupled else 4) * HIDDEN

    def weights(name: str, inputs: int) -> tuple[str, np.ndarray, Quant]:
        scales = np.repeat(np.float32(rng.uniform(0.5, 1.5, rows // HIDDEN) * gain), HIDDEN)
        values = rng.integers(-127, 128, (rows, inputs)).astype(np.int8)
        return name, values, Quant(tuple(float(s) for s in scales), (0,) * rows, 0)

    shape = (1, batch * 2 * HIDDEN)
    state = activation("s", shape, dtype=DType.INT16)
    if not state_given:
        state = constant("s", rng.integers(-128, 128, shape).astype(np.int16))
    inputs = (
        activation("x", (1, STEPS, batch, INPUTS), 0.04, -5),
        constant(*weights("w", INPUTS)),
        constant(*weights("r", HIDDEN)),
        constant("b", rng.integers(-3000, 3000, rows).astype(np.int32)),
        state,
    )
    return make_node(IntegerLstm(), inputs, activation("y", (), dtype=DType.INT16), attrs)


def macs(of: Node) -> int:
    return STEPS * of.tensor(0).shape[2] * of.tensor(1).shape[0] * (INPUTS + HIDDEN)


def cases() -> list[Case]:
    near, far = (1 / 128, 0), (0.006, 9)
    found = {
        f"cells_{-exponent}": node(IntegerLstmAttrs(near, near, exponent), gain=0.002 * 2.0 ** (exponent + 15))
        for exponent in range(-15, -8)
    }
    found["coupled"] = node(IntegerLstmAttrs(far, far, -11, coupled=True), 1)
    found["clipped"] = node(IntegerLstmAttrs(far, far, -12, 5000), 3, state_given=False)
    found["saturated"] = node(IntegerLstmAttrs((0.3, -100), far, -11), 1, gain=0.5)
    return [Case(name, IntegerLstm(), of, macs, columns=False) for name, of in found.items()]


def test_the_gates_are_near_their_functions() -> None:
    x = np.arange(-32768, 32768)
    assert np.abs(logistic16(x) / 32768 - 1 / (1 + np.exp(-x / 4096))).max() < 2e-4
    for bits in range(7):
        assert np.abs(tanh16(x, bits) / 32768 - np.tanh(x / 2.0 ** (15 - bits))).max() < 4e-4


def test_weights_that_do_not_fit_are_refused() -> None:
    good = node(IntegerLstmAttrs())
    with pytest.raises(ShapeError, match="an LSTM over"):
        make_node(IntegerLstm(), good.inputs, good.out, IntegerLstmAttrs(coupled=True))


def test_what_has_no_kernel() -> None:
    good = node(IntegerLstmAttrs())
    w = activation("w", good.tensor(1).shape)
    assert "run time" in (
        IntegerLstm().unsupported(make_node(IntegerLstm(), (good.inputs[0], w, *good.inputs[2:]), good.out, good.attrs))
        or ""
    )
    x = activation("x", good.tensor(0).shape, dtype=DType.UINT8)
    other = make_node(IntegerLstm(), (x, *good.inputs[1:]), good.out, good.attrs)
    assert "uint8" in (IntegerLstm().unsupported(other) or "")
