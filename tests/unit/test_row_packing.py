"""Packing of row programs: what must never overlap, what must be adjacent, and which bounds are met."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from schedule_graphs import GraphBuilder, inverted_bottleneck, random_graph, resnet8

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.pipeline import ImportOptions, import_model
from tinycompile.schedule.allocate import Packing, fit
from tinycompile.schedule.blocks import Block, Rectangle
from tinycompile.schedule.ejection import conflicts, eject
from tinycompile.schedule.interleave import exact_interleaving
from tinycompile.schedule.live_rows import LiveRows, advanced
from tinycompile.schedule.packing_shape import packing_shapes
from tinycompile.schedule.reorder import reordered
from tinycompile.schedule.row_blocks import RowBlocks, lifetimes
from tinycompile.schedule.row_model import RowModel, build_row_model
from tinycompile.schedule.row_packing import pack_orders
from tinycompile.schedule.stages import search_order
from tinycompile.schedule.storage import Storage, analyse_storage

MODELS = Path(__file__).parents[2].parent / "shared" / "models"


def order_of(graph: Graph, mode: InputMode) -> tuple[Storage, RowModel, tuple[int, ...]]:
    storage = analyse_storage(graph)
    model = build_row_model(graph, storage, mode)
    return storage, model, exact_interleaving(model, 200_000).sequence


def faults(model: RowModel, sequence: tuple[int, ...], rows: RowBlocks, packing: Packing) -> list[str]:
    """Bytes with two owners, step by step, from the cells alone. Only a row that is written over a dying one shares."""
    lives, overlays = lifetimes(LiveRows(model), sequence)
    at = {c: base + low for cells, base in zip(rows.cells, packing.bases, strict=True) for c, low in cells.items()}
    found = [f"{cell} has no place" for cell in lives if cell not in at]
    over = set(overlays)
    for time in range(len(sequence) + 1):
        alive = [c for c, (first, last) in lives.items() if first <= time <= last]
        used = [(at[c], at[c] + model.values[c[0]].row_bytes, c) for c in alive]
        for k, block in enumerate(rows.blocks):
            if not rows.cells[k] and block.outline[0].first == time:
                used.append((packing.bases[k], packing.bases[k] + block.size, (-1, k)))
        for a, b in combinations(used, 2):
            same_place = a[0] == b[0] and ((a[2], b[2]) in over or (b[2], a[2]) in over)
            if a[0] < b[1] and b[0] < a[1] and not same_place:
                found.append(f"time {time}: {a} and {b}")
        if any(low < 0 or high > packing.arena_bytes for low, high, _ in used):
            found.append(f"time {time}: outside the arena")
    found += [f"{c} is not aligned" for c in lives if at[c] % model.values[c[0]].align]
    return found


@pytest.mark.parametrize("mode", [InputMode.RESIDENT, InputMode.STREAMED, InputMode.EXTERNAL])
@pytest.mark.parametrize("seed", range(15))
def test_rows_alive_together_share_no_bytes(seed: int, mode: InputMode) -> None:
    graph = stream_reductions(random_graph(seed, ops=5))
    storage, model, given = order_of(graph, mode)
    sequence, rows, packing = pack_orders(graph, storage, model, [given])
    assert faults(model, sequence, rows, packing) == []
    assert packing.arena_bytes >= max(rows.live_bytes)
    assert packing.arena_bytes >= max(b + block.size for b, block in zip(packing.bases, rows.blocks, strict=True))
    assert (sequence, rows, packing) == pack_orders(graph, storage, model, [given])


def test_the_overlap_check_finds_an_overlap() -> None:
    graph = inverted_bottleneck()
    storage, model, sequence = order_of(graph, InputMode.STREAMED)
    sequence, rows, packing = pack_orders(graph, storage, model, [sequence])
    at_zero = Packing((0,) * len(packing.bases), packing.arena_bytes, "all at 0")
    assert faults(model, sequence, rows, packing) == []
    assert faults(model, sequence, rows, at_zero) != []


def test_network_outputs_and_resident_inputs_are_adjacent() -> None:
    b = GraphBuilder()
    x = b.input((1, 9, 4, 8))
    graph = b.graph([b.conv(b.conv(x, 4, 3), 8, 3)])
    storage, model, sequence = order_of(graph, InputMode.RESIDENT)
    sequence, rows, packing = pack_orders(graph, storage, model, [sequence])
    at = {c: base + low for cells, base in zip(rows.cells, packing.bases, strict=True) for c, low in cells.items()}
    for v, value in enumerate(model.values):
        if value.at_entry or value.is_output:
            assert [at[v, r] - at[v, 0] for r in range(value.rows)] == [r * value.row_bytes for r in range(value.rows)]


def cut_at_random(seed: int) -> list[Block]:
    """A rectangle of 64 bytes and 40 times in about 60 pieces: 64 bytes are just enough."""
    generator = np.random.default_rng(seed)
    pieces = [(0, 40, 0, 64)]
    while len(pieces) < 60:
        t0, t1, low, high = pieces.pop(int(generator.integers(len(pieces))))
        if t1 - t0 > 1 and (high - low < 8 or generator.random() < 0.6):
            cut = int(generator.integers(t0 + 1, t1))
            pieces += [(t0, cut, low, high), (cut, t1, low, high)]
        elif high - low >= 8:
            cut = low + 4 * int(generator.integers(1, (high - low) // 4))
            pieces += [(t0, t1, low, cut), (t0, t1, cut, high)]
        else:
            pieces.append((t0, t1, low, high))
    return [Block({}, (Rectangle(t0, t1 - 1, 0, high - low),), 4) for t0, t1, low, high in pieces]


def overlapping(blocks: list[Block], bases: tuple[int, ...]) -> bool:
    placed = [(r, base) for block, base in zip(blocks, bases, strict=True) for r in block.outline]
    return any(
        a.first <= b.last and b.first <= a.last and p + a.low < q + b.high and q + b.low < p + a.high
        for (a, p), (b, q) in combinations(placed, 2)
    )


@pytest.mark.parametrize("seed", range(10))
def test_ejection_packs_more_than_first_fit_and_never_overlaps(seed: int) -> None:
    blocks = cut_at_random(seed)
    order = sorted(range(len(blocks)), key=lambda k: (-blocks[k].size, k))
    for height in (64, 72, 80):
        first = eject(blocks, height, order, 0)
        found = eject(blocks, height, order, 20_000)
        assert first is None or found == first
        if found is not None:
            assert not overlapping(blocks, found)
            assert all(0 <= base <= height - b.size and base % 4 == 0 for b, base in zip(blocks, found, strict=True))
    assert eject(blocks, 60, order, 2_000) is None


def test_ejection_succeeds_where_first_fit_fails() -> None:
    def solved(moves: int) -> int:
        count = 0
        for seed in range(10):
            blocks = cut_at_random(seed)
            order = sorted(range(len(blocks)), key=lambda k: (-blocks[k].size, k))
            count += eject(blocks, 64, order, moves) is not None
        return count

    assert solved(20_000) > solved(0)


def test_conflicts_are_the_distances_at_which_blocks_overlap() -> None:
    """Against painting: blocks of two rectangles each, every distance tried."""
    generator = np.random.default_rng(5)
    for _ in range(40):
        blocks = []
        for _ in range(2):
            t, low = int(generator.integers(0, 4)), int(generator.integers(0, 3))
            first = Rectangle(t, t + 1, 0, int(generator.integers(1, 5)))
            blocks.append(Block({}, (first, Rectangle(t + 2, t + 3, low, low + int(generator.integers(1, 4)))), 1))
        known = conflicts(blocks)
        for base in range(20):
            hit = any(low < base - 10 < high for _, low, high in zip(*known[1], strict=True))
            assert hit == any(low < 10 - base < high for _, low, high in zip(*known[0], strict=True))
            assert hit == overlapping(blocks, (10, base))


def test_cp_sat_says_when_nothing_fits() -> None:
    blocks = cut_at_random(1)
    found = fit(blocks, 64, 5.0)
    assert found.bases is not None
    assert not overlapping(blocks, found.bases)
    assert fit(blocks, 60, 5.0).impossible


def test_an_input_read_from_its_low_end_goes_to_the_top() -> None:
    """Its freed bytes and the free ones below then make room that neither has alone."""
    image = Block({}, (Rectangle(0, 0, 0, 4), Rectangle(0, 2, 4, 8)), 1)
    long = Block({}, (Rectangle(1, 2, 0, 8),), 1)
    shapes = packing_shapes((image, long), (8, 12, 12), 12)
    found = eject(shapes[0].blocks, shapes[0].height, shapes[0].order(True), 0)
    assert found is not None
    assert shapes[0].bases(found) == (4, 0)
    assert len(shapes) == 2


def test_a_block_that_could_live_all_the_time_goes_to_the_bottom() -> None:
    sums = Block({}, (Rectangle(1, 3, 0, 4),), 4)
    row = Block({}, (Rectangle(0, 0, 0, 6),), 1)
    shape = packing_shapes((row, sums), (6, 4, 4, 4), 10)[0]
    assert shape.placed == {1: 0}
    assert shape.height == 6
    assert shape.bases((0,)) == (4, 0)


@pytest.mark.parametrize("seed", range(8))
def test_exchanging_steps_keeps_a_valid_order_and_its_peak(seed: int) -> None:
    model = order_of(stream_reductions(resnet8()), InputMode.RESIDENT)[1]
    found = exact_interleaving(model, 200_000)
    other = reordered(model, found.sequence, found.peak_bytes, seed)
    assert other != found.sequence
    assert other == reordered(model, found.sequence, found.peak_bytes, seed)
    rows = LiveRows(model)
    state, live = rows.start, rows.start_bytes
    for m in other:
        assert rows.ready(m, state)
        (adds, change), after = rows.effect(m, state), advanced(state, m)
        assert live + adds <= found.peak_bytes
        state, live = after, live + change
    assert state == rows.goal


MET = [
    ("mlperf_kws_int8", InputMode.RESIDENT, 3_866),
    ("mlperf_kws_int8", InputMode.STREAMED, 3_536),
    ("mlperf_resnet8_int8", InputMode.RESIDENT, 10_304),
    ("mlperf_resnet8_int8", InputMode.STREAMED, 9_152),
    ("mlperf_vww96_int8", InputMode.RESIDENT, 28_032),
    ("mlperf_vww96_int8", InputMode.STREAMED, 9_888),
]


def real_model(stem: str) -> Graph:
    path = MODELS / f"{stem}.tflite"
    if not path.is_file():
        pytest.skip(f"{stem}: the shared model folder is not beside this checkout")
    return stream_reductions(import_model(path, ImportOptions(io="quantized")))


@pytest.mark.parametrize(("stem", "mode", "bound_bytes"), MET)
def test_real_models_meet_their_live_bytes(stem: str, mode: InputMode, bound_bytes: int) -> None:
    graph = real_model(stem)
    storage = analyse_storage(graph)
    model = build_row_model(graph, storage, mode, over_windows=False)
    orders = [o.sequence for o in search_order(model)]
    order, rows, packing = pack_orders(graph, storage, model, orders)
    assert packing.arena_bytes == bound_bytes
    assert faults(model, order, rows, packing) == []
