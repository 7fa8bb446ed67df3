"""lower_floats: float operators that quantisation left over become `elementwise` functions.

Until here they have the kinds of their integer forms, because that is what fuse_qdq makes of them between `dequantize`
and `quantize`. Operands get the output's number of dimensions; those that do not broadcast by rows, columns and
channels are expanded, at compile time where they are constant.
"""

from __future__ import annotations

import math

import numpy as np

from tinycompile.ir.graph import Attrs, Graph, Node, Op
from tinycompile.ir.types import DType
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.elementwise_operator import ElementwiseAttrs, own_parts
from tinycompile.ops.leaky_relu import LeakyReluAttrs
from tinycompile.ops.mul import MulAttrs
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.registry import operator
from tinycompile.ops.select import SelectAttrs
from tinycompile.passes.rewriter import Rewriter

_SAME = {"mul": "mul", "logistic": "sigmoid", "tanh": "tanh", "hard_swish": "hard_swish"}


def float_functions(op: Op) -> tuple[ElementwiseAttrs, ...]:
    """What a float operator computes element by element, one function after the other; none when it is no such
    operator."""
    attrs: Attrs = op.attrs
    if isinstance(attrs, ElementwiseAttrs):
        return (attrs,)
    if isinstance(attrs, LeakyReluAttrs):
        return (ElementwiseAttrs("leaky_relu", (attrs.alpha,)),)
    if isinstance(attrs, ClipAttrs):
        return (_clip(attrs.lo, attrs.hi),)
    clamp = attrs.clamp if isinstance(attrs, AddAttrs | MulAttrs) else None
    behind = () if clamp is None else (_clip(*clamp),)
    if isinstance(attrs, AddAttrs):
        return (ElementwiseAttrs("sub" if attrs.subtract else "add"), *behind)
    return (ElementwiseAttrs(_SAME[op.kind]), *behind) if op.kind in _SAME else ()


def _clip(lo: float, hi: float) -> ElementwiseAttrs:
    return ElementwiseAttrs("relu") if (lo, hi) == (0.0, math.inf) else ElementwiseAttrs("clip", (lo, hi))


def _is_float(node: Node) -> bool:
    return all(t is not None and t.dtype == DType.FLOAT32 for t in (*node.inputs, *node.outputs))


def lower_floats(graph: Graph) -> Graph:
    """A graph in which no float operator has the kind of an integer one of its function."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        node = rewriter.node(op)
        functions = float_functions(op) if isinstance(op.attrs, ElementwiseAttrs) or _is_float(node) else ()
        if (
            isinstance(op.attrs, PadAttrs)
            and operator(op.kind).unsupported(node)
            and node.tensor(0).quant == node.out.quant
        ):
            padded = _pad_indices(node.tensor(0).shape, op.attrs)
            rewriter.emit("select", [node.tensor(0).name], padded, op, quant=node.out.quant, name=node.out.name)
            continue
        if isinstance(op.attrs, ConcatAttrs) and node.activations:
            _concat(rewriter, op, node)
            continue
        if not functions:
            rewriter.keep(op)
            continue
        names = [_operand(rewriter, node, k) for k in range(len(op.inputs))]
        out = node.out
        for function in functions[:-1]:
            names = [rewriter.emit("elementwise", names, function, op, quant=out.quant, dtype=out.dtype)]
        rewriter.emit("elementwise", names, functions[-1], op, quant=out.quant, dtype=out.dtype, name=out.name)
    return rewriter.finish()


def _concat(rewriter: Rewriter, op: Op, node: Node) -> None:
    names = []
    for tensor in node.inputs:
        assert tensor is not None
        in_memory = tensor.name
        if tensor.is_const:
            in_memory = rewriter.emit("constant", [tensor.name], Attrs(), op, quant=tensor.quant, dtype=tensor.dtype)
        names.append(in_memory)
    out = node.out
    rewriter.emit(op.kind, names, op.attrs, op, quant=out.quant, dtype=out.dtype, name=out.name)


def _pad_indices(shape: tuple[int, ...], attrs: PadAttrs) -> SelectAttrs:
    sides = zip(shape, attrs.before, attrs.after, strict=True)
    return SelectAttrs(tuple((*(-1,) * p, *range(d), *(-1,) * q) for d, p, q in sides), attrs.value)


def _operand(rewriter: Rewriter, node: Node, k: int) -> str:
    """Operand `k` with a dimension for each of the output's, or expanded where it is a constant that needs it."""
    tensor, shape = node.tensor(k), node.out.shape
    if own_parts(node, k) is not None:
        return tensor.name
    if tensor.data is None:
        name = rewriter.reshape(tensor.name, (1,) * (len(shape) - len(tensor.shape)) + tensor.shape, node.op)
        full = rewriter.tensor(name)
        inputs = (*node.inputs[:k], full, *node.inputs[k + 1 :])
        if own_parts(Node(node.op, inputs, node.outputs), k) is not None:
            return name
        indices = tuple(tuple(range(d)) if d == o else (0,) * o for d, o in zip(full.shape, shape, strict=True))
        return rewriter.emit("select", [name], SelectAttrs(indices), node.op, quant=full.quant)
    return rewriter.constant(np.broadcast_to(tensor.data, node.out.shape), tensor.quant, f"{tensor.name}/expanded")
