"""A row model that needs no more bytes than any plan of the network within a limit of MACs. Stages in tiles that repeat
MACs and bottlenecks that make several rows in a step are not in it: `planning.model_bound` leaves them out.

It is the row model of the network with every inverted bottleneck as one operator that keeps a ring, in which some bytes
are left out. Each plan's order of steps stands for an order of this model, with as many live bytes or more at every
step. Why (a row of the model is in brackets):

*Bottlenecks.* Let step z of a bottleneck happen where the plan filters row z of it (depthwise). Rows [x] of its input
that the ring does not hold yet are there in the plan, or expanded to at least as many bytes (else the bottleneck is
`open`: no bound goes across it). The ring counts `kept_bytes`: the least of the ring itself; of the expanded rows that
two windows next to one another have in common, for a bottleneck that is not fused; nothing, where the limit allows to
expand rows again. While a step runs, `scratch_bytes` more are there: the least of what the ring, the expanded rows
under the window, or the scratch of expanding again need beyond `kept_bytes` and [x]. Row [z] of the output counts from
then on, as the lesser of the filtered row and the projected one: the plan holds one of these.

*Tiles that repeat nothing.* A stage whose first operator reads a cut and whose others are pointwise, one behind the
other, may be in tiles at no cost. A step of the model happens where the last tile makes its part of the row. Rows of
the cut, and of the stage's end, are whole in the plan: the model is exact. Between them each tile holds its part of
[row y] or of one behind it in the stage, until the end's row is put together: so the row counts as the least of these.
While the last tile runs its first operator the other tiles' parts are there beside what it reads: all but half of the
row. Later operators of the stage add nothing for sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ops.registry import operator
from tinycompile.passes.fuse_bottlenecks import Bottleneck, fuse_bottlenecks
from tinycompile.planning.choices import ROWS
from tinycompile.planning.tile_costs import TileCosts, TiledStage
from tinycompile.schedule.row_model import Maker, RowModel, build_row_model
from tinycompile.schedule.storage import analyse_storage


@dataclass(frozen=True)
class RelaxedModel:
    """`made_from`: by maker, the operators of the network (their places) that it stands for. `open`: makers that no
    bound goes across. `exact`: nothing was left out: it is the row model of the network."""

    model: RowModel
    made_from: tuple[frozenset[int], ...]
    open: frozenset[int]
    exact: bool


class Relaxer:
    """Relaxed models of one graph, for any limit."""

    def __init__(self, graph: Graph, costs: TileCosts, input_mode: InputMode, output_mode: OutputMode) -> None:
        self.graph, self.costs = graph, costs
        self.blocks = {block.name: block for block in costs.blocks}
        self.fused = fuse_bottlenecks(graph, {}, tuple(self.blocks))
        apart = frozenset() if input_mode is InputMode.RESIDENT else frozenset(graph.inputs)
        storage = analyse_storage(self.fused, apart)
        self.model = build_row_model(self.fused, storage, input_mode, output_mode=output_mode)
        self.maker = {self._name(m): k for k, m in enumerate(self.model.makers) if m.op is not None}
        self.again = self._again()

    def _name(self, maker: Maker) -> str:
        assert maker.op is not None
        return self.fused.ops[maker.op].outputs[0]

    def _again(self) -> Mapping[str, tuple[tuple[int, int, int], ...]]:
        """By bottleneck: rows in a step, MACs and scratch of each way to expand rows again."""
        found: dict[str, list[tuple[int, int, int]]] = {name: [] for name in self.blocks}
        height = {name: self.graph.tensors[name].form.rows for name in self.blocks}
        for rows in dict.fromkeys((1, *ROWS, max(height.values(), default=1))):
            graph = fuse_bottlenecks(self.graph, {name: min(rows, height[name]) for name in self.blocks})
            for node in graph.nodes():
                if node.out.name in self.blocks:
                    oper = operator(node.op.kind)
                    found[node.out.name].append(
                        (min(rows, height[node.out.name]), oper.macs(node), oper.scratch_bytes(node))
                    )
        return {name: tuple(dict.fromkeys(ways)) for name, ways in found.items()}

    def places(self, block: Bottleneck) -> frozenset[int]:
        """The operators of a bottleneck."""
        parts = (block.expand, block.depthwise, block.project, block.add)
        return frozenset(self.costs.position[op.outputs[0]] for op in parts if op is not None)

    def free_tiles(self, stage: TiledStage) -> bool:
        """Whether the model stands for a stage in tiles too: pointwise operators in a row behind the first."""
        inner = {self.costs.nodes[k].out.name for k in stage.ops[:-1]}
        if any(
            {self.costs.position[op.outputs[0]] for op in (b.expand, b.depthwise)} <= set(stage.ops)
            for b in self.blocks.values()
        ):
            return False  # expanded rows are not whole there
        for before, k in zip((None, *stage.ops[:-1]), stage.ops, strict=True):
            node = self.costs.nodes[k]
            read = {node.tensor(i).name for i in node.activations} & inner
            made = set() if before is None else {self.costs.nodes[before].out.name}
            if read != made or any(len(self.costs.readers[name]) > 1 or name in self.graph.outputs for name in made):
                return False
            if not all(self.costs.pointwise(k, name) for name in made):
                return False
        return stage.more_macs == 0

    def relaxed(self, more_macs: float, free: Sequence[TiledStage]) -> RelaxedModel:
        """The model where `more_macs` may be executed beyond what the network outputs need. `free`: the stages that
        may be in tiles at no cost."""
        makers, values = list(self.model.makers), list(self.model.values)
        is_open: set[int] = set()
        for name, block in self.blocks.items():
            ring = self._ring(block, more_macs)
            m = self.maker[name]
            if ring is None:
                is_open.add(m)
                continue
            makers[m] = ring
            filtered = self.graph.tensors[block.depthwise.outputs[0]].row_bytes
            values[ring.value] = replace(values[ring.value], row_bytes=min(values[ring.value].row_bytes, filtered))
        adds, held = dict[int, int](), dict[int, int]()
        for stage in free:
            self._in_tiles(stage, adds, held)
        for m, row_bytes in held.items():
            v = makers[m].value
            values[v] = replace(values[v], row_bytes=min(values[v].row_bytes, row_bytes))
        for m, added in adds.items():
            maker = makers[m]
            made = max(b - a for a, b in pairwise(maker.made)) * values[maker.value].row_bytes
            if self._name(maker) in self.blocks:
                makers[m] = replace(maker, spared_bytes=max(maker.spared_bytes, made))
            else:
                makers[m] = replace(maker, spared_bytes=max(made - added, 0), scratch_bytes=0, kept_bytes=0)
        made_from = tuple(self._made_from(m) for m in self.model.makers)
        model = replace(self.model, makers=tuple(makers), values=tuple(values))
        return RelaxedModel(model, made_from, frozenset(is_open), model == self.model and not self.blocks)

    def _made_from(self, maker: Maker) -> frozenset[int]:
        if maker.op is None:
            return frozenset()
        name = self._name(maker)
        return self.places(self.blocks[name]) if name in self.blocks else frozenset((self.costs.position[name],))

    def _in_tiles(self, stage: TiledStage, adds: dict[int, int], held: dict[int, int]) -> None:
        """By maker, the bytes that a step adds at least (`adds`), and those that a row counts from then on (`held`)."""
        names = [self.costs.nodes[k].out.name for k in stage.ops]
        pixel = [self._pixel_bytes(name) for name in names]
        width = self.graph.tensors[names[0]].form.width
        for i, name in enumerate(names):
            m = self.maker.get(name)
            if m is not None:
                least = min(pixel[i:])
                adds[m] = min(adds.get(m, pixel[i] * width), 0 if i else width // 2 * least)
                if i + 1 < len(names):
                    held[m] = min(held.get(m, pixel[i] * width), least * width)

    def steps_of_several(self, name: str) -> Iterator[tuple[float, int]]:
        """Of a bottleneck that expands rows again for several of its rows at a time: MACs beyond what the network
        outputs need, and bytes that a step holds at least: what it reads of the input, and scratch."""
        block, maker = self.blocks[name], self.model.makers[self.maker[name]]
        window = self.costs.ranges(self.costs.position[block.depthwise.outputs[0]], True)[block.expand.outputs[0]]
        x = self.graph.tensors[block.expand.inputs[0]]
        counted = all(self.model.values[r.value].counted for r in maker.reads)
        least = sum(self.costs.least_macs[k] for k in self.places(block))
        for rows, macs, scratch in self.again[name]:
            if rows > 1:
                steps = range(0, maker.made[-1], rows)
                read = max(int(max(window.high[z : z + rows]) - min(window.low[z : z + rows])) for z in steps)
                yield max(macs - least, 0.0), scratch + (max(read, 0) * x.row_bytes if counted else 0)

    def _pixel_bytes(self, name: str) -> int:
        tensor = self.graph.tensors[name]
        return tensor.form.channels * tensor.dtype.itemsize

    def _ring(self, block: Bottleneck, more_macs: float) -> Maker | None:
        """The maker of a bottleneck, with the least that any way to compute it holds; None where it is open."""
        maker, graph, costs = self.model.makers[self.maker[block.name]], self.graph, self.costs
        x = block.expand.inputs[0]
        if (
            len(maker.reads) != 1
            or self.model.values[maker.reads[0].value].tensor != x
            or maker.made[-1] != maker.steps
        ):
            return None
        value = self.model.values[maker.reads[0].value]
        x_bytes = value.row_bytes if value.counted else 0
        expanded, made = (graph.tensors[n].row_bytes for n in (block.expand.outputs[0], block.name))
        if expanded < x_bytes:
            return None
        window = costs.ranges(costs.position[block.depthwise.outputs[0]], True)[block.expand.outputs[0]]
        reading, steps = maker.reads[0], range(maker.steps)
        low, high = [int(v) for v in window.low[: maker.steps]], [int(v) for v in window.high[: maker.steps]]
        if any(a >= b for a, b in zip(low, high, strict=True)):
            return None  # a row made of padding alone
        if block.add is None and any(reading.dead[z + 1] < min(high[z], value.rows) for z in steps):
            return None
        kept = maker.kept_bytes
        common = min((max(high[z] - low[z + 1], 0) for z in steps[:-1]), default=0) * expanded
        least = sum(costs.least_macs[k] for k in self.places(block))
        window_bytes = [
            (b - a) * expanded - max(b - dead, 0) * x_bytes for a, b, dead in zip(low, high, reading.dead, strict=False)
        ]
        beside = [scratch for rows, macs, scratch in self.again[block.name] if rows == 1 and macs - least <= more_macs]
        held = 0 if beside else max(min(kept, common, *window_bytes[1:]), 0)
        beside += [kept - held, *window_bytes[:1], *(n - held for n in window_bytes[1:])]
        if min(beside) < 0:
            return None
        return replace(maker, kept_bytes=held, scratch_bytes=min(beside), spared_bytes=made + held)
