"""RNN, GRU and LSTM: one operator for each direction, which runs forward; the backward one over the sequence turned
round. Lengths of sequences are constants, and only say which of its rows are read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.frontends.onnx.builder import Builder
from tinycompile.frontends.onnx.selection import pick, select
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Array, Tensor
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.recurrent import ACTIVATIONS, CELLS, Activation, RecurrentAttrs

Lengths = NDArray[np.int64]
_DEFAULTS = {"rnn": ("tanh",), "gru": ("sigmoid", "tanh"), "lstm": ("sigmoid", "tanh", "tanh")}


def _activations(n: SourceNode, cell: str, directions: int) -> list[tuple[Activation, ...]]:
    """The functions f, g, h of each direction. Parameters belong to those functions, in order, that have any."""
    count = len(_DEFAULTS[cell])
    names = [name.lower() for name in n.texts("activations") or _DEFAULTS[cell] * directions]
    if len(names) != count * directions or any(name not in ACTIVATIONS for name in names):
        raise n.unsupported(f"activations {', '.join(names)} of {n.op_type}")
    given = {"activation_alpha": 0, "activation_beta": 1}
    params: list[list[float]] = [[0.0, 0.0] for _ in names]
    for attribute, k in given.items():
        taking = [i for i, name in enumerate(names) if len(ACTIVATIONS[name][1]) > k]
        values = n.floats(attribute)
        if values is not None and len(values) != len(taking):
            raise n.unsupported(f"{len(values)} values of {attribute} for {len(taking)} functions that take one")
        for place, i in enumerate(taking):
            value = ACTIVATIONS[names[i]][1][k] if values is None else values[place]
            if value is None:
                raise n.unsupported(f"{names[i]} without {attribute}", "give all parameters of the activations")
            params[i][k] = value
    found = [Activation(name, *pair) for name, pair in zip(names, params, strict=True)]
    return [tuple(found[d * count : (d + 1) * count]) for d in range(directions)]


def _turned(b: Builder, n: SourceNode, x: Tensor, lengths: Lengths | None) -> Tensor:
    """A sequence [T,N,...] back to front, each sample within its length."""
    steps = x.shape[0]
    if lengths is None:
        return select(b, n, x, [range(steps)[::-1], *(range(d) for d in x.shape[1:])])
    at = np.arange(steps)[:, None]
    rows = np.where(at < lengths, lengths - 1 - at, at)
    return pick(b, n, x, np.take_along_axis(_places(x), rows[:, :, None], axis=0))


def _places(x: Tensor) -> Array:
    return np.arange(x.elems).reshape(x.shape)


def _outputs(
    b: Builder, n: SourceNode, y: Tensor, hidden: int, lengths: Lengths | None, backward: bool
) -> tuple[Tensor, list[Tensor]]:
    """Of what one direction made, [T,N,parts*H]: the outputs [T,N,H] in the order of the input, 0 beyond a sample's
    length, and the last output and last cells, [N,H] each."""
    steps, batch, width = y.shape
    parts = [range(first, first + hidden) for first in range(0, width, hidden)]
    if lengths is None:
        last = [select(b, n, y, [(steps - 1,), range(batch), part]) for part in parts]
    else:
        places = _places(y)[lengths - 1, np.arange(batch)]
        last = [pick(b, n, y, places[:, part.start : part.stop]) for part in parts]
    every = select(b, n, y, [range(steps), range(batch), parts[0]])
    if lengths is not None:
        beyond = np.arange(steps)[:, None, None] >= lengths[:, None]
        every = pick(b, n, every, np.where(beyond, -1, _places(every)))
    if backward:
        every = _turned(b, n, every, lengths)
    return every, [b.reshape(n, part, (batch, hidden)) for part in last]


def _lengths(b: Builder, n: SourceNode, steps: int, batch: int) -> Lengths | None:
    """The lengths of the sequences; None where all are whole."""
    if b.optional(n, 4) is None:
        return None
    lengths = b.constant(n, 4, "lengths of sequences").astype(np.int64).reshape(-1)
    if lengths.shape != (batch,) or lengths.min() < 1 or lengths.max() > steps:
        raise ShapeError(f"lengths {lengths.tolist()} of {batch} sequences", str(n), "export the model again")
    return None if (lengths == steps).all() else lengths


def _state(b: Builder, n: SourceNode, index: int, d: int, batch: int, hidden: int, by_sample: bool) -> Tensor:
    """The first state of direction `d`, [N,H], from input `index`, [directions,N,H] or [N,directions,H]; zeros where
    it is absent."""
    if b.optional(n, index) is None:
        return b.add_constant(np.zeros((batch, hidden), dtype=np.float32), f"{n.loc.node}/zeros", n)
    given = b.real(n, index)
    known = b.known(given)
    if known is not None:
        part = known[:, d] if by_sample else known[d]
        return b.add_constant(np.ascontiguousarray(part), f"{n.loc.node}/state", n)
    full = [range(size) for size in given.shape]
    full[1 if by_sample else 0] = range(d, d + 1)
    return b.reshape(n, select(b, n, given, full), (batch, hidden))


def _joined(b: Builder, n: SourceNode, parts: list[Tensor], axis: int) -> Tensor:
    if all(p.data is not None for p in parts):
        return b.add_constant(
            np.concatenate([p.data for p in parts if p.data is not None], axis), f"{n.loc.node}/states", n
        )
    return parts[0] if len(parts) == 1 else b.emit(n, "concat", parts, ConcatAttrs(axis))


def _recurrent(cell: str) -> Callable[[Builder, SourceNode], tuple[Tensor, ...]]:
    gates = CELLS[cell]

    def importer(b: Builder, n: SourceNode) -> tuple[Tensor, ...]:
        x, by_sample = b.real(n, 0), bool(n.integer("layout", 0))
        w, r = b.constant(n, 1, "recurrent weights"), b.constant(n, 2, "recurrent weights")
        direction = n.text("direction", "forward")
        if direction not in ("forward", "reverse", "bidirectional") or len(x.shape) != 3 or r.ndim != 3:
            raise n.unsupported(f"{n.op_type} of {list(x.shape)} in direction {direction}")
        directions, hidden = 2 if direction == "bidirectional" else 1, r.shape[-1]
        x = b.transpose(n, x, (1, 0, 2)) if by_sample else x
        steps, batch, _ = x.shape
        fits = w.shape == (directions, gates * hidden, x.shape[2]) and r.shape == (directions, gates * hidden, hidden)
        if not fits or n.integer("hidden_size", hidden) != hidden:
            raise ShapeError(f"weights {list(w.shape)} and {list(r.shape)}", str(n), "export the model again")
        bias = np.zeros((directions, 2 * gates * hidden), dtype=np.float32)
        if b.optional(n, 3) is not None:
            bias = b.constant(n, 3, "recurrent weights")
        peepholes = np.zeros((directions, 3 * hidden), dtype=np.float32)
        if b.optional(n, 7) is not None:
            peepholes = b.constant(n, 7, "recurrent weights")
        lengths = _lengths(b, n, steps, batch)
        clip, reset_after = n.real("clip", 0.0), bool(n.integer("linear_before_reset", 0))
        coupled = bool(n.integer("input_forget", 0))
        every: list[Tensor] = []
        last: list[list[Tensor]] = []
        for d, activations in enumerate(_activations(n, cell, directions)):
            backward = direction == "reverse" or d == 1
            attrs = RecurrentAttrs(cell, activations, clip, reset_after, coupled)

            def weights(value: Array, name: str, d: int = d) -> Tensor:
                return b.add_constant(np.ascontiguousarray(value[d]), f"{n.loc.node}/{name}{d}", n)

            kept = (5, 6) if cell == "lstm" else (5,)
            state = _joined(b, n, [_state(b, n, k, d, batch, hidden, by_sample) for k in kept], 1)
            state = b.reshape(n, state, (1, state.elems))
            peeps = weights(peepholes, "peepholes") if cell == "lstm" else None
            sequence = _turned(b, n, x, lengths) if backward else x
            sequence = b.reshape(n, sequence, (1, *sequence.shape))
            inputs = [sequence, weights(w, "w"), weights(r, "r"), weights(bias, "bias"), peeps, state]
            y = b.emit(n, "recurrent", inputs, attrs)
            y = b.reshape(n, y, y.shape[1:])
            outputs, final = _outputs(b, n, y, hidden, lengths, backward)
            every.append(b.reshape(n, outputs, (steps, 1, batch, hidden)))
            last.append(final)
        all_steps = _joined(b, n, every, 1)
        if by_sample:
            all_steps = b.transpose(n, all_steps, (2, 0, 1, 3))
        finals = []
        for each in zip(*last, strict=True):
            # [N,H] of each direction, side by side: [N,directions,H] as it lies
            shape = (batch, 1, hidden) if by_sample else (1, batch, hidden)
            finals.append(_joined(b, n, [b.reshape(n, t, shape) for t in each], 1 if by_sample else 0))
        return all_steps, *finals

    return importer


RECURRENT = {kind: _recurrent(kind.lower()) for kind in ("GRU", "LSTM", "RNN")}
