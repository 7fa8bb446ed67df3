"""Rewriter: one sweep over a graph in topological order that makes a new graph.

A pass walks ``graph.ops`` and either keeps an op, emits others, or replaces its output by a tensor that already
exists. `transpose` and `reshape` simplify as they are made: moves of moves compose, moves that do nothing vanish, a
transpose that only moves dimensions of size 1 is a reshape, and constants are moved at compile time. `finish` drops
what nothing uses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tinycompile.ir.graph import Array, Attrs, Graph, Node, Op, Tensor, const_tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.construct import make_op
from tinycompile.ops.registry import OPERATORS
from tinycompile.ops.reshape import ReshapeAttrs
from tinycompile.ops.transpose import TransposeAttrs

MOVES = ("reshape", "transpose")


def only_units_move(shape: Sequence[int], perm: Sequence[int]) -> bool:
    """Whether the dimensions larger than 1 keep their order."""
    kept = [p for p in perm if shape[p] != 1]
    return kept == sorted(kept)


class Rewriter:
    """The new graph while it is made. Tensor names passed in may be old ones: replacements are followed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: dict[str, Tensor] = dict(graph.tensors)
        self.ops: list[Op] = []
        self._producers: dict[str, Op] = {}
        self._replaced: dict[str, str] = {}
        self._moved: dict[tuple[str, Attrs], str] = {}

    def current(self, name: str) -> str:
        """The tensor that stands for `name` now."""
        while name in self._replaced:
            name = self._replaced[name]
        return name

    def tensor(self, name: str) -> Tensor:
        return self.tensors[self.current(name)]

    def made_by(self, name: str) -> Op | None:
        """The op of the new graph that makes tensor `name`, None for inputs and constants."""
        return self._producers.get(self.current(name))

    def node(self, op: Op) -> Node:
        """`op` with its current inputs."""
        op = self._updated(op)
        return Node(
            op, tuple(self.tensors[i] if i else None for i in op.inputs), tuple(self.tensor(o) for o in op.outputs)
        )

    def _updated(self, op: Op) -> Op:
        """`op` itself where its inputs are what they were: graphs of one origin share it."""
        inputs = tuple(self.current(i) if i else "" for i in op.inputs)
        return op if inputs == op.inputs else replace(op, inputs=inputs)

    def _append(self, op: Op) -> None:
        self.ops.append(op)
        for out in op.outputs:
            self._producers[out] = op

    def keep(self, op: Op) -> None:
        """`op` as it is, on the current tensors."""
        self._append(self._updated(op))

    def replace(self, old: str, new: str) -> None:
        """From now on `new` stands for `old`."""
        if old != self.current(new):
            self._replaced[old] = self.current(new)

    def fresh(self, wish: str) -> str:
        """A tensor name that is not taken."""
        name, number = wish, 0
        while name in self.tensors:
            number += 1
            name = f"{wish}#{number}"
        return name

    def emit(
        self,
        kind: str,
        inputs: Sequence[str],
        attrs: Attrs,
        like: Op,
        *,
        quant: Quant | None = None,
        dtype: DType = DType.INT8,
        name: str | None = None,
    ) -> str:
        """A new op with `like`'s source location; returns its output's name, which is `name` where given."""
        out = Tensor(name if name is not None else self.fresh(_derived(like.outputs[0], kind)), (), dtype, quant)
        op, tensor = make_op(kind, [self.tensor(i) if i else None for i in inputs], attrs, like.source, out)
        self.tensors[tensor.name] = tensor
        self._append(op)
        return tensor.name

    def constant(self, data: Array, quant: Quant | None, wish: str) -> str:
        tensor = const_tensor(self.fresh(wish), data, quant)
        self.tensors[tensor.name] = tensor
        return tensor.name

    def dequantized_constant(self, name: str) -> Tensor | None:
        """The integer constant that `name` is the dequantisation of, if it is one."""
        op = self.made_by(name)
        if op is None or op.kind != "dequantize":
            return None
        source = self.tensor(op.inputs[0])
        return source if source.is_const else None

    def transpose(self, name: str, perm: tuple[int, ...], like: Op) -> str:
        """`name` with its dimensions permuted; `like` is the op that asks for it."""
        tensor = self.tensor(name)
        if perm == tuple(range(len(perm))) and len(perm) == len(tensor.shape):
            return tensor.name
        if tensor.data is not None and len(perm) == len(tensor.shape):
            return self.constant(tensor.data.transpose(perm), _permuted(tensor.quant, perm), tensor.name)
        source = self.dequantized_constant(name)
        if source is not None:
            moved = self.transpose(source.name, perm, like)
            return self.emit("dequantize", [moved], Attrs(), like, dtype=DType.FLOAT32)
        made = self.made_by(name)
        if made is not None and made.kind == "transpose" and isinstance(made.attrs, TransposeAttrs):
            inner = made.attrs.perm
            return self.transpose(made.inputs[0], tuple(inner[p] for p in perm), like)
        if only_units_move(tensor.shape, perm) and len(perm) == len(tensor.shape):
            return self.reshape(name, tuple(tensor.shape[p] for p in perm), like)
        return self._move("transpose", tensor, TransposeAttrs(perm), like)

    def reshape(self, name: str, shape: tuple[int, ...], like: Op) -> str:
        """`name` in another shape of as many elements."""
        tensor = self.tensor(name)
        if tensor.shape == shape:
            return tensor.name
        axis_fits = tensor.quant is None or _reshaped(tensor.quant, tensor.shape, shape) is not None
        if tensor.data is not None and axis_fits and math.prod(shape) == tensor.elems:
            quant = None if tensor.quant is None else _reshaped(tensor.quant, tensor.shape, shape)
            return self.constant(tensor.data.reshape(shape), quant, tensor.name)
        source = self.dequantized_constant(name)
        if source is not None and source.quant is not None and _reshaped(source.quant, source.shape, shape) is not None:
            moved = self.reshape(source.name, shape, like)
            return self.emit("dequantize", [moved], Attrs(), like, dtype=DType.FLOAT32)
        made = self.made_by(name)
        if made is not None and made.kind == "reshape":
            return self.reshape(made.inputs[0], shape, like)
        return self._move("reshape", tensor, ReshapeAttrs(shape), like)

    def move_like(self, name: str, move: Op, like: Op) -> str:
        """`name` moved as the op `move` (a reshape or transpose) moves its own input."""
        if isinstance(move.attrs, TransposeAttrs):
            return self.transpose(name, move.attrs.perm, like)
        assert isinstance(move.attrs, ReshapeAttrs)
        return self.reshape(name, move.attrs.shape, like)

    def _move(self, kind: str, tensor: Tensor, attrs: Attrs, like: Op) -> str:
        known = self._moved.get((tensor.name, attrs))
        if known is None:
            known = self.emit(kind, [tensor.name], attrs, like, quant=tensor.quant)
            self._moved[tensor.name, attrs] = known
        return known

    def finish(self) -> Graph:
        """The new graph: outputs under their old names, dead ops dropped."""
        self._name_outputs()
        alive, ops = set(self.graph.outputs), []
        for op in reversed(self.ops):
            if alive & set(op.outputs):
                alive |= set(op.inputs)
                ops.append(op)
        return self.graph.rebuild(ops[::-1], self.tensors.values())

    def _name_outputs(self) -> None:
        names: dict[str, str] = {}
        for port in dict.fromkeys(self.graph.outputs):
            stand_in = self.current(port)
            if stand_in == port:
                continue
            if stand_in in self._producers and stand_in not in names and stand_in not in self.graph.outputs:
                names[stand_in] = port
                self.tensors[port] = replace(self.tensors[stand_in], name=port)
                continue
            tensor = self.tensors[stand_in]
            like = self._producers.get(stand_in) or self.graph.producers()[port]
            self.emit("reshape", [stand_in], ReshapeAttrs(tensor.shape), like, quant=tensor.quant, name=port)
        if names:
            self.ops = [
                replace(
                    op,
                    name=names.get(op.name, op.name),
                    inputs=tuple(names.get(i, i) for i in op.inputs),
                    outputs=tuple(names.get(o, o) for o in op.outputs),
                )
                for op in self.ops
            ]


def _derived(name: str, kind: str) -> str:
    """A name for what a pass makes beside `name`; what passes before added to it goes."""
    stem, _, added = name.rpartition("/")
    plain = added.partition("#")[0]
    return f"{stem if stem and plain in OPERATORS else name}/{kind}"


def _permuted(quant: Quant | None, perm: tuple[int, ...]) -> Quant | None:
    return quant if quant is None or quant.axis is None else replace(quant, axis=perm.index(quant.axis))


def _reshaped(quant: Quant, shape: tuple[int, ...], new: tuple[int, ...]) -> Quant | None:
    """`quant` of a tensor of `shape` seen as `new`; None when its axis does not survive."""
    if quant.axis is None:
        return quant
    before = math.prod(shape[: quant.axis])
    for axis, size in enumerate(new):
        if math.prod(new[:axis]) == before and size == shape[quant.axis]:
            return replace(quant, axis=axis)
    return None
