"""fuse_qdq: ``dequantize -> float operator [-> clip] -> quantize`` becomes the integer operator of the same kind.

The float operator between is what ONNX QDQ models write and what the frontend makes of QLinear operators. A clip in
front of the `quantize` becomes the clamp of the integer operator: quantisation is monotonic, so clamping after it is
the same. Operators that only select or copy values keep their input's quantisation, and a `requantize` follows where
it differs. Several operators that are a function of one int8 value between the two are a table (`function_tables`).

An operator with int16 on either side computes in int16: int8 inputs become int16 first, exactly, and an int8 output is
made of int16 values of 1/128 of its scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np

from tinycompile.ir.graph import Attrs, Graph, Node, Op, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.construct import make_op
from tinycompile.ops.elementwise import ACTIVATIONS
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.put import PutAttrs
from tinycompile.ops.registry import operator
from tinycompile.ops.select import SelectAttrs
from tinycompile.passes.function_tables import is_uniform, tabulate
from tinycompile.passes.integer_layer import layer_inputs
from tinycompile.passes.rewriter import Rewriter

LAYERS = ("conv2d", "depthwise_conv2d", "fully_connected")
BINARY = ("add", "mul")
REQUANTISING = ("avg_pool2d", "mean", "concat", "softmax", "logistic", "tanh", "hard_swish", "leaky_relu")
# LiteRT's int16 kernel of these is for LiteRT's models only. Its softmax takes exp(-10) for all that is less: among a
# thousand classes probabilities are wrong by some percent, where floats are right.
NOT_INT16 = ("softmax",)
COPYING = ("max_pool2d", "pad", "select", "resize_nearest", "resize_bilinear", "put")
PLACING = ("set", "max", "min")  # combinations of `put` that give one of the values


@dataclass(frozen=True)
class Integer:
    """An integer operator to be: the type that it computes in, and the quantisation of its output."""

    inputs: tuple[str, ...]
    attrs: Attrs
    dtype: DType
    quant: Quant


def fuse_qdq(graph: Graph) -> Graph:
    """A graph with integer operators wherever float ones stood between `dequantize` and `quantize`."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op.kind != "quantize" or not _fuse(rewriter, op):
            rewriter.keep(op)
    return rewriter.finish()


def _fuse(rewriter: Rewriter, op: Op) -> bool:
    """Emits the integer form of what makes the input of `op`, a `quantize`, under the name of its output."""
    out = rewriter.tensor(op.outputs[0])
    if out.quant is None or not _is_activation(out):
        return False
    name, clip = _through_clips(rewriter, op.inputs[0])
    made = rewriter.made_by(name)
    if made is None:
        return False
    if made.kind == "dequantize":
        source = integer_input(rewriter, name)
        if source is not None:
            _convert(rewriter, op, source, clip, out)
        return source is not None
    integer = _integer(rewriter, made, out)
    if integer is None:
        return tabulate(rewriter, op, integer_input)
    attrs, emit = integer.attrs, partial(rewriter.emit, quant=integer.quant, dtype=integer.dtype)
    if (integer.quant, integer.dtype) != (out.quant, out.dtype):
        _convert(rewriter, op, emit(made.kind, integer.inputs, attrs, made), clip, out)
    elif clip is None:
        emit(made.kind, integer.inputs, attrs, made, name=out.name)
    elif any(f.name == "clamp" for f in fields(attrs)):
        attrs = replace(attrs, clamp=_quantized_bounds(clip, out))  # type: ignore[call-arg]
        emit(made.kind, integer.inputs, attrs, made, name=out.name)
    else:
        inner = emit(made.kind, integer.inputs, attrs, made)
        emit("clip", [inner], clip, op, name=out.name)
    return True


def _is_activation(tensor: Tensor) -> bool:
    """Whether integer operators take such a tensor: int8 or symmetric int16, quantised per tensor."""
    if tensor.dtype not in ACTIVATIONS or tensor.quant is None or tensor.quant.per_channel:
        return False
    return tensor.dtype == DType.INT8 or tensor.quant.scalar()[1] == 0


def _through_clips(rewriter: Rewriter, name: str) -> tuple[str, ClipAttrs | None]:
    """The value before any clips that lead to `name`, and those clips as one."""
    clip: ClipAttrs | None = None
    while (made := rewriter.made_by(name)) is not None and isinstance(made.attrs, ClipAttrs):
        inner = made.attrs
        if clip is None:
            clip = inner
        else:  # first inner, then clip
            lo, hi = (min(max(bound, clip.lo), clip.hi) for bound in (inner.lo, inner.hi))
            clip = ClipAttrs(lo, hi)
        name = made.inputs[0]
    return name, clip


def _convert(rewriter: Rewriter, op: Op, source: str, clip: ClipAttrs | None, out: Tensor) -> None:
    """`source`, an integer tensor, in other quantisation parameters and clipped, as the output of `op`."""
    x, emit = rewriter.tensor(source), partial(rewriter.emit, quant=out.quant, dtype=out.dtype)
    if clip is not None and x.dtype != out.dtype:
        source = emit("requantize", [source], Attrs(), op)
    if clip is not None:
        emit("clip", [source], clip, op, name=out.name)
    elif (x.quant, x.dtype) == (out.quant, out.dtype):
        rewriter.replace(out.name, source)
    else:
        emit("requantize", [source], Attrs(), op, name=out.name)


def integer_input(rewriter: Rewriter, name: str) -> str | None:
    """The integer activation that `name` is the dequantisation of; None when there is none."""
    made = rewriter.made_by(name)
    if made is None or made.kind != "dequantize":
        return None
    source = rewriter.tensor(made.inputs[0])
    return source.name if _is_activation(source) else None


def _one_value(rewriter: Rewriter, name: str) -> float | None:
    """The value of a float constant of one value throughout, None for anything else."""
    data = rewriter.tensor(name).data
    if data is None or data.dtype != np.float32 or not is_uniform(rewriter.tensor(name)):
        return None
    return float(data.flat[0]) if math.isfinite(data.flat[0]) else None


def _operand(rewriter: Rewriter, name: str, dtype: DType) -> str:
    """What an operator in `dtype` reads for the float `name`. A constant of one value c is exact as the integer sign(c)
    at scale abs(c)."""
    value = _one_value(rewriter, name)
    if value is not None:
        ones = np.full(rewriter.tensor(name).shape, np.sign(value), dtype=dtype.numpy)
        return rewriter.constant(ones, Quant((abs(value) or 1.0,), (0,)), f"{name}/{dtype.value}")
    source = integer_input(rewriter, name)
    assert source is not None
    x = rewriter.tensor(source)
    if x.dtype == dtype:
        return source
    assert x.quant is not None
    scale, zero_point = x.quant.scalar()
    quant = Quant((scale,), (0,))
    if x.data is not None:
        return rewriter.constant(x.data.astype(np.int16) - np.int16(zero_point), quant, f"{source}/int16")
    like, wish = rewriter.made_by(name), f"{source}/int16"
    assert like is not None
    known = rewriter.made_by(wish)
    if known is not None and known.inputs == (source,) and rewriter.tensor(wish).quant == quant:
        return wish
    return rewriter.emit("requantize", [source], Attrs(), like, quant=quant, dtype=dtype, name=rewriter.fresh(wish))


def _integer(rewriter: Rewriter, op: Op, out: Tensor) -> Integer | None:
    """The integer form of the float operator `op`, None when it has none."""
    if op.kind not in (*LAYERS, *BINARY, *REQUANTISING, *COPYING):
        return None
    if isinstance(op.attrs, PutAttrs):
        return _put(rewriter, op, op.attrs)
    read = op.inputs[:1] if op.kind in LAYERS else op.inputs
    sources = [
        integer_input(rewriter, name) for name in read if op.kind not in BINARY or _one_value(rewriter, name) is None
    ]
    if any(source is None for source in sources):
        return None
    found = [rewriter.tensor(source) for source in sources if source is not None]
    if op.kind in COPYING:
        (x,) = found
        assert x.quant is not None
        attrs = op.attrs
        if isinstance(attrs, PadAttrs | SelectAttrs):
            attrs = replace(attrs, value=_quantized(float(attrs.value), x))
        return Integer((x.name,), attrs, x.dtype, x.quant)
    assert out.quant is not None
    if DType.INT16 not in {out.dtype, *(x.dtype for x in found)}:
        dtype, quant = DType.INT8, out.quant
    else:
        dtype, quant = DType.INT16, out.quant
        if out.dtype == DType.INT8:
            quant = Quant((out.quant.scale[0] / 128,), (0,))
    inputs = tuple(_operand(rewriter, name, dtype) for name in read)
    if op.kind in LAYERS:
        rest = layer_inputs(rewriter, op, inputs[0])
        if rest is None:
            return None
        inputs = (*inputs, *rest)
    made = Integer(inputs, op.attrs, dtype, quant)
    return made if dtype == DType.INT8 or _has_kernel(rewriter, op, made) else None


def _put(rewriter: Rewriter, op: Op, attrs: PutAttrs) -> Integer | None:
    """What is put, and what is there: int8 of one quantisation, or one number."""
    data, updates = rewriter.tensor(op.inputs[0]), integer_input(rewriter, op.inputs[2])
    if updates is None or attrs.combination not in PLACING:
        return None
    x = rewriter.tensor(updates)
    if x.dtype != DType.INT8:
        return None
    assert x.quant is not None
    if data.data is not None and is_uniform(data):
        fill = np.full(data.shape, _quantized(float(data.data.flat[0]), x), dtype=np.int8)
        there: str | None = rewriter.constant(fill, x.quant, f"{data.name}/int8")
    else:
        there = integer_input(rewriter, data.name)
        same = there is not None and (rewriter.tensor(there).quant, rewriter.tensor(there).dtype) == (x.quant, x.dtype)
        there = there if same else None
    return None if there is None else Integer((there, op.inputs[1], updates), attrs, x.dtype, x.quant)


def _has_kernel(rewriter: Rewriter, op: Op, made: Integer) -> bool:
    """Whether there is a kernel for it: of int16, some operators have none."""
    if op.kind in NOT_INT16:
        return False
    tensors = [rewriter.tensor(name) if name else None for name in made.inputs]
    out = Tensor(op.outputs[0], (), made.dtype, made.quant)
    integer, out = make_op(op.kind, tensors, made.attrs, op.source, out)
    return operator(op.kind).unsupported(Node(integer, tuple(tensors), (out,))) is None


def _quantized(real: float, like: Tensor) -> int:
    """ONNX QuantizeLinear of one value to the type of `like`: halves to even."""
    assert like.quant is not None
    (scale, zero_point), (low, high) = like.quant.scalar(), like.dtype.int_range
    if math.isinf(real):
        return high if real > 0 else low
    return min(max(round(float(np.float32(real) / np.float32(scale))) + zero_point, low), high)


def _quantized_bounds(clip: ClipAttrs, out: Tensor) -> tuple[int, int] | None:
    """The clip in output units; None when it is all of the type."""
    bounds = _quantized(clip.lo, out), _quantized(clip.hi, out)
    return None if bounds == out.dtype.int_range else bounds
