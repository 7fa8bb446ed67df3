"""layout: channels-last everywhere, by moving the transposes that the ONNX frontend puts around spatial operators.

An operator that treats all positions alike is converted to channels-last when one of its operands comes
channels-first out of a transpose, or when all its readers want channels-last. Converting puts a transpose before each
operand and one after the output; against the ones already there they cancel (`Rewriter.transpose`). Reshapes sink
below operators of one operand in the same way, so that producer and activation meet. Transposes stay where data
enters or leaves the network, at reshapes that mix dimensions, and nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tinycompile.ir.graph import Attrs, Graph, Op
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.mean import MeanAttrs
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.select import SelectAttrs
from tinycompile.ops.transpose import TransposeAttrs
from tinycompile.passes.rewriter import MOVES, Rewriter

UNARY = ("quantize", "dequantize", "requantize", "clip", "logistic", "tanh", "hard_swish", "leaky_relu")
BINARY = ("add", "mul")
AGNOSTIC = (*UNARY, *BINARY, "elementwise", "concat", "pad", "select", "mean")


def to_last(rank: int) -> tuple[int, ...]:
    """N C ... -> N ... C."""
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """N ... C -> N C ..."""
    return (0, rank - 1, *range(1, rank - 1))


def layout(graph: Graph) -> Graph:
    """A graph with as few transposes as the rules above leave."""
    rewriter = Rewriter(graph)
    wanted = _wanted_last(graph)
    for op in graph.ops:
        if op.kind in MOVES:
            rewriter.replace(op.outputs[0], rewriter.move_like(op.inputs[0], op, op))
        elif op.kind in AGNOSTIC and (op.outputs[0] in wanted or _reads_first(rewriter, op)):
            _convert(rewriter, op)
        elif not _sink_moves(rewriter, op):
            rewriter.keep(op)
    return rewriter.finish()


def _wanted_last(graph: Graph) -> set[str]:
    """Outputs of layout-agnostic ops that every reader wants channels-last."""
    consumers, wanted = graph.consumers(), set[str]()
    for op in reversed(graph.ops):
        out = graph.tensors[op.outputs[0]]
        if op.kind not in AGNOSTIC or len(out.shape) < 3 or out.name in graph.outputs or not consumers[out.name]:
            continue
        if graph.tensors[op.inputs[0]].is_const or (isinstance(op.attrs, MeanAttrs) and not op.attrs.keep_dims):
            continue
        last = TransposeAttrs(to_last(len(out.shape)))
        if all(c.attrs == last or c.outputs[0] in wanted for c in consumers[out.name]):
            wanted.add(out.name)
    return wanted


def _reads_first(rewriter: Rewriter, op: Op) -> bool:
    """Whether an operand of full rank was channels-last before a transpose."""
    rank = max(len(rewriter.tensor(i).shape) for i in op.inputs)
    if rank < 3:
        return False
    makers = [rewriter.made_by(i) for i in op.inputs]
    first = TransposeAttrs(to_first(rank))
    return any(m is not None and m.attrs == first for m in makers)


def _convert(rewriter: Rewriter, op: Op) -> None:
    """`op` on channels-last operands, its output transposed back to channels-first."""
    shapes = [rewriter.tensor(i).shape for i in op.inputs]
    rank = max(len(s) for s in shapes)
    last = to_last(rank)
    operands = []
    for name, shape in zip(op.inputs, shapes, strict=True):
        full = rewriter.reshape(name, (1,) * (rank - len(shape)) + shape, op)
        operands.append(rewriter.transpose(full, last, op))
    before = rewriter.tensor(op.outputs[0])
    attrs = _channels_last_attrs(op.attrs, last)
    out = rewriter.emit(op.kind, operands, attrs, op, quant=before.quant, dtype=before.dtype)
    if isinstance(op.attrs, MeanAttrs) and not op.attrs.keep_dims:
        axes = {a % rank for a in op.attrs.axes}
        kept_last = [a for a in last if a not in axes]
        back = tuple(kept_last.index(a) for a in range(rank) if a not in axes)
    else:
        back = to_first(rank)
    rewriter.replace(op.outputs[0], rewriter.transpose(out, back, op))


def _channels_last_attrs(attrs: Attrs, last: tuple[int, ...]) -> Any:
    rank = len(last)
    if isinstance(attrs, ConcatAttrs):
        return replace(attrs, axis=last.index(attrs.axis % rank))
    if isinstance(attrs, MeanAttrs):
        return replace(attrs, axes=tuple(sorted(last.index(a % rank) for a in attrs.axes)))
    if isinstance(attrs, SelectAttrs):
        return replace(attrs, indices=tuple(attrs.indices[p] for p in last))
    if isinstance(attrs, PadAttrs):
        return replace(attrs, before=tuple(attrs.before[p] for p in last), after=tuple(attrs.after[p] for p in last))
    return attrs


def _sink_moves(rewriter: Rewriter, op: Op) -> bool:
    """Re-emits `op` on what its operands were before they were moved, and moves the output instead; False when it
    cannot."""
    before = rewriter.tensor(op.outputs[0])
    if op.kind in UNARY or (op.kind == "elementwise" and len(op.inputs) == 1):
        moves: list[Op] = []
        name = rewriter.current(op.inputs[0])
        while (made := rewriter.made_by(name)) is not None and made.kind in MOVES:
            moves.append(made)
            name = made.inputs[0]
        if not moves:
            return False
        out = rewriter.emit(op.kind, [name], op.attrs, op, quant=before.quant, dtype=before.dtype)
        for move in reversed(moves):
            out = rewriter.move_like(out, move, op)
        rewriter.replace(op.outputs[0], out)
        return True
    if op.kind not in (*BINARY, "elementwise", "concat"):
        return False
    operands = _before_same_reshape(rewriter, op)
    if operands is None:
        return False
    out = rewriter.emit(op.kind, operands, op.attrs, op, quant=before.quant, dtype=before.dtype)
    rewriter.replace(op.outputs[0], rewriter.reshape(out, before.shape, op))
    return True


def _before_same_reshape(rewriter: Rewriter, op: Op) -> list[str] | None:
    """The operands of `op` without the reshape that they all went through; None when there is none to take away.

    Either all went from one shape to one shape, or all lost a last dimension of size 1 (1-D networks run as maps of
    width 1).
    """
    moved = [i for i in op.inputs if not _constant(rewriter, i)]
    makers = [rewriter.made_by(i) for i in moved]
    if not moved or any(m is None or m.kind != "reshape" for m in makers):
        return None
    new = [rewriter.tensor(i).shape for i in moved]
    old = [rewriter.tensor(m.inputs[0]).shape for m in makers if m is not None]
    rank = len(new[0])
    constants = [i for i in op.inputs if i not in moved]
    if all(o == (*n, 1) and len(n) == rank for o, n in zip(old, new, strict=True)):
        if any(len(rewriter.tensor(i).shape) > rank for i in constants):
            return None
    elif (
        op.kind == "concat"
        or len(set(old)) > 1
        or len(set(new)) > 1
        or any(rewriter.tensor(i).elems > 1 for i in constants)
    ):
        return None
    result = []
    for name in op.inputs:
        made, shape = rewriter.made_by(name), rewriter.tensor(name).shape
        if name in constants:
            full = (1,) * (rank - len(shape)) + shape
            appended = (*full, 1) if old[0] == (*new[0], 1) else (1,) * len(old[0])
            result.append(rewriter.reshape(name, appended, op))
        else:
            assert made is not None
            result.append(made.inputs[0])
    return result


def _constant(rewriter: Rewriter, name: str) -> bool:
    return rewriter.tensor(name).is_const or rewriter.dequantized_constant(name) is not None
