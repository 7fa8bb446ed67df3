"""Cells of an order of row steps as blocks to pack: one row of a value each, joined where rows must be adjacent.

Time 0 is the entry, step k of the order runs at time k + 1. A cell lives from the step that makes it to the last step
that reads it. Cells are joined at fixed distances where one row of a view covers several, where a kernel reaches rows
from one pointer, and where a step writes its row over a dying one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import accumulate

from tinycompile.errors import InternalError
from tinycompile.ir.graph import Graph
from tinycompile.ops.base import SCRATCH_ALIGN, Grain
from tinycompile.ops.registry import operator
from tinycompile.schedule.blocks import Block, Rectangle
from tinycompile.schedule.live_rows import LiveRows, advanced
from tinycompile.schedule.row_model import RowModel
from tinycompile.schedule.storage import Storage

Cell = tuple[int, int]  # value, row


@dataclass(frozen=True)
class RowBlocks:
    """`cells[k]`: the cells of block k with their byte offsets from its base, none where the block is scratch:
    `scratch[k]` is then its operator and the first row that is made with it, which is the only one with a block where
    scratch is kept. `live_bytes[t]` counts bytes in use at time t."""

    blocks: tuple[Block, ...]
    cells: tuple[dict[Cell, int], ...]
    scratch: tuple[tuple[int, int] | None, ...]
    live_bytes: tuple[int, ...]


class _Groups:
    """Cells at fixed distances: union-find with offsets."""

    def __init__(self) -> None:
        self.group: dict[Cell, dict[Cell, int]] = {}

    def of(self, cell: Cell) -> dict[Cell, int]:
        return self.group.setdefault(cell, {cell: 0})

    def shift(self, a: Cell, b: Cell, distance: int) -> int | None:
        """What to add to the offsets of `b`'s group to put `b` at `distance` behind `a`; None if they are joined."""
        first, second = self.of(a), self.of(b)
        return None if first is second else first[a] + distance - second[b]

    def join(self, a: Cell, b: Cell, distance: int) -> bool:
        """Puts `b` at `distance` bytes behind `a`; False when they already lie at another distance."""
        first, second, shift = self.of(a), self.of(b), self.shift(a, b, distance)
        if shift is None:
            return first[b] - first[a] == distance
        for cell, offset in second.items():
            first[cell] = offset + shift
            self.group[cell] = first
        return True


def lifetimes(rows: LiveRows, sequence: tuple[int, ...]) -> tuple[dict[Cell, list[int]], list[tuple[Cell, Cell]]]:
    """First and last time of each cell, and the (dying row, row written over it) pairs in the order of the steps."""
    model = rows.model
    state = rows.start
    lives: dict[Cell, list[int]] = {}
    for v, value in enumerate(model.values):
        if value.at_entry and value.counted:
            lives.update({(v, r): [0, 0] for r in range(value.rows)})
    overlays: list[tuple[Cell, Cell]] = []
    for time, m in enumerate(sequence, 1):
        maker, u = model.makers[m], state[m]
        after = advanced(state, m)
        over = rows.in_place(m, state, after)
        for row in range(maker.made[u], maker.made[u + 1]):
            lives[maker.value, row] = [time, time]
            if row in over:
                overlays.append((over[row], (maker.value, row)))
        for v in rows.touches[m]:
            if model.values[v].counted:
                # Rows that a stride jumps over count until it has, as they do in the search.
                for row in range(rows.dead_rows(v, state), rows.dead_rows(v, after)):
                    if (v, row) in lives:
                        lives[v, row][1] = time
        state = after
    end = len(sequence)
    for v, value in enumerate(model.values):
        if value.is_output and value.counted:
            for row in range(value.rows):
                lives[v, row][1] = end
    return lives, overlays


def build_row_blocks(
    graph: Graph,
    storage: Storage,
    model: RowModel,
    sequence: tuple[int, ...],
    crowded: Collection[int] | None = None,
) -> RowBlocks:
    """The blocks of an order. A row is written over a dying one wherever the bytes of both groups allow it.

    `crowded`: the only times at which that is done (default all); leaving it out costs live bytes at that time and
    joins fewer rows. Rows that are carried on always share one place.
    """
    rows = LiveRows(model)
    lives, overlays = lifetimes(rows, sequence)
    groups = _Groups()
    for cell in lives:
        groups.of(cell)
    for name in _adjacent(graph, storage, model):
        _join_rows(graph, storage, groups, lives, name)
    for old, new in overlays:
        if crowded is not None and lives[new][0] not in crowded and old[0] != new[0]:
            continue
        shift = groups.shift(old, new, 0)
        if shift is not None and _apart(model, lives, groups.of(old), groups.of(new), shift, (old, new)):
            groups.join(old, new, 0)
    blocks, cells = [], []
    least = {id(members): min(members) for members in {id(g): g for g in groups.group.values()}.values()}
    for cell, members in groups.group.items():
        if cell == least[id(members)]:
            block, offsets = _block(model, lives, members)
            blocks.append(block)
            cells.append(offsets)
    scratch: list[tuple[int, int] | None] = [None] * len(blocks)
    for op, row, rectangle in _scratch(model, sequence):
        blocks.append(Block({}, (rectangle,), SCRATCH_ALIGN, op))
        cells.append({})
        scratch.append((op, row))
    return RowBlocks(tuple(blocks), tuple(cells), tuple(scratch), _live_bytes(blocks, len(sequence) + 1))


def _scratch(model: RowModel, sequence: tuple[int, ...]) -> Iterator[tuple[int, int, Rectangle]]:
    """Operator, first row and rectangle of all scratch: for one step, or from the first step to the last."""
    times: dict[int, list[int]] = defaultdict(list)
    for time, m in enumerate(sequence, 1):
        maker, u = model.makers[m], len(times[m])
        times[m].append(time)
        if maker.op is not None and maker.scratch_bytes:
            yield maker.op, maker.made[u], Rectangle(time, time, 0, maker.scratch_bytes)
    for m, maker in enumerate(model.makers):
        if maker.op is not None and maker.kept_bytes and times[m]:
            yield maker.op, 0, Rectangle(times[m][0], times[m][-1], 0, maker.kept_bytes)


def _adjacent(graph: Graph, storage: Storage, model: RowModel) -> list[str]:
    """Tensors whose rows must be adjacent: some kernel reaches them from one pointer, the caller fills or reads them as
    one array, or a row of a view covers several of its rows."""
    whole = [n for n in graph.outputs if any(model.values[p.value].is_output for p in storage.parts[n])]
    names: dict[str, None] = dict.fromkeys((*(v.tensor for v in model.values if v.at_entry), *whole))
    for step in storage.steps:
        node = graph.node(graph.ops[step.op])
        oper = operator(node.op.kind)
        if oper.grain(node) is Grain.WHOLE:
            names.update(dict.fromkeys((*(node.tensor(k).name for k in node.activations), node.out.name)))
    for name, parts in storage.parts.items():
        if name in storage.inside:
            continue
        row_bytes = graph.tensors[name].row_bytes
        held = [graph.tensors[storage.values[p.value].tensor].row_bytes for p in parts]
        if any(p.offset % row_bytes or row_bytes % h for p, h in zip(parts, held, strict=True)) or any(
            row_bytes > h for h in held
        ):
            names[name] = None
    return list(dict.fromkeys(storage.inside[n].tensor if n in storage.inside else n for n in names))


def _join_rows(graph: Graph, storage: Storage, groups: _Groups, lives: dict[Cell, list[int]], name: str) -> None:
    """Puts all made rows of a tensor behind one another."""
    first: tuple[Cell, int] | None = None
    for piece in storage.parts[name]:
        tensor = graph.tensors[storage.values[piece.value].tensor]
        row_bytes = tensor.row_bytes
        for row in range(tensor.form.rows):
            cell, offset = (piece.value, row), piece.offset + row * row_bytes
            if cell not in lives:
                continue
            if first is None:
                first = cell, offset
            elif not groups.join(first[0], cell, offset - first[1]):
                raise InternalError("rows would have to lie in two places", f"tensor '{name}'", "report this bug")


def _apart(
    model: RowModel,
    lives: dict[Cell, list[int]],
    inner: dict[Cell, int],
    outer: dict[Cell, int],
    shift: int,
    pair: tuple[Cell, Cell],
) -> bool:
    """Whether no two cells of the groups would hold the same bytes at the same time, the overlaid pair excepted."""
    for a, low_a in outer.items():
        start, end = low_a + shift, low_a + shift + model.values[a[0]].row_bytes
        if start % model.values[a[0]].align:
            return False
        for b, low_b in inner.items():
            overlap = start < low_b + model.values[b[0]].row_bytes and low_b < end
            if overlap and lives[a][0] <= lives[b][1] and lives[b][0] <= lives[a][1] and (b, a) != pair:
                return False
    return True


def _block(model: RowModel, lives: dict[Cell, list[int]], members: dict[Cell, int]) -> tuple[Block, dict[Cell, int]]:
    align = max(model.values[v].align for v, _ in members)
    widest = max(members, key=lambda c: (model.values[c[0]].align, -c[0], -c[1]))
    least = min(members.values())
    origin = least - (least - members[widest]) % align
    offsets = {cell: members[cell] - origin for cell in sorted(members)}
    return Block({}, _outline(model, lives, offsets), align), offsets


def _outline(model: RowModel, lives: dict[Cell, list[int]], offsets: dict[Cell, int]) -> tuple[Rectangle, ...]:
    """Disjoint rectangles over the cells: per stretch of time, the union of their byte ranges."""
    if len(offsets) == 1:
        ((cell, low),) = offsets.items()
        first, last = lives[cell]
        return (Rectangle(first, last, low, low + model.values[cell[0]].row_bytes),)
    cuts = sorted({lives[c][0] for c in offsets} | {lives[c][1] + 1 for c in offsets})
    open_since: dict[tuple[int, int], int] = {}
    result = []
    for first in cuts:
        ranges: list[tuple[int, int]] = []
        for low, high in sorted(
            (low, low + model.values[c[0]].row_bytes)
            for c, low in offsets.items()
            if lives[c][0] <= first <= lives[c][1]
        ):
            if ranges and low <= ranges[-1][1]:
                ranges[-1] = ranges[-1][0], max(ranges[-1][1], high)
            else:
                ranges.append((low, high))
        for closed in [r for r in open_since if r not in ranges]:
            result.append(Rectangle(open_since.pop(closed), first - 1, *closed))
        for opened in ranges:
            open_since.setdefault(opened, first)
    return tuple(sorted(result, key=lambda r: (r.first, r.low)))


def _live_bytes(blocks: list[Block], times: int) -> tuple[int, ...]:
    change = [0] * (times + 1)
    for block in blocks:
        for r in block.outline:
            change[r.first] += r.high - r.low
            change[r.last + 1] -= r.high - r.low
    return tuple(accumulate(change[:times]))
