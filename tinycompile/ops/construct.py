"""Making an operator together with its output tensor, whose shape and dtype the operator module infers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinycompile.ir.graph import Array, Attrs, Node, Op, SourceLoc, Tensor
from tinycompile.ops.registry import operator


def make_op(
    kind: str, inputs: Sequence[Tensor | None], attrs: Attrs, source: SourceLoc, out: Tensor
) -> tuple[Op, Tensor]:
    """The op (named after its output) and its output tensor.

    `out` gives the output's name and quantisation, and its dtype where the kind leaves that open (quantize,
    requantize); its shape is ignored. Raises ShapeError or QuantError when the inputs do not fit.
    """
    names = tuple(t.name if t is not None else "" for t in inputs)
    op = Op(kind, out.name, names, (out.name,), attrs, source)
    shape, dtype = operator(kind).infer(Node(op, tuple(inputs), (out,)))
    return op, replace(out, shape=tuple(shape), dtype=dtype)


def constant_result(op: Op, inputs: Sequence[Tensor | None], out: Tensor) -> Array:
    """What an operator makes of constants, which its reference takes as if they were made at run time."""
    live = tuple(None if t is None else replace(t, data=None) for t in inputs)
    return operator(op.kind).reference(Node(op, live, (out,)), [None if t is None else t.data for t in inputs])
