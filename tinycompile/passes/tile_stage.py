"""tile_stage: part of a network computed rectangle by rectangle of its last map (patch-based inference).

A stage is all operators between the maps that it begins with and the one that it ends with. It is made once per tile:
every operator is cut to what the tile needs of it (`Operator.in_region`), so that neighbouring tiles compute the
columns and rows on either side of their border twice. The tiles are then put together. Tiles that are whole columns
(one row of tiles) repeat columns only, since rows stream through each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tinycompile.ir.graph import Graph, Node, Op, SourceLoc, Tensor
from tinycompile.ir.types import Region
from tinycompile.ops.base import Need, whole
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.construct import make_op
from tinycompile.ops.crop import CropAttrs
from tinycompile.ops.registry import operator

ROWS, COLUMNS = 1, 2  # axes of an NHWC map


@dataclass(frozen=True)
class Stage:
    """The operators that lead from maps `begin` to map `end`, in `rows` x `columns` tiles of `end`."""

    begin: tuple[str, ...]
    end: str
    rows: int
    columns: int


@dataclass(frozen=True)
class TiledGraph:
    """`stops`: maps that are to be made whole before what is behind them begins, in this order: all tiles but the last,
    through which rows stream on. `regions`: what each new tensor is: a rectangle of a tensor of the graph before."""

    graph: Graph
    stops: tuple[str, ...]
    regions: Mapping[str, tuple[str, Region]]


def stage_ops(graph: Graph, begin: Sequence[str], end: str) -> tuple[Op, ...] | None:
    """The operators from `begin` to `end` in order; None when something else is needed to make `end`, or when what is
    between is needed elsewhere."""
    producers, consumers = graph.producers(), graph.consumers()
    wanted, found = [end], dict[str, Op]()
    while wanted:
        name = wanted.pop()
        if name in begin or name in found:
            continue
        op = producers.get(name)
        if op is None:
            return None
        found[name] = op
        wanted += [i for i in op.inputs if i and not graph.tensors[i].is_const]
    inner = {name for name in found if name != end}
    if any(name in graph.outputs or any(op.outputs[0] not in found for op in consumers[name]) for name in inner):
        return None
    return tuple(op for op in graph.ops if op.outputs[0] in found)


def grid(rows: int, width: int, tile_rows: int, tile_columns: int) -> tuple[Region, ...]:
    """`tile_rows` x `tile_columns` rectangles of a map, as even as they can be, row by row."""
    down = [rows * k // tile_rows for k in range(tile_rows + 1)]
    across = [width * k // tile_columns for k in range(tile_columns + 1)]
    return tuple(Region(y0, y1, x0, x1) for y0, y1 in pairwise(down) for x0, x1 in pairwise(across))


def tile_regions(graph: Graph, ops: Sequence[Op], end: str, tile: Region) -> dict[str, Region] | None:
    """What a tile needs of each tensor of the stage; None when an operator cannot be cut to it, or needs nothing of
    one."""
    needed = {end: tile}
    for op in reversed(ops):
        node, out = graph.node(op), needed[op.outputs[0]]
        if out != whole(node.out) and operator(op.kind).tile(node, operator(op.kind).in_region(node, out)) is None:
            return None
        for tensor, need in _needs(node, out):
            if not need.region.rows or not need.region.cols:
                return None  # the tile lies in the padding: there is no map that it is made from
            known = needed.get(tensor.name)
            needed[tensor.name] = need.region if known is None else known.around(need.region)
    return needed


def cut_node(graph: Graph, op: Op, out: Region) -> Node:
    """An operator cut to rectangle `out` of its output, from tensors that hold just what that needs. The operator must
    be one that can be cut."""
    node, oper = graph.node(op), operator(op.kind)
    needs = oper.in_region(node, out)
    attrs = oper.tile(node, needs)
    assert attrs is not None
    inputs = list(node.inputs)
    for k in node.activations:
        tensor, need = node.tensor(k), needs[k]
        assert need is not None
        inputs[k] = replace(tensor, shape=(1, need.region.rows, need.region.cols, tensor.form.channels))
    cut, tensor = make_op(op.kind, inputs, attrs, op.source, node.out)
    return Node(cut, tuple(inputs), (tensor,))


def tile_stage(graph: Graph, stage: Stage) -> TiledGraph | None:
    """`graph` with `stage` in tiles; None when it is no stage, cannot be cut, or has fewer rows or columns than
    tiles."""
    ops, form = stage_ops(graph, stage.begin, stage.end), graph.tensors[stage.end].form
    if not ops or not 1 <= stage.rows <= form.rows or not 1 <= stage.columns <= form.width:
        return None
    if stage.rows * stage.columns == 1 or len(graph.tensors[stage.end].shape) != 4:
        return None
    cutter = _Cutter(graph, ops)
    rows: list[str] = []
    stops: list[str] = []
    tiles = grid(form.rows, form.width, stage.rows, stage.columns)
    for k in range(0, len(tiles), stage.columns):
        ends = [cutter.tile(stage.end, n, tiles[n]) for n in range(k, k + stage.columns)]
        made = [e for e in ends if e is not None]
        if len(made) < len(ends):
            return None
        rows.append(cutter.join(made, COLUMNS, f"{stage.end}@row{k // stage.columns}"))
        stops += [*made[:-1], rows[-1]]
    cutter.finish(stage.end, rows)
    return cutter.result(tuple(stops[:-1]))


def _needs(node: Node, out: Region) -> list[tuple[Tensor, Need]]:
    """The activation inputs of a node that a rectangle of its output reads."""
    needs = operator(node.op.kind).in_region(node, out)
    return [(node.tensor(k), need) for k in node.activations if (need := needs[k]) is not None]


class _Cutter:
    """Collects the operators of the tiles, which take the place of the stage's own."""

    def __init__(self, graph: Graph, ops: tuple[Op, ...]) -> None:
        self.graph, self.stage = graph, ops
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.regions: dict[str, tuple[str, Region]] = {}

    def tile(self, end: str, number: int, tile: Region) -> str | None:
        """The stage cut to a tile; the name of the map that it makes."""
        needed = tile_regions(self.graph, self.stage, end, tile)
        if needed is None:
            return None
        made: dict[str, str] = {}
        for op in self.stage:
            node, out = self.graph.node(op), needed[op.outputs[0]]
            oper = operator(op.kind)
            needs = oper.in_region(node, out)
            attrs = oper.tile(node, needs) if out != whole(node.out) else op.attrs
            assert attrs is not None
            inputs: list[Tensor | None] = list(node.inputs)
            for k in node.activations:
                need = needs[k]
                if need is None:
                    return None
                source = node.tensor(k)
                if source.name in made:
                    inputs[k] = self._part(self.tensors[made[source.name]], needed[source.name], need.region)
                else:
                    inputs[k] = self._part(source, whole(source), need.region)
            name = f"{op.outputs[0]}@{number}"
            self._emit(op.kind, inputs, attrs, op.source, replace(node.out, name=name), op.outputs[0], out)
            made[op.outputs[0]] = name
        return made[end]

    def _part(self, tensor: Tensor, held: Region, wanted: Region) -> Tensor:
        """Rectangle `wanted` of the map of which `tensor` is rectangle `held`."""
        if wanted == held:
            return tensor
        y, x = held.y0, held.x0
        region = Region(wanted.y0 - y, wanted.y1 - y, wanted.x0 - x, wanted.x1 - x)
        name = f"{tensor.name}[{wanted.y0}:{wanted.y1},{wanted.x0}:{wanted.x1}]"
        if name not in self.tensors:
            of, _ = self.regions.get(tensor.name, (tensor.name, held))
            out = replace(tensor, name=name)
            self._emit("crop", [tensor], CropAttrs(region), SourceLoc("crop", of), out, of, wanted)
        return self.tensors[name]

    def _emit(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        attrs: object,
        source: SourceLoc,
        out: Tensor,
        of: str,
        region: Region,
    ) -> None:
        op, tensor = make_op(kind, inputs, attrs, source, out)  # type: ignore[arg-type]
        self.ops.append(op)
        self.tensors[tensor.name] = tensor
        self.regions[tensor.name] = of, region

    def join(self, parts: Sequence[str], axis: int, name: str) -> str:
        """The parts side by side; a single one as it is."""
        if len(parts) == 1:
            return parts[0]
        tensors = [self.tensors[p] for p in parts]
        (of, first), (_, last) = self.regions[parts[0]], self.regions[parts[-1]]
        out = replace(self.graph.tensors[of], name=name)
        self._emit("concat", tensors, ConcatAttrs(axis), SourceLoc("concat", of), out, of, first.around(last))
        return name

    def finish(self, end: str, rows: Sequence[str]) -> None:
        """Puts the rows of tiles together under the name of the stage's end."""
        if len(rows) > 1:
            self.join(rows, ROWS, end)
            return
        self.ops[-1] = replace(self.ops[-1], name=end, outputs=(end,))
        self.tensors[end] = replace(self.tensors.pop(rows[0]), name=end)
        self.regions[end] = self.regions.pop(rows[0])

    def result(self, stops: tuple[str, ...]) -> TiledGraph:
        stage = {op.outputs[0] for op in self.stage}
        first = next(k for k, op in enumerate(self.graph.ops) if op.outputs[0] in stage)
        before = [op for op in self.graph.ops if op.outputs[0] not in stage]
        # Every operator that the stage reads from must come before it, and all that read its end behind it.
        end = self.stage[-1].outputs[0]
        early, late = before[:first], before[first:]
        behind = _behind(late, end)
        ops = (*early, *(op for op in late if op not in behind), *self.ops, *behind)
        graph = self.graph.rebuild(ops, self.tensors.values())
        return TiledGraph(graph, stops, self.regions)


def _behind(ops: Sequence[Op], end: str) -> list[Op]:
    """The operators that need `end`, directly or not."""
    reached, found = {end}, []
    for op in ops:
        if reached & set(op.inputs):
            reached |= set(op.outputs)
            found.append(op)
    return found
