"""Sequences through an LSTM, of floats or of int8 with int16 cells, or an RNN of floats; variable tensors are outputs
behind their own.

Projections, layer normalisation, diagonal recurrent weights and, of integers, peepholes are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinycompile.frontends.tflite.builder import Builder, Importer
from tinycompile.frontends.tflite.functions import to_type
from tinycompile.frontends.tflite.reader import SourceOp
from tinycompile.frontends.tflite.selection import reshaped, select
from tinycompile.frontends.tflite.variables import UPDATED
from tinycompile.ir.graph import Array, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.integer_lstm import CELL_EXPONENTS, IntegerLstmAttrs
from tinycompile.ops.recurrent import Activation, RecurrentAttrs
from tinycompile.ops.transpose import TransposeAttrs

_ACTIVATIONS = {1: "relu", 4: "tanh"}  # ActivationFunctionType
# Positions of the inputs; of the gates input, forget, cell and output where there are four.
_W, _R, _BIAS = range(1, 5), range(5, 9), range(12, 16)
_PEEPHOLES = (9, 10, 11)  # input, forget, output
_PROJECTION, _LAYER_NORM = (16, 17), range(20, 24)
_OUTPUT_STATE, _CELL_STATE = UPDATED["UNIDIRECTIONAL_SEQUENCE_LSTM"]
_HIDDEN = 4  # of the intermediates: how the output is quantised as it is made
_OTHER = "use a Keras layer with default options"


def lstm(b: Builder, op: SourceOp) -> None:
    activation, cell_clip, time_major, diagonal = b.options(
        op,
        "UnidirectionalSequenceLSTMOptions",
        "FusedActivationFunction",
        "CellClip",
        "TimeMajor",
        "DiagonalRecurrentTensors",
    )
    _check_states(b, op)
    for what, present in (
        ("a projection", any(b.has(op, k) for k in _PROJECTION)),
        ("layer normalisation", any(b.has(op, k) for k in _LAYER_NORM)),
        ("diagonal recurrent weights", diagonal),
    ):
        if present:
            raise b.unsupported(op, f"an LSTM with {what}", _OTHER)
    x = b.tensor(op, 0)
    integer = x.dtype == DType.INT8
    if activation not in _ACTIVATIONS or (integer and _ACTIVATIONS[activation] != "tanh"):
        raise b.unsupported(op, f"an LSTM with activation {activation}", "use tanh")
    if not 0 <= cell_clip < math.inf:
        raise b.malformed(op, f"cells clipped at {cell_clip}")
    sequence, state = _sequence(b, op, x, time_major), _state(b, op)
    if integer:
        attrs, constants = _integer(b, op, cell_clip)
        y = b.step(op, "integer_lstm", attrs, sequence, *constants, state, quant=b.tensor(op, _CELL_STATE).quant)
    else:
        functions = (Activation("sigmoid"), *[Activation(_ACTIVATIONS[activation])] * 2)
        float_attrs = RecurrentAttrs("lstm", functions, coupled=not b.has(op, _W[0]), cell_clip=float(cell_clip))
        y = b.step(op, "recurrent", float_attrs, sequence, *_floats(b, op), state)
    _outputs(b, op, y, time_major)


def rnn(b: Builder, op: SourceOp) -> None:
    activation, time_major = b.options(op, "SequenceRNNOptions", "FusedActivationFunction", "TimeMajor")
    _check_states(b, op)
    x, w, r, bias, state = (b.tensor(op, k) for k in range(5))
    if activation not in _ACTIVATIONS or x.dtype != DType.FLOAT32:
        raise b.unsupported(
            op, f"an RNN of {x.dtype.value} with activation {activation}", "use floats, and tanh or relu"
        )
    weights = _data(b, op, (w, r, bias), DType.FLOAT32)
    weights[2] = np.concatenate([weights[2], np.zeros_like(weights[2])])
    constants = [b.constant(op, v) for v in weights]
    attrs = RecurrentAttrs("rnn", (Activation(_ACTIVATIONS[activation]),))
    before = reshaped(b, op, state, (1, state.elems))
    y = b.step(op, "recurrent", attrs, _sequence(b, op, x, time_major), *constants, None, before)
    _outputs(b, op, y, time_major)


def _check_states(b: Builder, op: SourceOp) -> None:
    """Refuses states that are no variable tensors."""
    if len(op.outputs) != 1 + len(UPDATED[op.builtin]):
        raise b.unsupported(op, "states that are no variable tensors", _OTHER)


def _sequence(b: Builder, op: SourceOp, x: Tensor, time_major: bool) -> Tensor:
    """The input as [1,T,N,I]."""
    if len(x.shape) != 3:
        raise b.bad_shape(op, f"a sequence of shape {list(x.shape)}")
    steps = x if time_major else _turned(b, op, x)
    return reshaped(b, op, steps, (1, *steps.shape))


def _turned(b: Builder, op: SourceOp, x: Tensor) -> Tensor:
    """[N,T,...] as [T,N,...], or the other way round."""
    if 1 in x.shape[:2]:
        return reshaped(b, op, x, (x.shape[1], x.shape[0], *x.shape[2:]))
    return b.step(op, "transpose", TransposeAttrs((1, 0, 2)), x)


def _state(b: Builder, op: SourceOp) -> Tensor:
    """What precedes the first step: for each sample outputs, then cells, [1,N*2H]; int8 outputs widened to int16."""
    hidden = b.tensor(op, _R[3]).shape[-1]
    parts = []
    for position, dtype in ((_OUTPUT_STATE, DType.INT8), (_CELL_STATE, DType.INT16)):
        tensor = b.tensor(op, position)
        integer = b.tensor(op, 0).dtype == DType.INT8
        if tensor.elems % hidden or tensor.dtype != (dtype if integer else DType.FLOAT32):
            raise b.bad_shape(op, f"a state {tensor.dtype.value} {list(tensor.shape)} of {hidden} cells")
        parts.append(reshaped(b, op, tensor, (tensor.elems // hidden, hidden)))
    parts[0] = to_type(b, op, parts[0], parts[1].dtype)
    both = b.step(op, "concat", ConcatAttrs(1), *parts)
    return reshaped(b, op, both, (1, both.elems))


def _outputs(b: Builder, op: SourceOp, y: Tensor, time_major: bool) -> None:
    """All outputs of [1,T,N,parts*H], and what the state tensors become, one for each part."""
    _, steps, batch, width = y.shape
    states = len(op.outputs) - 1
    hidden = width // states

    def taken(position: int) -> Tensor:
        out, first = b.tensors[op.outputs[position]], max(position - 1, 0) * hidden
        assert out is not None  # the importer refuses such operators first
        rows, part = range(steps - 1 if position else 0, steps), range(first, first + hidden)
        value = to_type(b, op, select(b, op, y, [range(1), rows, range(batch), part]), out.dtype, out.quant)
        value = reshaped(b, op, value, value.shape[1:])
        if position == 0 and not time_major:
            value = _turned(b, op, value)
        return reshaped(b, op, value, out.shape)

    b.give(op, *(taken(k) for k in range(1 + states)))


def _gates(b: Builder, op: SourceOp) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Weights of the input, weights of the state and biases of the gates: input, which a coupled LSTM lacks, forget,
    cell and output."""
    coupled = not b.has(op, _W[0])
    found = [[b.tensor(op, k) for k in positions[coupled:]] for positions in (_W, _R, _BIAS)]
    if coupled and (b.has(op, _R[0]) or b.has(op, _BIAS[0])):
        raise b.malformed(op, "an input gate without weights of the input")
    hidden, inputs = found[0][-1].shape[0], b.tensor(op, 0).shape[2]
    for tensors, shape in zip(found, ((hidden, inputs), (hidden, hidden), (hidden,)), strict=True):
        for tensor in tensors:
            if tensor.shape != shape:
                raise b.bad_shape(op, f"weights {list(tensor.shape)} where {list(shape)} fit")
    return found[0], found[1], found[2]


def _data(b: Builder, op: SourceOp, tensors: Sequence[Tensor], dtype: DType) -> list[Array]:
    """Constants of one type."""
    if dtype == DType.FLOAT32:
        tensors = [b.weights(op, b.tensor(op, 0), t) for t in tensors]
    for tensor in tensors:
        if tensor.data is None:
            raise b.unsupported(op, "weights computed at run time", "make them constants of the model")
        if tensor.dtype != dtype:
            kind = b.tensor(op, 0).dtype.value
            raise b.unsupported(op, f"{kind} with weights or biases of {tensor.dtype.value}", "quantise all of it")
    return [t.data for t in tensors if t.data is not None]


def _floats(b: Builder, op: SourceOp) -> list[Tensor]:
    """Weights, biases and peepholes for `recurrent`, whose gates are input, output, forget, cell. It makes a coupled
    forget gate of the input gate, LiteRT the other way round: 1 - sigmoid(x) is sigmoid(-x)."""
    w, r, bias = (_data(b, op, tensors, DType.FLOAT32) for tensors in _gates(b, op))
    hidden, zeros = w[-1].shape[0], np.zeros(w[-1].shape[0], np.float32)
    peepholes = [zeros] * 3
    if b.has(op, _PEEPHOLES[1]):
        given = [b.tensor(op, k) for k in _PEEPHOLES[len(w) == 3 :]]
        peepholes = _data(b, op, given, DType.FLOAT32)
        if any(p.shape != (hidden,) for p in peepholes):
            raise b.bad_shape(op, f"peepholes {[list(p.shape) for p in peepholes]} of {hidden} cells")
    if len(w) == 3:
        w, r, bias, peepholes = ([-v[0], *v] for v in (w, r, bias, peepholes[-2:]))
    order = (0, 3, 1, 2)
    arrays = [np.concatenate([v[k] for k in order]) for v in (w, r, bias)]
    arrays[2] = np.concatenate([arrays[2], np.zeros_like(arrays[2])])
    arrays.append(np.concatenate([peepholes[k] for k in (0, 2, 1)]))
    return [b.constant(op, v) for v in arrays]


def _integer(b: Builder, op: SourceOp, cell_clip: float) -> tuple[IntegerLstmAttrs, list[Tensor]]:
    """Attributes and constants of `integer_lstm`. Scales are those that LiteRT reads: one for each tensor."""
    if any(b.has(op, k) for k in _PEEPHOLES):
        raise b.unsupported(op, "an integer LSTM with peepholes", _OTHER)
    w, r, bias = _gates(b, op)
    constants = []
    for tensors in (w, r):
        data = _data(b, op, tensors, DType.INT8)
        scales: list[float] = []
        for tensor in tensors:
            scales += [b.symmetric_scale(op, tensor.quant)] * tensor.shape[0]
        constants.append(b.constant(op, np.concatenate(data), Quant(tuple(scales), (0,) * len(scales), 0)))
    constants.append(b.constant(op, np.concatenate(_data(b, op, bias, DType.INT32))))
    state, out = b.tensor(op, _OUTPUT_STATE).quant, b.tensors[op.outputs[0]]
    assert out is not None
    if state != out.quant:
        raise b.unsupported(op, "an output state of another scale than the output", "quantise the model again")
    if len(op.intermediates) <= _HIDDEN:
        raise b.unsupported(op, "an integer LSTM without its intermediate scales", "convert the model again")
    hidden = b.model.tensors[op.intermediates[_HIDDEN]].quant
    cell_scale = b.symmetric_scale(op, b.tensor(op, _CELL_STATE).quant)
    mantissa, exponent = math.frexp(cell_scale)
    if mantissa != 0.5 or exponent - 1 not in CELL_EXPONENTS:
        raise b.unsupported(op, f"cells of scale {cell_scale}", "quantise the model again: 2^-15 to 2^-9 are supported")
    clip = int(min(float(np.float32(cell_clip) / np.float32(cell_scale)), 32767))
    pair, made = b.one_scale(op, state), b.one_scale(op, hidden)
    return IntegerLstmAttrs(pair, made, exponent - 1, clip, len(w) == 3), constants


RECURRENT: dict[str, Importer] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lstm,
    "UNIDIRECTIONAL_SEQUENCE_RNN": rnn,
}
