"""The row model: what every step of a row program reads, makes, frees and holds (docs/adr/0001-row-scheduler.md).

A *maker* makes the rows of one value in order: an operator, or a network input whose rows the caller pushes. Rows are
counted from 0 in the value's own row form; a view's rows are traced back to the values that hold their bytes. A *pop*
is a maker that makes nothing: each of its steps gives the caller a row of a streamed network output.

Invariants: `made[u]` grows with u; a value's rows beyond the last one that anybody reads are never made; a carrying
maker reads its own last row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinycompile.ir.graph import Graph, Node
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.types import Region
from tinycompile.ops.base import Grain, Need, Operator
from tinycompile.ops.registry import operator
from tinycompile.schedule.storage import Storage


@dataclass(frozen=True)
class RowValue:
    """Bytes with one writer, `rows` rows of `row_bytes` each; `rows` counts the rows that are ever made.

    `at_entry`: the rows are there before the first step (a resident or external network input). `counted`: they lie in
    the arena.
    """

    tensor: str
    rows: int
    row_bytes: int
    align: int
    maker: int | None
    is_output: bool
    at_entry: bool
    counted: bool


@dataclass(frozen=True)
class Reading:
    """What one maker reads of one value: before step u, `need[u]` rows must have been made; `dead[u]` is the number of
    leading rows that no step from u on reads (one entry more than steps)."""

    value: int
    need: tuple[int, ...]
    dead: tuple[int, ...]


@dataclass(frozen=True)
class InPlace:
    """Step u may write its j-th row over row `rows[u][j]` of `value` if that row is dead afterwards."""

    value: int
    rows: tuple[range, ...]


@dataclass(frozen=True)
class Maker:
    """`made[u]`: rows of `value` that exist after u steps. `op`: index in ``Graph.ops``, None for a pushed input or a
    pop. `pops`: the network output that a pop gives rows of; its `value` has no rows.

    `scratch_bytes` are held during each step, `kept_bytes` from the first step to the last. `spared_bytes`: of the rows
    that a step makes, what is not counted while it runs (only in models that bound others from below).
    """

    op: int | None
    value: int
    steps: int
    made: tuple[int, ...]
    reads: tuple[Reading, ...]
    in_place: tuple[InPlace, ...]
    scratch_bytes: int
    kept_bytes: int = 0
    spared_bytes: int = 0
    pops: str | None = None


@dataclass(frozen=True)
class RowModel:
    values: tuple[RowValue, ...]
    makers: tuple[Maker, ...]
    readers: tuple[tuple[tuple[int, int], ...], ...]
    """Per value: (maker, index in its `reads`) of each maker that reads it."""


def build_row_model(
    graph: Graph,
    storage: Storage,
    input_mode: InputMode,
    *,
    over_windows: bool = True,
    output_mode: OutputMode = OutputMode.RESIDENT,
) -> RowModel:
    """The row model of a graph whose inputs are resident, streamed or external. `over_windows`: operators that can
    (`Operator.over_window`) write their rows over the windows that these are made from."""
    return _Builder(graph, storage, input_mode, over_windows, output_mode).build()


class _Builder:
    def __init__(
        self, graph: Graph, storage: Storage, input_mode: InputMode, over_windows: bool, output_mode: OutputMode
    ) -> None:
        self.graph, self.storage, self.mode, self.over_windows = graph, storage, input_mode, over_windows
        self.pops = self._pops() if output_mode is OutputMode.STREAMED else []
        self.nodes = [graph.node(graph.ops[s.op]) for s in storage.steps]
        self.touched = [self._touched(node) for node in self.nodes]

    def build(self) -> RowModel:
        rows = self._rows_needed()
        makers: list[Maker] = []
        maker_of: dict[int, int] = {}
        for v, value in enumerate(self.storage.values):
            if value.producer is None and self.mode is InputMode.STREAMED and rows[v] > 0:
                maker_of[v] = len(makers)
                makers.append(Maker(None, v, rows[v], tuple(range(rows[v] + 1)), (), (), 0))
        self._add_pops(makers, maker_of)
        for k, step in enumerate(self.storage.steps):
            maker_of[step.out] = len(makers)
            makers.append(self._maker(k, rows))
            self._add_pops(makers, maker_of)
        values = []
        for v, value in enumerate(self.storage.values):
            tensor = self.graph.tensors[value.tensor]
            entry = value.producer is None and self.mode is not InputMode.STREAMED
            count = tensor.form.rows if entry else rows[v]
            counted = value.producer is not None or self.mode is not InputMode.EXTERNAL
            kept = value.is_output and not self.pops
            values.append(
                RowValue(value.tensor, count, tensor.row_bytes, value.align, maker_of.get(v), kept, entry, counted)
            )
        values += [RowValue("", 0, 0, 1, maker_of[pop.value], False, False, False) for pop in self.pops]
        readers: list[list[tuple[int, int]]] = [[] for _ in values]
        for m, maker in enumerate(makers):
            for r, reading in enumerate(maker.reads):
                readers[reading.value].append((m, r))
        return RowModel(tuple(values), tuple(makers), tuple(map(tuple, readers)))

    def _pops(self) -> list[Maker]:
        """A maker for each network output, in their order, that gives its rows to the caller."""
        result = []
        for k, name in enumerate(dict.fromkeys(self.graph.outputs)):
            form = self.graph.tensors[name].form
            spans: dict[int, list[tuple[int, int] | None]] = {}
            for y in range(form.rows):
                for value, lo, hi in rows_of_view(self.graph, self.storage, name, Region(y, y + 1, 0, form.width)):
                    spans.setdefault(value, [None] * form.rows)[y] = lo, hi
            held = {v: self.graph.tensors[self.storage.values[v].tensor].form.rows for v in spans}
            reads = tuple(_reading(v, found, held[v]) for v, found in sorted(spans.items()))
            value = len(self.storage.values) + k
            result.append(Maker(None, value, form.rows, (0,) * (form.rows + 1), reads, (), 0, pops=name))
        return result

    def _add_pops(self, makers: list[Maker], maker_of: dict[int, int]) -> None:
        """Adds the pops of outputs all of whose makers are there, so that they stand close behind these."""
        for pop in self.pops:
            at_entry = {v for v, value in enumerate(self.storage.values) if value.producer is None}
            known = {*maker_of, *(at_entry if self.mode is not InputMode.STREAMED else ())}
            if pop.value not in maker_of and all(r.value in known for r in pop.reads):
                maker_of[pop.value] = len(makers)
                makers.append(pop)

    def _touched(self, node: Node) -> list[dict[int, tuple[int, int]]]:
        """Per step: value -> the range of its rows that the step reads."""
        oper, form = operator(node.op.kind), node.out.form
        if oper.grain(node) is Grain.WHOLE:
            return [self._reads(node, oper.in_region(node, Region(0, form.rows, 0, form.width)))]
        return [self._reads(node, oper.step_region(node, y)) for y in range(0, form.rows, oper.step_rows(node))]

    def _reads(self, node: Node, needs: Sequence[Need | None]) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        for k, need in enumerate(needs):
            if need is None or need.region.y0 >= need.region.y1:
                continue
            for value, lo, hi in rows_of_view(self.graph, self.storage, node.tensor(k).name, need.region):
                known = found.get(value, (lo, hi))
                found[value] = (min(known[0], lo), max(known[1], hi))
        return found

    def _rows_needed(self) -> list[int]:
        """Rows of each value that are made at all: up to the last that is read, or all of a network output."""
        rows = [0] * len(self.storage.values)
        for v, value in enumerate(self.storage.values):
            if value.is_output:
                rows[v] = self.graph.tensors[value.tensor].form.rows
        for k in reversed(range(len(self.nodes))):
            out = self.storage.steps[k].out
            made = self._rows_after(k)
            steps = next(u for u, count in enumerate(made) if count >= max(rows[out], 1))
            rows[out] = made[steps]
            for touched in self.touched[k][:steps]:
                for read, (_, hi) in touched.items():
                    rows[read] = max(rows[read], hi)
        return rows

    def _rows_after(self, k: int) -> tuple[int, ...]:
        """Rows of its output that exist after each number of steps."""
        node = self.nodes[k]
        oper, rows = operator(node.op.kind), node.out.form.rows
        step = rows if oper.grain(node) is Grain.WHOLE else oper.step_rows(node)
        return (*range(0, rows, step), rows)

    def _maker(self, k: int, rows: list[int]) -> Maker:
        node, step = self.nodes[k], self.storage.steps[k]
        oper = operator(node.op.kind)
        made = tuple(count for count in self._rows_after(k) if count <= rows[step.out])
        steps = len(made) - 1
        by_value: dict[int, list[tuple[int, int] | None]] = defaultdict(lambda: [None] * steps)
        for u in range(steps):
            for value, span in self.touched[k][u].items():
                by_value[value][u] = span
        if oper.carries(node) and steps > 1:
            by_value[step.out] = [None, *((u - 1, u) for u in range(1, steps))]
        # All rows are dead behind the last step, also those of a resident input that nobody reads.
        ends = {v: self.graph.tensors[self.storage.values[v].tensor].form.rows for v in by_value}
        reads = tuple(_reading(value, spans, ends[value]) for value, spans in sorted(by_value.items()))
        scratch, kept = (0, step.scratch_bytes) if oper.keeps(node) else (step.scratch_bytes, 0)
        return Maker(step.op, step.out, steps, made, reads, self._in_place(k, steps, by_value), scratch, kept)

    def _in_place(self, k: int, steps: int, spans: Mapping[int, list[tuple[int, int] | None]]) -> tuple[InPlace, ...]:
        """Where each row may be written over one dying row: the row that it is made from, or the first of its window;
        of several made in one step, each over another. A whole-tensor step is left out, and so is an input whose row is
        not one whole row of a value."""
        node, out = self.nodes[k], self.storage.steps[k].out
        oper = operator(node.op.kind)
        result = []
        if oper.carries(node) and steps > 1:
            result.append(InPlace(out, (range(0), *(range(u, u + 1) for u in range(steps - 1)))))
        over_window = self.over_windows and bool(oper.over_window(node))
        allowed = (0,) if over_window else oper.in_place(node)
        for index in allowed if oper.grain(node) is not Grain.WHOLE else ():
            tensor = node.tensor(index)
            parts = self.storage.parts.get(tensor.name)
            if parts is None or tensor.name in self.storage.inside:
                continue
            others = [j for j in node.activations if j != index and j not in allowed]
            each = oper.step_rows(node)
            rows = [self._own_rows(node, oper, index, u * each, others, over_window) for u in range(steps)]
            for v in sorted({value for value, _ in rows if value >= 0}):
                result.append(InPlace(v, tuple(at if value == v else range(0) for value, at in rows)))
        return tuple(result)

    def _own_rows(
        self, node: Node, oper: Operator, index: int, y: int, others: list[int], over_window: bool
    ) -> tuple[int, range]:
        """A value, and the rows of it over which the step that makes row `y` first may write its rows: those of input
        `index` that these are made from, or the first ones of its window. None, of value -1, if they are not exactly
        rows of one value or are read otherwise too."""
        nothing = (-1, range(0))
        needs = oper.step_region(node, y)
        need = needs[index]
        if need is None or need.region.rows == 0 or (need.region.rows > 1 and not over_window):
            return nothing
        count = min(oper.step_rows(node), need.region.rows)
        first = Region(need.region.y0, need.region.y0 + count, need.region.x0, need.region.x1)
        spans = rows_of_view(self.graph, self.storage, node.tensor(index).name, first)
        if len(spans) != 1 or spans[0][2] - spans[0][1] != count:
            return nothing
        value, row, end = spans[0]
        held = self.graph.tensors[self.storage.values[value].tensor]
        tensor = node.tensor(index)
        begins = _row_start(self.storage, tensor.name, value, need.region.y0, tensor.row_bytes, held.row_bytes)
        if begins != 0 or tensor.row_bytes != held.row_bytes or node.out.row_bytes > held.row_bytes:
            return nothing
        if self.storage.values[value].align % node.out.dtype.itemsize:
            return nothing
        for j in others:
            other = needs[j]
            if other is not None and any(
                v == value and lo < end and row < hi
                for v, lo, hi in rows_of_view(self.graph, self.storage, node.tensor(j).name, other.region)
            ):
                return nothing
        return value, range(row, end)


def _reading(value: int, spans: list[tuple[int, int] | None], rows: int) -> Reading:
    need = tuple(0 if s is None else s[1] for s in spans)
    dead = [rows] * (len(spans) + 1)
    for u in reversed(range(len(spans))):
        span = spans[u]
        dead[u] = dead[u + 1] if span is None else min(dead[u + 1], span[0])
    return Reading(value, need, tuple(dead))


def _row_start(storage: Storage, tensor: str, value: int, y: int, row_bytes: int, held_bytes: int) -> int:
    """Byte within a row of `value` where row `y` of a view begins."""
    offset = next(p.offset for p in storage.parts[tensor] if p.value == value)
    return (y * row_bytes - offset) % held_bytes


def rows_of_view(graph: Graph, storage: Storage, tensor: str, region: Region) -> list[tuple[int, int, int]]:
    """(value, first row, end) of the values that hold rows ``region.y0 .. region.y1`` of a tensor, in order."""
    inside = storage.inside.get(tensor)
    if inside is not None:
        form = graph.tensors[inside.tensor].form
        return rows_of_view(
            graph, storage, inside.tensor, Region(region.y0 + inside.y0, region.y1 + inside.y0, 0, form.width)
        )
    row_bytes = graph.tensors[tensor].row_bytes
    low, high = region.y0 * row_bytes, region.y1 * row_bytes
    result = []
    for piece in storage.parts[tensor]:
        value = storage.values[piece.value]
        held = graph.tensors[value.tensor].row_bytes
        first, end = max(low - piece.offset, 0), min(high - piece.offset, value.nbytes)
        if first < end:
            result.append((piece.value, first // held, -(-end // held)))
    return result
