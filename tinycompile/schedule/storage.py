"""Storage: which run-time tensors share bytes whatever the order of execution (views).

A `Value` is the bytes that one step writes or the caller fills. A reshape's output is its input's values; a concat that
joins whole contiguous runs is a view of its inputs' values laid side by side, so that their producers write into place
and no step copies. A crop's rows lie inside the rows of another tensor. What is none of these is a step of the plan.

Invariants: every run-time tensor is a sequence of pieces that cover it without gaps; the values of a joined group keep
fixed distances and never share a byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from tinycompile.errors import UnsupportedError, one_line
from tinycompile.ir.graph import Graph, Node
from tinycompile.ir.types import Region
from tinycompile.ops.registry import operator


@dataclass(frozen=True)
class Value:
    """Bytes with one writer. `producer` is an op index (None: a network input), `consumers` the steps that read it."""

    tensor: str
    nbytes: int
    align: int
    producer: int | None
    consumers: frozenset[int]
    is_output: bool


@dataclass(frozen=True)
class Piece:
    """Value `value` (an index) at byte `offset` of a tensor or group."""

    value: int
    offset: int


@dataclass(frozen=True)
class Overlay:
    """An in-place choice: the output may begin where input `index` begins once all `dying` values have no later use."""

    index: int
    dying: frozenset[int]
    start: int
    """The value that holds the input's first byte."""


@dataclass(frozen=True)
class StepInfo:
    """What a step touches: indices of values, its in-place choices and scratch."""

    op: int
    reads: frozenset[int]
    out: int
    overlays: tuple[Overlay, ...]
    scratch_bytes: int


@dataclass(frozen=True)
class Inside:
    """Row y of a crop begins at byte `start` of row ``y + y0`` of `tensor`, which is no crop."""

    tensor: str
    y0: int
    start: int


@dataclass(frozen=True)
class Storage:
    """`parts`: run-time tensor -> its values in order, those of the whole tensor for one that is `inside` another.
    `groups`: values at fixed distances (every value is in one)."""

    values: tuple[Value, ...]
    parts: Mapping[str, tuple[Piece, ...]]
    inside: Mapping[str, Inside]
    groups: tuple[tuple[Piece, ...], ...]
    steps: tuple[StepInfo, ...]


class _Builder:
    def __init__(self, graph: Graph, apart: frozenset[str]) -> None:
        self.graph, self.apart = graph, apart
        self.sizes: list[tuple[str, int, int, int | None]] = []
        self.parts: dict[str, tuple[Piece, ...]] = {}
        self.group_of: dict[int, dict[int, int]] = {}
        self.inside: dict[str, Inside] = {}

    def add_value(self, name: str, producer: int | None) -> None:
        tensor = self.graph.tensors[name]
        value = len(self.sizes)
        self.sizes.append((name, tensor.nbytes, tensor.dtype.itemsize, producer))
        self.parts[name] = (Piece(value, 0),)
        self.group_of[value] = {value: 0}

    def add_view(self, node: Node) -> bool:
        """Makes the node's output a view of its inputs when it can be one."""
        oper = operator(node.op.kind)
        if self._add_crop(node, oper.rectangle(node)):
            return True
        if any(node.tensor(k).name in self.inside for k in node.activations):
            return False
        source = oper.view(node)
        if source is not None:
            self.parts[node.out.name] = self.parts[node.tensor(source).name]
            return True
        offsets = oper.row_view_offsets(node)
        return offsets is not None and self._join(node, offsets)

    def _add_crop(self, node: Node, region: Region | None) -> bool:
        if region is None:
            return False
        x, pixel = node.tensor(0), node.out.form.channels * node.out.dtype.itemsize
        outer = self.inside.get(x.name, Inside(x.name, 0, 0))
        self.inside[node.out.name] = Inside(outer.tensor, outer.y0 + region.y0, outer.start + region.x0 * pixel)
        self.parts[node.out.name] = self.parts[x.name]
        return True

    def _join(self, node: Node, offsets: tuple[int, ...]) -> bool:
        """Lays the inputs of a concat side by side, together with all that they are already joined to; False when some
        value would have to be in two places or share bytes with another."""
        layout: dict[int, int] = {}
        pieces: list[Piece] = []
        for k, offset in enumerate(offsets):
            for piece in self.parts[node.tensor(k).name]:
                if self.sizes[piece.value][0] in self.apart:
                    return False
                at = offset + piece.offset
                pieces.append(Piece(piece.value, at))
                group = self.group_of[piece.value]
                for member, where in group.items():
                    target = where - group[piece.value] + at
                    if layout.setdefault(member, target) != target:
                        return False
        if len({p.value for p in pieces}) < len(pieces):
            return False
        ordered = sorted(layout, key=lambda v: layout[v])
        if any(layout[a] + self.sizes[a][1] > layout[b] for a, b in pairwise(ordered)):
            return False
        for member in layout:
            self.group_of[member] = layout
        self.parts[node.out.name] = tuple(pieces)
        return True

    def overlays(self, node: Node) -> tuple[Overlay, ...]:
        allowed = operator(node.op.kind).in_place(node)
        parts = {k: self.parts[node.tensor(k).name] for k in node.activations}
        result = []
        for k in allowed:
            x, y = node.tensor(k), node.out
            if k not in parts or x.name in self.inside or x.form.rows != y.form.rows or x.row_bytes < y.row_bytes:
                continue
            dying = frozenset(p.value for p in parts[k])
            readers = [j for j, p in parts.items() if any(q.value in dying for q in p)]
            if all(j in allowed and parts[j] == parts[k] for j in readers):
                result.append(Overlay(k, dying, parts[k][0].value))
        return tuple(result)


def analyse_storage(graph: Graph, apart: frozenset[str] = frozenset()) -> Storage:
    """The values of `graph` and the steps that make them.

    `apart`: network inputs that lie in memory of their own, so that no concat can be laid out around
    them. Raises UnsupportedError for an output or a view that does not depend on a network input.
    """
    builder = _Builder(graph, apart)
    for name in graph.inputs:
        builder.add_value(name, None)
    made: list[tuple[int, Node]] = []
    for k, node in enumerate(graph.nodes()):
        source = operator(node.op.kind).view(node)
        if source is not None and node.tensor(source).name not in builder.parts:
            _reject(node.out.name, f"{node.op.kind} of a constant")
        if not builder.add_view(node):
            builder.add_value(node.out.name, k)
            made.append((k, node))
    for name in graph.outputs:
        if name not in builder.parts:
            _reject(name, "a network output that is a constant")
    reads = {
        k: frozenset(p.value for i in node.activations for p in builder.parts[node.tensor(i).name]) for k, node in made
    }
    outputs = {p.value for name in graph.outputs for p in builder.parts[name]}
    consumers: list[set[int]] = [set() for _ in builder.sizes]
    for k, read in reads.items():
        for value in read:
            consumers[value].add(k)
    steps = tuple(
        StepInfo(
            k,
            reads[k],
            builder.parts[node.out.name][0].value,
            builder.overlays(node),
            operator(node.op.kind).scratch_bytes(node),
        )
        for k, node in made
    )
    values = tuple(
        Value(name, nbytes, align, producer, frozenset(consumers[v]), v in outputs)
        for v, (name, nbytes, align, producer) in enumerate(builder.sizes)
    )
    return Storage(values, builder.parts, builder.inside, _groups(builder), steps)


def _groups(builder: _Builder) -> tuple[tuple[Piece, ...], ...]:
    seen: set[int] = set()
    groups = []
    for value, layout in builder.group_of.items():
        if value not in seen:
            seen.update(layout)
            groups.append(tuple(Piece(v, layout[v]) for v in sorted(layout)))
    return tuple(groups)


def _reject(tensor: str, what: str) -> None:
    raise UnsupportedError(
        f"{what} is not supported", f"tensor '{one_line(tensor, 120)}'", "remove the constant branch from the model"
    )
