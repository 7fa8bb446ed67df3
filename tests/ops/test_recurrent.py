"""recurrent: every cell with every function of its gates, states constant and given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import DType
from tinycompile.ops.recurrent import ACTIVATIONS, CELLS, Activation, Recurrent, RecurrentAttrs

STEPS, BATCH, INPUTS, HIDDEN = 4, 2, 3, 5
COUNTS = {"rnn": 1, "gru": 2, "lstm": 3}


def node(cell: str, functions: list[str], state_given: bool = False, **attrs: Any) -> Node:
    rng = np.random.default_rng(len(cell) + len(functions[0]))

    def weights(name: str, *shape: int) -> Any:
        return constant(name, rng.normal(0, 0.5, shape).astype(np.float32))

    width = (2 if cell == "lstm" else 1) * HIDDEN
    gates = CELLS[cell]
    state = activation("s", (1, BATCH * width), dtype=DType.FLOAT32) if state_given else weights("s", 1, BATCH * width)
    inputs = (
        activation("x", (1, STEPS, BATCH, INPUTS), dtype=DType.FLOAT32),
        weights("w", gates * HIDDEN, INPUTS),
        weights("r", gates * HIDDEN, HIDDEN),
        weights("b", 2 * gates * HIDDEN),
        weights("p", 3 * HIDDEN) if cell == "lstm" else None,
        state,
    )
    activations = tuple(Activation(name, 0.7, 0.3) for name in functions)
    out = activation("y", (), dtype=DType.FLOAT32)
    return make_node(Recurrent(), inputs, out, RecurrentAttrs(cell, activations, **attrs))


def nodes() -> dict[str, Node]:
    found = {f"rnn_{name}": node("rnn", [name]) for name in ACTIVATIONS}
    found["rnn_state_given"] = node("rnn", ["tanh"], True)
    for after in (False, True):
        found[f"gru_{after}"] = node("gru", ["sigmoid", "tanh"], after, reset_after=after, clip=0.5 * after)
    for coupled in (False, True):
        attrs = {"coupled": coupled, "clip": 0.0 if coupled else 0.4}
        found[f"lstm_{coupled}"] = node("lstm", ["sigmoid", "tanh", "tanh"], coupled, **attrs)
    found["lstm_clipped_cells"] = node("lstm", ["sigmoid", "tanh", "tanh"], cell_clip=0.2)
    found["lstm_others"] = node("lstm", ["hardsigmoid", "softsign", "relu"])
    return found


def modest(of: Node, rng: np.random.Generator) -> tuple[Array | None, ...]:
    return tuple(None if t is None or t.is_const else rng.normal(0, 1, t.shape).astype(np.float32) for t in of.inputs)


def macs(of: Node) -> int:
    gates = CELLS[of.attrs.cell]
    return STEPS * BATCH * gates * HIDDEN * (INPUTS + HIDDEN)


def cases() -> list[Case]:
    return [Case(name, Recurrent(), of, macs, modest, columns=False) for name, of in nodes().items()]


def test_an_lstm_by_hand() -> None:
    of = node("lstm", ["sigmoid", "tanh", "tanh"])
    (x, *_) = modest(of, np.random.default_rng(2))
    assert x is not None
    w, r, bias, peepholes, state = (of.const(k).astype(np.float64) for k in range(1, 6))
    state = state.reshape(BATCH, -1)
    h, c = state[:, :HIDDEN], state[:, HIDDEN:]
    p = peepholes.reshape(3, HIDDEN)
    for t in range(STEPS):
        i, o, f, g = np.split(x[0, t] @ w.T + h @ r.T + bias[: len(w)] + bias[len(w) :], 4, axis=1)

        def sigmoid(v: Array) -> Array:
            return np.asarray(1 / (1 + np.exp(-v)))

        c = sigmoid(f + p[2] * c) * c + sigmoid(i + p[0] * c) * np.tanh(g)
        h = sigmoid(o + p[1] * c) * np.tanh(c)
        got = Recurrent().reference(of, [x, *[None] * 5])[0, t]
        np.testing.assert_allclose(got, np.concatenate([h, c], axis=1), rtol=1e-5, atol=1e-6)


def test_weights_that_do_not_fit_are_refused() -> None:
    good = node("gru", ["sigmoid", "tanh"])
    with pytest.raises(ShapeError, match="lstm over"):
        make_node(Recurrent(), good.inputs, good.out, RecurrentAttrs("lstm", good.attrs.activations))


def test_weights_at_run_time_are_refused() -> None:
    good = node("rnn", ["tanh"])
    w = activation("w", good.tensor(1).shape, dtype=DType.FLOAT32)
    bad = make_node(Recurrent(), (good.inputs[0], w, *good.inputs[2:]), good.out, good.attrs)
    assert "run time" in (Recurrent().unsupported(bad) or "")
