"""recurrent: RNN, GRU or LSTM over a sequence of float32, [1,T,N,I] -> [1,T,N,H].

The output of an LSTM is [1,T,N,2H]: outputs, then cells.

Inputs: the sequence; constants w [G*H,I], r [G*H,H], bias [2*G*H] (of w, then of r), peepholes [3*H] (LSTM); the state
that precedes the first step, [1,N*H], of an LSTM [1,N*2H]. A row is one time step, made from that of the input and from
the row before, so that a network streams through it. Formulas and order of the gates: ONNX operator specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import OWN_OUTPUT, ConstArray, KernelCall, Need, Operator, RowWindow, whole
from tinycompile.ops.float_layers import F32, float_unsupported

Gate = Callable[[F32], F32]
CELLS = {"rnn": 1, "gru": 3, "lstm": 4}  # gates
ONE = np.float32(1)


def _softplus(x: Any, a: Any, b: Any) -> Any:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


# name: (function of x and two parameters, how many of these it has and their default values, None where there is none)
ACTIVATIONS: dict[str, tuple[Callable[[Any, Any, Any], Any], tuple[float | None, ...]]] = {
    "sigmoid": (lambda x, a, b: 1 / (1 + np.exp(-x)), ()),
    "tanh": (lambda x, a, b: np.tanh(x), ()),
    "relu": (lambda x, a, b: np.where(x < 0, 0, x), ()),
    "affine": (lambda x, a, b: a * x + b, (None, None)),
    "leakyrelu": (lambda x, a, b: np.where(x < 0, a * x, x), (0.01,)),
    "thresholdedrelu": (lambda x, a, b: np.where(x < a, 0, x), (1.0,)),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), (None, None)),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), (0.2, 0.5)),
    "elu": (lambda x, a, b: np.where(x < 0, a * np.expm1(x), x), (1.0,)),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), ()),
    "softplus": (_softplus, ()),
}


@dataclass(frozen=True)
class Activation:
    """`name`: one of `ACTIVATIONS`, with its parameters."""

    name: str = "tanh"
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True)
class RecurrentAttrs(Attrs):
    """`activations`: ONNX's f, g, h, as many as the cell has. `clip`: bound of their arguments, 0 for none.
    `reset_after`: of a GRU (linear_before_reset). `coupled`: of an LSTM (input_forget). `cell_clip`: bound of an LSTM's
    cells, 0 for none."""

    cell: str = "rnn"
    activations: tuple[Activation, ...] = (Activation(),)
    clip: float = 0.0
    reset_after: bool = False
    coupled: bool = False
    cell_clip: float = 0.0


def _sums(x: F32, w: F32, bias: F32) -> F32:
    """(N, depth) times (rows, depth), product by product behind the bias."""
    acc = np.broadcast_to(bias, (x.shape[0], w.shape[0])).copy()
    for k in range(x.shape[1]):
        acc += w[:, k] * x[:, k : k + 1]
    return acc


class Recurrent(Operator):
    kind = "recurrent"
    attrs_class = RecurrentAttrs

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, w, r, bias, state = (node.tensor(k) for k in (0, 1, 2, 3, 5))
        gates, width = CELLS[node.attrs.cell], self._parts(node)
        hidden = r.shape[-1]
        fits = (
            len(x.shape) == 4
            and x.shape[0] == 1
            and w.shape == (gates * hidden, x.shape[3])
            and r.shape == (gates * hidden, hidden)
        )
        fits = fits and bias.shape == (2 * gates * hidden,) and state.shape == (1, x.shape[2] * width * hidden)
        peepholes = node.inputs[4]
        if not fits or (peepholes is None) == (width == 2) or (peepholes and peepholes.shape != (3 * hidden,)):
            raise ShapeError(
                f"{node.attrs.cell} over {list(x.shape)} with weights {list(w.shape)} and {list(r.shape)}",
                str(node.op.source),
                "check the shapes of this node's inputs in the exported model",
            )
        return (*x.shape[:3], width * hidden), x.dtype

    def _parts(self, node: Node) -> int:
        return 2 if node.attrs.cell == "lstm" else 1

    def unsupported(self, node: Node) -> str | None:
        if any(not node.tensor(k).is_const for k in (1, 2, 3)):
            return "recurrent weights computed at run time: only constant ones have kernels"
        return float_unsupported(node)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        state = node.tensor(5)
        return (Need(out), None, None, None, None, None if state.is_const else Need(whole(state)))

    def carries(self, node: Node) -> bool:
        return True

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        state = node.const(5) if inputs[5] is None else inputs[5]
        return self._run(node, inputs[0], state.reshape(node.out.form.width, -1)[out.x0 : out.x1])

    def advance(self, node: Node, out: Region, inputs: Sequence[Array | None], previous: Array) -> Array:
        return self._run(node, inputs[0], previous[0])

    def _run(self, node: Node, x: Array | None, state: F32) -> F32:
        assert x is not None
        step = {"rnn": self._rnn, "gru": self._gru, "lstm": self._lstm}[node.attrs.cell]
        w, r, bias = node.const(1), node.const(2), node.const(3)
        rows = []
        with np.errstate(all="ignore"):
            for row in x:
                state = step(node, _sums(row, w, bias[: len(w)]), state, r, bias[len(w) :])
                rows.append(state)
        return np.asarray(np.stack(rows), dtype=np.float32)

    def _gate(self, node: Node, k: int, clipped: bool = True) -> Gate:
        """ONNX's f, g or h."""
        activation, bound = node.attrs.activations[k], np.float32(node.attrs.clip)
        function = ACTIVATIONS[activation.name][0]
        alpha, beta = (float(np.float32(v)) for v in (activation.alpha, activation.beta))

        def gate(x: F32) -> F32:
            x = np.clip(x, -bound, bound) if clipped and bound > 0 else x
            return np.asarray(function(x.astype(np.float64), alpha, beta)).astype(np.float32)

        return gate

    def _rnn(self, node: Node, a: F32, state: F32, r: F32, bias: F32) -> F32:
        return self._gate(node, 0)(a + _sums(state, r, bias))

    def _gru(self, node: Node, a: F32, state: F32, r: F32, bias: F32) -> F32:
        f, g, hidden = self._gate(node, 0), self._gate(node, 1), state.shape[1]
        b = _sums(state, r[: 2 * hidden], bias[: 2 * hidden])
        update, reset = np.split(f(a[:, : 2 * hidden] + b), 2, axis=1)
        last = r[2 * hidden :], bias[2 * hidden :]
        kept = reset * _sums(state, *last) if node.attrs.reset_after else _sums(reset * state, *last)
        return np.asarray((ONE - update) * g(a[:, 2 * hidden :] + kept) + update * state)

    def _lstm(self, node: Node, a: F32, state: F32, r: F32, bias: F32) -> F32:
        f, g, h = self._gate(node, 0), self._gate(node, 1), self._gate(node, 2, clipped=False)
        shown, cell = np.split(state, 2, axis=1)
        i_sum, o_sum, f_sum, c_sum = np.split(a + _sums(shown, r, bias), 4, axis=1)
        i_peep, o_peep, f_peep = np.split(node.const(4), 3)
        entered = f(i_sum + i_peep * cell)
        forget = ONE - entered if node.attrs.coupled else f(f_sum + f_peep * cell)
        cell, bound = forget * cell + entered * g(c_sum), np.float32(node.attrs.cell_clip)
        cell = np.clip(cell, -bound, bound) if bound > 0 else cell
        return np.concatenate([f(o_sum + o_peep * cell) * h(cell), cell], axis=1)

    def scratch_bytes(self, node: Node) -> int:
        hidden: int = node.tensor(2).shape[1]
        return 4 * hidden * (2 * CELLS[node.attrs.cell] + int(node.attrs.cell == "gru"))

    def macs(self, node: Node) -> int:
        steps = node.tensor(0).shape[1] * node.tensor(0).shape[2]
        return steps * (node.tensor(1).elems + node.tensor(2).elems)

    def ulp(self, node: Node) -> int:
        """Differences between C libraries are carried from step to step, and weigh more in results near 0."""
        return 256

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        a, x = node.attrs, node.tensor(0)
        windows = [RowWindow(0), RowWindow(OWN_OUTPUT, stride=1, pad=1)]
        params = [v for f in a.activations for v in (f.alpha, f.beta)]
        arrays = [
            ConstArray("w", node.const(1)),
            ConstArray("r", node.const(2)),
            ConstArray("bias", node.const(3)),
            ConstArray(
                "params", np.array([*params, *[0.0] * (6 - len(params)), a.clip, a.cell_clip], dtype=np.float32)
            ),
        ]
        if node.tensor(5).is_const:
            state = "state"
            arrays.append(ConstArray(state, node.const(5)))
        else:
            state = f"in{len(windows)}"
            windows.append(RowWindow(5, stride=0))
        kinds = [list(ACTIVATIONS).index(f.name) for f in a.activations]
        consts = [("batch", x.shape[2]), ("inputs", x.shape[3]), ("hidden", node.tensor(2).shape[1])]
        consts += [("f", kinds[0]), ("g", kinds[1] if len(kinds) > 1 else 0)]
        names = ["in0", "in1", state, "w", "r", "bias", "params"]
        if a.cell == "gru":
            consts.append(("reset_after", int(a.reset_after)))
        elif a.cell == "lstm":
            arrays.append(ConstArray("peepholes", node.const(4)))
            names.append("peepholes")
            consts += [("h", kinds[2]), ("coupled", int(a.coupled))]
        arguments = tuple((name, 0) for name in names)
        scratch = self.scratch_bytes(node)
        kernel, header = f"tc_recurrent_{a.cell}_f32", "tc_recurrent_f32.h"
        return (
            KernelCall(
                kernel, tuple(windows), tuple(arrays), tuple(consts), scratch, include=header, arguments=arguments
            ),
        )
