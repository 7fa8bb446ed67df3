"""Rows as blocks: which rows are joined, and what leaving rows apart costs."""

from __future__ import annotations

import pytest
from random_networks import conv, depthwise
from schedule_graphs import GraphBuilder, random_graph

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode
from tinycompile.passes.fuse_bottlenecks import bottlenecks, fuse_bottlenecks
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.schedule.blocks import Rectangle
from tinycompile.schedule.interleave import exact_interleaving
from tinycompile.schedule.live_rows import LiveRows
from tinycompile.schedule.row_blocks import RowBlocks, build_row_blocks, lifetimes
from tinycompile.schedule.row_model import RowModel, build_row_model
from tinycompile.schedule.storage import analyse_storage


def blocks_of(
    graph: Graph, mode: InputMode, crowded: tuple[int, ...] | None = None
) -> tuple[RowModel, tuple[int, ...], RowBlocks]:
    storage = analyse_storage(graph)
    model = build_row_model(graph, storage, mode)
    found = exact_interleaving(model, 200_000)
    rows = build_row_blocks(graph, storage, model, found.sequence, crowded)
    if crowded is None:
        assert max(rows.live_bytes) >= found.peak_bytes
    return model, found.sequence, rows


def addition() -> Graph:
    """The sum may be written over either addend, row by row."""
    b = GraphBuilder()
    x = b.input((1, 6, 4, 8))
    return b.graph([b.conv(b.add(b.conv(x, 8, 1), x), 8, 1)])


def test_a_resident_input_is_one_block_of_adjacent_rows() -> None:
    model, _, rows = blocks_of(addition(), InputMode.RESIDENT)
    image = next(v for v, value in enumerate(model.values) if value.at_entry)
    block = next(cells for cells in rows.cells if (image, 0) in cells)
    row_bytes = model.values[image].row_bytes
    assert [block[image, r] - block[image, 0] for r in range(6)] == [r * row_bytes for r in range(6)]


def test_pushed_rows_lie_anywhere() -> None:
    model, _, rows = blocks_of(addition(), InputMode.STREAMED, ())
    image = next(v for v, value in enumerate(model.values) if value.tensor == "in0" or not model.makers[v].reads)
    assert all(sum(value == image for value, _ in cells) <= 1 for cells in rows.cells)


def test_rows_are_written_over_dying_rows_only_at_crowded_times() -> None:
    model, sequence, everywhere = blocks_of(addition(), InputMode.STREAMED)
    lives, overlays = lifetimes(LiveRows(model), sequence)
    assert overlays

    def shared(rows: RowBlocks) -> set[int]:
        group = {cell: k for k, cells in enumerate(rows.cells) for cell in cells}
        at = {cell: offset for cells in rows.cells for cell, offset in cells.items()}
        return {lives[new][0] for old, new in overlays if group[old] == group[new] and at[old] == at[new]}

    times = {lives[new][0] for _, new in overlays}
    assert shared(everywhere) == times
    *_, apart = blocks_of(addition(), InputMode.STREAMED, ())
    # Outputs are adjacent, so rows may lie in one block without sharing a place.
    assert shared(apart) == set()
    one = min(times)
    *_, some = blocks_of(addition(), InputMode.STREAMED, (one,))
    assert shared(some) == {one}
    for time, (less, more) in enumerate(zip(everywhere.live_bytes, apart.live_bytes, strict=True)):
        assert more - less == (32 if time in times else 0)


def test_a_carried_row_keeps_its_place() -> None:
    b = GraphBuilder()
    x = b.input((1, 8, 4, 8))
    graph = stream_reductions(b.graph([b.mean(b.conv(x, 8, 3))]))
    model, sequence, rows = blocks_of(graph, InputMode.STREAMED, ())
    _, overlays = lifetimes(LiveRows(model), sequence)
    carried = [(old, new) for old, new in overlays if old[0] == new[0]]
    assert carried
    for old, new in carried:
        cells = next(cells for cells in rows.cells if old in cells)
        assert cells[old] == cells[new]


def test_every_step_has_scratch_of_its_own() -> None:
    b = GraphBuilder()
    x = b.input((1, 6, 4, 2))
    y = conv(b, depthwise(b, conv(b, x, 8, (1, 1)), (3, 3), pad=(1, 1, 1, 1)), 2, (1, 1))
    graph = b.graph([b.relu(y)])
    graph = fuse_bottlenecks(graph, {block.name: 1 for block in bottlenecks(graph)})
    storage = analyse_storage(graph)
    model = build_row_model(graph, storage, InputMode.EXTERNAL)
    for sequence, times in (((0, 1) * 6, range(1, 12, 2)), ((0,) * 6 + (1,) * 6, range(1, 7))):
        rows = build_row_blocks(graph, storage, model, sequence)
        found = [(s, b) for s, b in zip(rows.scratch, rows.blocks, strict=True) if s is not None]
        assert [s for s, _ in found] == [(model.makers[0].op, y) for y in range(6)]
        assert [b.outline for _, b in found] == [(Rectangle(t, t, 0, 10 * 8),) for t in times]
        assert all(b.align == 4 for _, b in found)


@pytest.mark.parametrize("seed", range(12))
def test_live_bytes_are_those_of_the_cells(seed: int) -> None:
    """With no overlays but carried rows, and no scratch: each cell counts from its first to its last time."""
    graph = random_graph(seed, ops=5)
    model, sequence, rows = blocks_of(graph, InputMode.STREAMED, ())
    lives, overlays = lifetimes(LiveRows(model), sequence)
    shared = {lives[new][0]: model.values[old[0]].row_bytes for old, new in overlays if old[0] == new[0]}
    for time, live in enumerate(rows.live_bytes):
        cells = sum(model.values[v].row_bytes for (v, _), (first, last) in lives.items() if first <= time <= last)
        scratch = model.makers[sequence[time - 1]].scratch_bytes if time else 0
        assert live == cells + scratch - shared.get(time, 0)
