"""fuse_qdq: ``dequantize -> float operator [-> clip] -> quantize`` becomes the integer operator of the same kind.

The float operator between is what ONNX QDQ models write and what the frontend makes of QLinear operators. A clip in
front of the `quantize` becomes the clamp of the integer operator: quantisation is monotonic, so clamping after it is
the same. Operators that only select or copy values keep their input's quantisation, and a `requantize` follows where
it differs. Several operators that are a function of one value between the two are a table (`function_tables`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from tinycompile.ir.graph import Attrs, Graph, Op
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.put import PutAttrs
from tinycompile.ops.select import SelectAttrs
from tinycompile.passes.function_tables import is_uniform, tabulate
from tinycompile.passes.integer_layer import layer_inputs
from tinycompile.passes.rewriter import Rewriter

LAYERS = ("conv2d", "depthwise_conv2d", "fully_connected")
BINARY = ("add", "mul")
REQUANTISING = ("avg_pool2d", "mean", "concat", "softmax", "logistic", "tanh", "hard_swish", "leaky_relu")
COPYING = ("max_pool2d", "pad", "select", "resize_nearest", "resize_bilinear", "put")
PLACING = ("set", "max", "min")  # combinations of `put` that give one of the values


@dataclass(frozen=True)
class Integer:
    """An integer operator to be: `quant` is its output's when the kind does not leave that free."""

    inputs: tuple[str, ...]
    attrs: Attrs
    quant: Quant | None = None


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
    if out.dtype != DType.INT8 or out.quant is None or out.quant.per_channel:
        return False
    name, clip = _through_clips(rewriter, op.inputs[0])
    made = rewriter.made_by(name)
    if made is None:
        return False
    if made.kind == "dequantize":
        source = integer_input(rewriter, name)
        if source is not None:
            _convert(rewriter, op, source, clip, out.quant)
        return source is not None
    integer = _integer(rewriter, made, out.quant)
    if integer is None:
        return tabulate(rewriter, op, integer_input)
    if integer.quant is not None and integer.quant != out.quant:
        inner = rewriter.emit(made.kind, integer.inputs, integer.attrs, made, quant=integer.quant)
        _convert(rewriter, op, inner, clip, out.quant)
    elif clip is None:
        rewriter.emit(made.kind, integer.inputs, integer.attrs, made, quant=out.quant, name=out.name)
    elif any(f.name == "clamp" for f in fields(integer.attrs)):
        attrs = replace(integer.attrs, clamp=_quantized_bounds(clip, out.quant))  # type: ignore[call-arg]
        rewriter.emit(made.kind, integer.inputs, attrs, made, quant=out.quant, name=out.name)
    else:
        inner = rewriter.emit(made.kind, integer.inputs, integer.attrs, made, quant=out.quant)
        rewriter.emit("clip", [inner], clip, op, quant=out.quant, name=out.name)
    return True


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


def _convert(rewriter: Rewriter, op: Op, source: str, clip: ClipAttrs | None, quant: Quant) -> None:
    """`source`, an int8 tensor, in other quantisation parameters and clipped, as the output of `op`."""
    if clip is not None:
        rewriter.emit("clip", [source], clip, op, quant=quant, name=op.outputs[0])
    elif rewriter.tensor(source).quant == quant:
        rewriter.replace(op.outputs[0], source)
    else:
        rewriter.emit("requantize", [source], Attrs(), op, quant=quant, name=op.outputs[0])


def integer_input(rewriter: Rewriter, name: str) -> str | None:
    """The int8 tensor, quantised per tensor, that `name` is the dequantisation of; None when there is none."""
    made = rewriter.made_by(name)
    if made is None or made.kind != "dequantize":
        return None
    source = rewriter.tensor(made.inputs[0])
    if source.dtype != DType.INT8 or source.quant is None or source.quant.per_channel:
        return None
    return source.name


def _operand(rewriter: Rewriter, name: str) -> str | None:
    """As `integer_input`; a float constant of one value c is exact as the integer sign(c) at scale abs(c)."""
    data = rewriter.tensor(name).data
    if data is None or data.dtype != np.float32 or not is_uniform(rewriter.tensor(name)):
        return integer_input(rewriter, name)
    value = float(data.flat[0])
    if not math.isfinite(value):
        return None
    quant = Quant((abs(value) or 1.0,), (0,))
    return rewriter.constant(np.full(data.shape, np.sign(value), dtype=np.int8), quant, f"{name}/int8")


def _integer(rewriter: Rewriter, op: Op, out: Quant) -> Integer | None:
    """The integer form of the float operator `op`, None when it has none."""
    if op.kind in LAYERS:
        x = integer_input(rewriter, op.inputs[0])
        rest = None if x is None else layer_inputs(rewriter, op, x)
        return None if x is None or rest is None else Integer((x, *rest), op.attrs)
    if op.kind not in (*BINARY, *REQUANTISING, *COPYING):
        return None
    if isinstance(op.attrs, PutAttrs):
        return _put(rewriter, op, op.attrs)
    find = _operand if op.kind in BINARY else integer_input
    inputs = tuple(found for name in op.inputs if (found := find(rewriter, name)) is not None)
    if len(inputs) != len(op.inputs):
        return None
    if op.kind not in COPYING:
        return Integer(inputs, op.attrs)
    quant = rewriter.tensor(inputs[0]).quant
    assert quant is not None
    if isinstance(op.attrs, PadAttrs | SelectAttrs):
        return Integer(inputs, replace(op.attrs, value=_quantized(float(op.attrs.value), quant)), quant)
    return Integer(inputs, op.attrs, quant)


def _put(rewriter: Rewriter, op: Op, attrs: PutAttrs) -> Integer | None:
    """What is put, and what is there: of one quantisation, or one number."""
    data, updates = rewriter.tensor(op.inputs[0]), integer_input(rewriter, op.inputs[2])
    if updates is None or attrs.combination not in PLACING:
        return None
    quant = rewriter.tensor(updates).quant
    assert quant is not None
    if data.data is not None and is_uniform(data):
        fill = np.full(data.shape, _quantized(float(data.data.flat[0]), quant), dtype=np.int8)
        there: str | None = rewriter.constant(fill, quant, f"{data.name}/int8")
    else:
        there = integer_input(rewriter, data.name)
        there = there if there is not None and rewriter.tensor(there).quant == quant else None
    return None if there is None else Integer((there, op.inputs[1], updates), attrs, quant)


def _quantized(real: float, quant: Quant) -> int:
    """ONNX QuantizeLinear of one value to int8: halves to even."""
    scale, zero_point = quant.scalar()
    if math.isinf(real):
        return 127 if real > 0 else -128
    return min(max(round(float(np.float32(real) / np.float32(scale))) + zero_point, -128), 127)


def _quantized_bounds(clip: ClipAttrs, quant: Quant) -> tuple[int, int] | None:
    """The clip in output units; None when it is all of int8."""
    bounds = _quantized(clip.lo, quant), _quantized(clip.hi, quant)
    return None if bounds == (-128, 127) else bounds
