"""The exact search over row interleavings against exhaustive enumeration of all states, without the eager closure."""

from __future__ import annotations

import heapq

import pytest
from schedule_graphs import GraphBuilder, inverted_bottleneck, random_graph, resnet8

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.schedule.interleave import exact_interleaving
from tinycompile.schedule.live_rows import LiveRows, advanced
from tinycompile.schedule.row_model import RowModel, build_row_model
from tinycompile.schedule.storage import analyse_storage


def model_of(graph: Graph, mode: InputMode) -> RowModel:
    return build_row_model(graph, analyse_storage(graph), mode)


def exhaustive(model: RowModel) -> int:
    """Least peak over every order of row steps: minimax Dijkstra over all states, no step taken unasked."""
    rows = LiveRows(model)
    heap = [(max(rows.entry_bytes, rows.start_bytes), rows.start, rows.start_bytes)]
    seen = set()
    while heap:
        peak, state, live = heapq.heappop(heap)
        if state == rows.goal:
            return peak
        if state in seen:
            continue
        seen.add(state)
        for m in range(len(state)):
            if rows.ready(m, state):
                (adds, change), after = rows.effect(m, state), advanced(state, m)
                heapq.heappush(heap, (max(peak, live + adds), after, live + change))
    raise AssertionError("the end cannot be reached")


def replay(model: RowModel, sequence: tuple[int, ...]) -> int:
    """Peak of live bytes of an order, each row followed from its making to its last reading."""
    rows = LiveRows(model)
    state, live, peak = rows.start, rows.start_bytes, max(rows.entry_bytes, rows.start_bytes)
    for m in sequence:
        assert rows.ready(m, state)
        (adds, change), state = rows.effect(m, state), advanced(state, m)
        peak, live = max(peak, live + adds), live + change
        assert live == sum(rows.live_rows(v, state) * b for v, b in enumerate(rows.bytes))
    assert state == rows.goal
    return peak


@pytest.mark.parametrize("mode", [InputMode.RESIDENT, InputMode.STREAMED, InputMode.EXTERNAL])
@pytest.mark.parametrize("seed", range(25))
def test_search_equals_enumeration(seed: int, mode: InputMode) -> None:
    model = model_of(random_graph(seed, ops=5), mode)
    found = exact_interleaving(model, 200_000)
    assert found.peak_bytes == found.bound_bytes == exhaustive(model) == replay(model, found.sequence)


def test_an_upper_bound_that_cannot_be_beaten_is_proven() -> None:
    model = model_of(inverted_bottleneck(), InputMode.STREAMED)
    best = exact_interleaving(model, 200_000)
    beaten = exact_interleaving(model, 200_000, upper=best.peak_bytes)
    assert beaten.sequence == ()
    assert beaten.bound_bytes == best.peak_bytes


def test_rows_stream_through_a_residual_network() -> None:
    """ResNet-8: the least of any order of row steps, far below its 49,152 bytes in whole buffers."""
    found = exact_interleaving(model_of(stream_reductions(resnet8()), InputMode.RESIDENT), 200_000)
    assert found.peak_bytes == 10_304


def test_a_skip_connection_inside_the_window_costs_nothing() -> None:
    """The rows that a 3x3 convolution holds anyway serve the addition one row behind."""
    b = GraphBuilder()
    x = b.input((1, 12, 4, 8))
    graph = b.graph([b.add(b.conv(x, 8, 3), x)])
    plain = GraphBuilder()
    without = plain.graph([plain.conv(plain.input((1, 12, 4, 8)), 8, 3)])
    peaks = [
        exact_interleaving(model_of(g, InputMode.STREAMED), 200_000).peak_bytes - g.tensors[g.outputs[0]].nbytes
        for g in (graph, without)
    ]
    assert peaks[0] - peaks[1] <= 32  # one row


def test_trailing_rows_that_nobody_reads_are_not_made() -> None:
    """A stride-2 1x1 convolution over an even number of rows never reads the last."""
    b = GraphBuilder()
    graph = b.graph([b.conv(b.conv(b.input((1, 8, 4, 2)), 4), 4, 1, 2)])
    model = model_of(graph, InputMode.STREAMED)
    assert [m.steps for m in model.makers] == [7, 7, 4]
