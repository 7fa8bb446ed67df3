"""fuse_bottlenecks: inverted bottlenecks (MobileNetV2) as one operator each, whose expanded maps are never held; with
the addition of the block's input where there is one.

A fused block expands the rows of its window again for every row, or for every few rows, or keeps expanded pixels, of
rather less than a window's rows, in scratch. Which is worth its bytes is for planning to say, block by block.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from tinycompile.errors import InternalError, one_line
from tinycompile.ir.graph import Graph, Node, Op, SourceLoc, Tensor
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.bottleneck_parts import (
    InvertedBottleneckAttrs,
    Parts,
    parts_unsupported,
    why_not_added,
    why_not_one,
)
from tinycompile.ops.construct import make_op
from tinycompile.ops.registry import operator


@dataclass(frozen=True)
class Bottleneck:
    """Three convolutions that can be one operator, with the addition of their input behind them if there is one.
    `name`: the tensor that the last one makes."""

    name: str
    expand: Op
    depthwise: Op
    project: Op
    add: Op | None

    @property
    def inside(self) -> tuple[str, ...]:
        """The tensors that are no more when it is one operator."""
        inner = (self.expand, self.depthwise) if self.add is None else (self.expand, self.depthwise, self.project)
        return tuple(op.outputs[0] for op in inner)


def bottlenecks(graph: Graph) -> tuple[Bottleneck, ...]:
    """The inverted bottlenecks of a graph in its order, no two with a convolution in common: any of them may be fused.

    Of two that share one (1x1 and depthwise convolutions in turn), the first is listed.
    """
    producers, consumers, taken = graph.producers(), graph.consumers(), set[str]()
    inner = {name for name, readers in consumers.items() if len(readers) == 1} - set(graph.outputs)
    found = []
    for project in graph.ops:
        depthwise = _made_inside(producers, inner, project, "conv2d")
        expand = _made_inside(producers, inner, depthwise, "depthwise_conv2d")
        if depthwise is None or expand is None or expand.kind != "conv2d" or expand.outputs[0] in taken:
            continue
        parts = graph.node(expand), graph.node(depthwise), graph.node(project)
        if all(_quantised(part) for part in parts) and why_not_one(parts) is None and parts_unsupported(parts) is None:
            taken.add(project.outputs[0])
            after = consumers[project.outputs[0]][0] if project.outputs[0] in inner else None
            add = after if after is not None and _adds(graph.node(after), parts) else None
            name = project.outputs[0] if add is None else add.outputs[0]
            found.append(Bottleneck(name, expand, depthwise, project, add))
    return tuple(found)


def fuse_bottlenecks(graph: Graph, recomputed: Mapping[str, int], kept: Collection[str] = ()) -> Graph:
    """A graph in which the bottlenecks of these names are one operator each, under the name of what they make: those
    that expand rows again, with how many rows they make in one step, and those that keep what they expand."""
    return FusedBottlenecks(graph).graph(recomputed, kept)


class FusedBottlenecks:
    """Graphs of one network with this or that bottleneck fused. What is fused alike in several is the same operator."""

    def __init__(self, graph: Graph) -> None:
        self.network = graph
        self.blocks = {block.name: block for block in bottlenecks(graph)}
        self._inside = {inner: name for name, block in self.blocks.items() for inner in block.inside}
        self._known: dict[tuple[str, int | None], tuple[Op, Tensor]] = {}

    def graph(self, recomputed: Mapping[str, int], kept: Collection[str] = ()) -> Graph:
        """`fuse_bottlenecks` of the network."""
        fused: dict[str, int | None] = {**recomputed, **dict.fromkeys(kept)}
        if len(fused) < len(recomputed) + len(set(kept)):
            raise InternalError("a bottleneck is to be fused in two ways", "fuse_bottlenecks", "report this bug")
        unknown = sorted(fused.keys() - self.blocks.keys())
        if unknown:
            raise InternalError(
                "no inverted bottleneck makes this tensor", f"'{one_line(unknown[0], 80)}'", "report this bug"
            )
        ops: list[Op] = []
        made: list[Tensor] = []
        for op in self.network.ops:
            name = op.outputs[0]
            if name in fused:
                one, out = self._fused(name, fused[name])
                ops.append(one)
                made.append(out)
            elif self._inside.get(name) not in fused:
                ops.append(op)
        return self.network.rebuild(ops, made)

    def _fused(self, name: str, rows: int | None) -> tuple[Op, Tensor]:
        if (name, rows) not in self._known:
            self._known[name, rows] = _fuse(self.network, self.blocks[name], rows)
        return self._known[name, rows]


def _fuse(graph: Graph, block: Bottleneck, rows: int | None) -> tuple[Op, Tensor]:
    """A bottleneck as one operator, and what it makes. `rows`: made in one step, None where what is expanded is
    kept."""
    parts: Parts = graph.node(block.expand), graph.node(block.depthwise), graph.node(block.project)
    expand, depthwise, project = parts
    assert expand.out.quant is not None
    assert depthwise.out.quant is not None
    attrs = InvertedBottleneckAttrs(
        expand.attrs, depthwise.attrs, project.attrs, expand.out.quant, depthwise.out.quant, kept=rows is None
    )
    if rows is not None:
        attrs = replace(attrs, rows=min(rows, project.out.form.rows))
    if block.add is not None:
        assert isinstance(block.add.attrs, AddAttrs)
        attrs = replace(attrs, residual=block.add.attrs, projected=project.out.quant)
    names = [expand.op.inputs[0], *(name for part in parts for name in _constants(part))]
    inputs = [graph.tensors[name] if name else None for name in names]
    return make_op("inverted_bottleneck", inputs, attrs, _source(block), graph.tensors[block.name])


def _adds(node: Node, parts: Parts) -> bool:
    """Whether a node adds the input of a block to what the three convolutions make (the only reader of that)."""
    x, made = parts[0].tensor(0), parts[2].out
    if node.op.kind != "add" or why_not_added(parts) is not None or operator("add").unsupported(node) is not None:
        return False
    # The operator knows the projected map as the first operand; sums may be turned round, differences not.
    operands = (made.name, x.name)
    ordered = node.op.inputs == operands or (node.op.inputs == operands[::-1] and not node.attrs.subtract)
    return ordered and made.name != x.name and _quantised(node)


def _constants(part: Node) -> tuple[str, str]:
    """Weights and bias of a convolution, "" where it has none."""
    return part.op.inputs[1], part.op.inputs[2] if len(part.op.inputs) > 2 else ""


def _source(block: Bottleneck) -> SourceLoc:
    """Where the operators came from: their kinds, and the names of the first and the last."""
    sources = [op.source for op in (block.expand, block.depthwise, block.project, block.add) if op is not None]
    return SourceLoc(" + ".join(s.kind for s in sources), f"{sources[0].node} .. {sources[-1].node}")


def _made_inside(producers: dict[str, Op], inner: set[str], op: Op | None, kind: str) -> Op | None:
    """What makes the map that `op`, of that kind, reads and nothing else does."""
    if op is None or op.kind != kind or op.inputs[0] not in inner:
        return None
    return producers.get(op.inputs[0])


def _quantised(part: Node) -> bool:
    """Whether input and output have one scale each."""
    return all(t.quant is not None and not t.quant.per_channel for t in (part.tensor(0), part.out))
