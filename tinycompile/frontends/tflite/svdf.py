"""SVDF, of floats or of int8 with an int16 memory; its variable tensor is an output behind its own.

The memory is kept as it is after the newest feature has come; LiteRT keeps it moved on by one, which nothing sees.
"""

from __future__ import annotations

from tinycompile.frontends.tflite.builder import Builder
from tinycompile.frontends.tflite.functions import apply, reduce
from tinycompile.frontends.tflite.reader import SourceOp
from tinycompile.frontends.tflite.selection import reshaped, select
from tinycompile.ir.graph import Attrs, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.fully_connected import FullyConnectedAttrs
from tinycompile.ops.svdf_time import SvdfTimeAttrs

_RELU = 1  # ActivationFunctionType; of integers the output's zero point makes it
_OTHER = "use an SVDF of floats, or of int8 with an int16 state"


def svdf(b: Builder, op: SourceOp) -> None:
    rank, activation = b.options(op, "SVDFOptions", "Rank", "FusedActivationFunction")
    if len(op.outputs) != 2:
        raise b.unsupported(op, "an SVDF whose state is no variable tensor", "export the model again")
    x, w, time, state, out = (*(b.tensor(op, k) for k in (0, 1, 2, 4)), b.tensors[op.outputs[0]])
    assert out is not None  # the importer refuses such operators first
    if not len(x.shape) == len(w.shape) == len(time.shape) == 2 or rank < 1 or w.shape[0] % rank:
        raise b.bad_shape(op, f"rank {rank} of weights {list(w.shape)} and {list(time.shape)}")
    if time.shape[0] != w.shape[0] or w.shape[1] != x.shape[1] or state.shape != (x.shape[0], time.elems):
        raise b.bad_shape(op, f"weights {list(w.shape)}, {list(time.shape)} and state {list(state.shape)}")
    bias = b.tensor(op, 3) if b.has(op, 3) else None
    if bias is not None and bias.shape != (w.shape[0] // rank,):
        raise b.bad_shape(op, f"bias {list(bias.shape)} of {w.shape[0] // rank} units")
    if x.dtype == DType.FLOAT32:
        memory, y = _floats(b, op, rank, bias)
        clamp = b.clamp(op, activation, out)
        b.give(op, y if clamp is None else b.step(op, "clip", ClipAttrs(*clamp), y), memory)
        return
    if activation != _RELU:
        raise b.unsupported(op, f"an SVDF of {x.dtype.value} with activation {activation}", "LiteRT has it with relu")
    for tensor in (w, time, state):
        b.symmetric_scale(op, tensor.quant)
    memory = b.step(op, "svdf_memory", Attrs(), x, state, w, quant=state.quant)
    b.give(op, b.step(op, "svdf_time", SvdfTimeAttrs(rank), memory, time, bias, quant=out.quant), memory)


def _floats(b: Builder, op: SourceOp, rank: int, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The memory and the outputs."""
    x, state = b.tensor(op, 0), b.tensor(op, 4)
    w, time = (b.weights(op, x, b.tensor(op, k)) for k in (1, 2))
    if any(t.dtype != DType.FLOAT32 for t in (w, time, state)):
        raise b.unsupported(op, f"float32 with weights of {w.dtype.value}", _OTHER)
    (filters, length), batch = time.shape, x.shape[0]
    features = b.step(op, "fully_connected", FullyConnectedAttrs(), x, w, None)
    memory = reshaped(b, op, features, (batch, filters, 1))
    if length > 1:
        before = reshaped(b, op, state, (batch, filters, length))
        kept = select(b, op, before, [range(batch), range(filters), range(1, length)])
        memory = b.step(op, "concat", ConcatAttrs(2), kept, memory)
    products = apply(b, op, "mul", memory, time)
    sums = reshaped(b, op, reduce(b, op, "sum", products, {2}), (batch, filters // rank, rank))
    y = reduce(b, op, "sum", sums, {2}, keep=False)
    y = y if bias is None else apply(b, op, "add", y, bias)
    return reshaped(b, op, memory, state.shape), y
