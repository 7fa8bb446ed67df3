"""What an operator costs that is cut to a rectangle of its output: what it reads, holds and computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tinycompile.ir.graph import Graph, Node, Op
from tinycompile.ir.types import Region
from tinycompile.ops.base import Need, whole
from tinycompile.ops.registry import operator
from tinycompile.passes.tile_stage import cut_node, tile_regions
from tinycompile.schedule.segments import Held


class OperatorCuts:
    """Operators cut to rectangles of their outputs. Variants of a network share most of its operators."""

    def __init__(self) -> None:
        self.ops: dict[int, Op] = {}  # keeps them, so that no other gets their identity
        self.known_needs: dict[tuple[int, Region], dict[str, Region] | None] = {}
        self.known_macs: dict[tuple[int, Region], int] = {}
        self.known_held: dict[tuple[int, Region], Held] = {}
        self.alike: dict[tuple[object, ...], int] = {}

    def needs(self, graph: Graph, op: Op, out: Region) -> dict[str, Region] | None:
        """The rectangles of its inputs, and `out` itself; None when the operator cannot be cut so."""
        key = id(self.ops.setdefault(id(op), op)), out
        if key not in self.known_needs:
            self.known_needs[key] = tile_regions(graph, (op,), op.outputs[0], out)
        return self.known_needs[key]

    def macs(self, graph: Graph, op: Op, out: Region) -> int:
        """MACs of an operator that makes rectangle `out` of its output."""
        key = id(self.ops.setdefault(id(op), op)), out
        if key not in self.known_macs:
            self.known_macs[key] = self._of_cut(graph, op, out, _macs)
        return self.known_macs[key]

    def held(self, graph: Graph, op: Op, out: Region) -> Held:
        """What a tile holds of the tensor that an operator makes, `out` of it."""
        key = id(self.ops.setdefault(id(op), op)), out
        if key not in self.known_held:
            self.known_held[key] = self._held(graph, op, out)
        return self.known_held[key]

    def _held(self, graph: Graph, op: Op, out: Region) -> Held:
        node, oper = graph.node(op), operator(op.kind)
        row_bytes = out.cols * node.out.form.channels * node.out.dtype.itemsize
        if out.rows * out.cols == 1:
            cut = node if out == whole(node.out) else cut_node(graph, op, out)
            if oper.row_view_offsets(cut) is not None:
                row_bytes = 0  # laid out as a view
        scratch = self._of_cut(graph, op, out, _scratch_bytes) if oper.scratch_bytes(node) else 0
        kept = scratch if oper.keeps(node) else 0
        over = bool(oper.over_window(node)) and node.out.row_bytes > node.tensor(0).row_bytes
        return Held(row_bytes, scratch - kept, kept, over)

    def _of_cut(self, graph: Graph, op: Op, out: Region, ask: Callable[[Node], int]) -> int:
        """What an operator says of itself when it is cut to a rectangle: the same wherever that lies."""
        node = graph.node(op)
        if out == whole(node.out):
            return ask(node)
        needs = operator(op.kind).in_region(node, out)
        shape = (None if n is None else replace(n, region=_at_origin(n)) for n in needs)
        key = (id(op), ask, out.rows, out.cols, *shape)
        if key not in self.alike:
            self.alike[key] = ask(cut_node(graph, op, out))
        return self.alike[key]


def macs_by_tensor(graph: Graph) -> dict[str, int]:
    """MACs by the tensor that they make."""
    return {node.out.name: _macs(node) for node in graph.nodes()}


def _macs(node: Node) -> int:
    return operator(node.op.kind).macs(node)


def _scratch_bytes(node: Node) -> int:
    return operator(node.op.kind).scratch_bytes(node)


def _at_origin(need: Need) -> Region:
    return Region(0, need.region.rows, 0, need.region.cols)
