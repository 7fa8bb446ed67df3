"""The order search: exact on small graphs, bounded and still sound beyond its limit."""

from __future__ import annotations

import pytest
from schedule_graphs import GraphBuilder, random_graph

from tinycompile.ir.graph import Graph
from tinycompile.schedule import order
from tinycompile.schedule.order import LiveBytes, best_order
from tinycompile.schedule.storage import analyse_storage


def wide(branches: int) -> Graph:
    """Many independent branches, each widening and narrowing again, in an order that opens all of them first."""
    b = GraphBuilder()
    x = b.input((1, 4, 4, 1))
    opened = [b.conv(x, 3 + k % 5) for k in range(branches)]
    closed = [b.conv(t, 1) for t in opened]
    total = closed[0]
    for t in closed[1:]:
        total = b.add(total, t)
    return b.graph([total])


def test_deep_branches_opened_one_by_one_need_no_search() -> None:
    """Depth first finds what the beam does not: with 24 branches the order search is far beyond its limit."""
    storage = analyse_storage(wide(24))
    assert best_order(storage).peak_bytes < LiveBytes(storage).peak(tuple(range(len(storage.steps)))) // 4


def test_wide_graph_is_solved_exactly() -> None:
    storage = analyse_storage(wide(8))
    found = best_order(storage)
    assert found.peak_bytes == found.lower_bound_bytes
    assert found.peak_bytes < LiveBytes(storage).peak(tuple(range(len(storage.steps))))


@pytest.mark.parametrize("seed", range(20))
def test_beyond_the_limit_the_bound_stays_below_the_exact_peak(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for graph in (random_graph(seed, ops=9), wide(3 + seed % 4)):
        storage = analyse_storage(graph)
        exact = best_order(storage)
        assert exact.peak_bytes == exact.lower_bound_bytes
        with monkeypatch.context() as limited:
            limited.setattr(order, "MAX_STATES", 2)
            limited.setattr(order, "BEAM_WIDTH", 2)
            bounded = best_order(storage)
        assert sorted(bounded.sequence) == list(range(len(storage.steps)))
        assert bounded.lower_bound_bytes <= exact.peak_bytes <= bounded.peak_bytes
