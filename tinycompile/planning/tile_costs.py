"""What tiles of columns cost at least, whatever their number: the stages of `planning.model_bound`.

A column of the last map needs some columns of every map before it, and rows likewise (`Operator.in_region`). Two tiles
meet between columns c - 1 and c of the last map, for some c. What both of these columns need of a map between is made
by both tiles; each column and row that is needed at all is made at least once. So a stage in any number of tiles
executes at least the MACs of what the network outputs need, and once more those of the columns that both need, for the
c where these are least. Operators whose MACs are not those of a column times the columns count nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Graph, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import Need
from tinycompile.ops.registry import operator
from tinycompile.passes.fuse_bottlenecks import bottlenecks
from tinycompile.passes.tile_stage import cut_node

Numbers = NDArray[np.int64]
NONE = 1 << 40  # begin of a range that is empty


@dataclass(frozen=True)
class TiledStage:
    """Operators (their places in the graph, in order) that lead from a cut to a cut and may be made in tiles, and the
    least MACs that are then executed beyond those that the network outputs need. `begin`: None for network inputs."""

    begin: str | None
    ops: tuple[int, ...]
    more_macs: float


@dataclass(frozen=True)
class _Ranges:
    """Of each row, or column, of an output: the first that it needs of an input, and the end."""

    low: Numbers
    high: Numbers

    @property
    def pointwise(self) -> bool:
        own = np.arange(len(self.low))
        return bool((self.low == own).all() and (self.high == own + 1).all())


class TileCosts:
    """The stages of a graph that may be in tiles of columns, and its MACs."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = graph.nodes()
        self.position = {node.out.name: k for k, node in enumerate(self.nodes)}
        self._tables: dict[tuple[int, bool], dict[str, _Ranges]] = {}
        self.readers = graph.consumers()
        self.blocks = bottlenecks(graph)

    @cached_property
    def least_macs(self) -> tuple[float, ...]:
        """By operator: MACs of the pixels that the network outputs need of it, executed by every plan."""
        rows, columns = self._needed(True), self._needed(False)
        found = []
        fused = {op.outputs[0] for b in self.blocks for op in (b.expand, b.depthwise, b.project)}
        for k, node in enumerate(self.nodes):
            macs, name = float(operator(node.op.kind).macs(node)), node.out.name
            needed = int(rows[name].sum() * columns[name].sum())
            if name in fused:  # convolutions, of which a ring makes no other pixels
                macs *= needed / (node.out.form.rows * node.out.form.width)
            elif self.can_be_cut(k):
                macs = self._pixel_macs[k] * needed
            found.append(macs)
        return tuple(found)

    @cached_property
    def _pixel_macs(self) -> tuple[float, ...]:
        return tuple(map(self._macs_of_pixel, range(len(self.nodes))))

    @cached_property
    def _rows_made(self) -> tuple[int, ...]:
        rows = self._needed(True)
        return tuple(int(rows[node.out.name].sum()) for node in self.nodes)

    @cached_property
    def _cuttable(self) -> tuple[bool, ...]:
        return tuple(map(_cuttable, self.nodes))

    def can_be_cut(self, k: int) -> bool:
        """Whether some tile of columns of an operator's output can be made without the others."""
        return self._cuttable[k]

    def _macs_of_pixel(self, k: int) -> float:
        node = self.nodes[k]
        macs, form = operator(node.op.kind).macs(node), node.out.form
        column = Region(0, form.rows, form.width // 2, form.width // 2 + 1)
        if not macs or not self.can_be_cut(k) or _attrs(node, column) is None:
            return 0.0
        if any(
            not (r := need.region).rows or not r.cols for need in operator(node.op.kind).in_region(node, column) if need
        ):
            return 0.0
        cut = operator(node.op.kind).macs(cut_node(self.graph, node.op, column))
        return macs / (form.rows * form.width) if cut * form.width == macs else 0.0

    def ranges(self, k: int, rows: bool) -> dict[str, _Ranges]:
        """By tensor that operator `k` reads: what each of its rows, or columns, needs."""
        if (k, rows) not in self._tables:
            self._tables[k, rows] = _ranges(self.nodes[k], rows)
        return self._tables[k, rows]

    def pointwise(self, k: int, name: str) -> bool:
        """Whether each pixel of operator `k` needs just that pixel of a tensor."""
        return all(self.ranges(k, rows)[name].pointwise for rows in (True, False))

    def _needed(self, rows: bool) -> dict[str, NDArray[np.bool_]]:
        """Rows, or columns, of each tensor that the network outputs need."""
        made = (*self.graph.inputs, *(node.out.name for node in self.nodes))
        needed = {name: np.zeros(self._extent(name, rows), dtype=np.bool_) for name in made}
        for name in self.graph.outputs:
            needed[name][:] = True
        for k in reversed(range(len(self.nodes))):
            wanted = np.flatnonzero(needed[self.nodes[k].out.name])
            for name, ranges in self.ranges(k, rows).items():
                for low, high in zip(ranges.low[wanted], ranges.high[wanted], strict=True):
                    needed[name][low:high] = True
        return needed

    def _extent(self, name: str, rows: bool) -> int:
        form = self.graph.tensors[name].form
        return form.rows if rows else form.width

    def stages(self, cuts: Sequence[str], most_macs: float, from_inputs: bool) -> Iterator[TiledStage]:
        """Those between two of `cuts` (tensors), or from the network inputs to one, that need not cost more than
        `most_macs`."""
        places = sorted(self.position[name] for name in cuts if name in self.position)
        for end in places:
            if self.can_be_cut(end):
                yield from self._leading_to(end, places, most_macs, from_inputs)

    def _leading_to(self, end: int, cuts: Sequence[int], most_macs: float, from_inputs: bool) -> Iterator[TiledStage]:
        form = self.nodes[end].out.form
        columns = np.arange(form.width)
        low, high = {end: columns}, {end: columns + 1}
        both = np.zeros(form.width - 1)
        found: list[int] = []
        for k in range(end, -1, -1):
            if k != end and k in cuts:
                begin = self.nodes[k].out.name
                if found and float(both.min()) <= most_macs:
                    yield TiledStage(begin, tuple(reversed(found)), float(both.min()))
                elif found:
                    return  # it only grows
            if k not in low:
                continue
            found.append(k)
            first, last = low[k], high[k]
            shared = np.minimum(last[1:], last[:-1]) - np.maximum(first[1:], first[:-1])
            both = both + np.maximum(shared, 0) * (self._rows_made[k] * self._pixel_macs[k])
            for name, ranges in self.ranges(k, False).items():
                source = self.position.get(name)
                if source is None:
                    continue
                # Ranges of neighbours overlap or follow one another: the first column needs the first, the last the
                # end. A tile needs no less.
                nothing = first >= last
                lows = np.where(nothing, NONE, ranges.low[np.minimum(first, len(ranges.low) - 1)])
                highs = np.where(nothing, 0, ranges.high[np.maximum(last - 1, 0)])
                low[source] = np.minimum(low[source], lows) if source in low else lows
                high[source] = np.maximum(high[source], highs) if source in high else highs
        if from_inputs and found and float(both.min()) <= most_macs:
            yield TiledStage(None, tuple(reversed(found)), float(both.min()))


def _ranges(node: Node, rows: bool) -> dict[str, _Ranges]:
    form, oper = node.out.form, operator(node.op.kind)
    extent = form.rows if rows else form.width
    found: dict[str, _Ranges] = {}
    for y in range(extent):
        region = Region(y, y + 1, 0, form.width) if rows else Region(0, form.rows, y, y + 1)
        needs = oper.in_region(node, region)
        for k in node.activations:
            name = node.tensor(k).name
            if name not in found:
                found[name] = _Ranges(np.full(extent, NONE, dtype=np.int64), np.zeros(extent, dtype=np.int64))
            need = needs[k]
            if need is None or not need.region.rows or not need.region.cols:
                continue
            low, high = (need.region.y0, need.region.y1) if rows else (need.region.x0, need.region.x1)
            found[name].low[y] = min(found[name].low[y], low)
            found[name].high[y] = max(found[name].high[y], high)
    if rows and oper.carries(node):  # a row is made from the one before, and so from all that those need
        found = {n: _Ranges(np.minimum.accumulate(r.low), np.maximum.accumulate(r.high)) for n, r in found.items()}
    return found


def _cuttable(node: Node) -> bool:
    form = node.out.form
    if form.width == 1 or len(node.out.shape) != 4:
        return False
    halves = (
        r for x in range(1, form.width) for r in (Region(0, form.rows, 0, x), Region(0, form.rows, x, form.width))
    )
    return any(_attrs(node, half) is not None for half in halves)


def _attrs(node: Node, out: Region) -> object | None:
    oper = operator(node.op.kind)
    needs: tuple[Need | None, ...] = oper.in_region(node, out)
    return oper.tile(node, needs)
