"""Valleys of the exact search: least states between two, and answers equal to enumeration on networks of all shapes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import networks
from schedule_graphs import GraphBuilder, inverted_bottleneck, random_graph
from test_interleave import exhaustive, replay

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.schedule.interleave import exact_interleaving, raised_bound
from tinycompile.schedule.live_rows import LiveRows, State
from tinycompile.schedule.row_model import RowModel, build_row_model
from tinycompile.schedule.storage import analyse_storage
from tinycompile.schedule.valleys import Valleys
from tinycompile.schedule.window_bounds import window_bound, window_model

MODES = [InputMode.RESIDENT, InputMode.STREAMED, InputMode.EXTERNAL]
MAX_STATES = 30_000  # of networks that are enumerated


def model_of(graph: Graph, mode: InputMode, over_windows: bool = True) -> RowModel:
    streamable = stream_reductions(graph)
    return build_row_model(streamable, analyse_storage(streamable), mode, over_windows=over_windows)


def live_bytes(rows: LiveRows, state: State) -> int:
    return sum(rows.live_rows(v, state) * b for v, b in enumerate(rows.bytes))


def between(rows: LiveRows, low: State, high: State) -> set[State]:
    """All states between two."""
    found, new = {low}, [low]
    while new:
        state = new.pop()
        for m in range(len(state)):
            if state[m] < high[m] and rows.ready(m, state):
                after = (*state[:m], state[m] + 1, *state[m + 1 :])
                if after not in found:
                    found.add(after)
                    new.append(after)
    return found


def walk(rows: LiveRows, state: State, steps: int, rng: random.Random) -> State:
    for _ in range(steps):
        ready = [m for m in range(len(state)) if rows.ready(m, state)]
        if not ready:
            break
        m = rng.choice(ready)
        state = (*state[:m], state[m] + 1, *state[m + 1 :])
    return state


def states_at_most(model: RowModel) -> int:
    product = 1
    for maker in model.makers:
        product *= maker.steps + 1
    return product


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(20))
def test_the_lowest_state_between_two_is_found(seed: int, mode: InputMode) -> None:
    rng = random.Random(seed)
    rows = LiveRows(model_of(random_graph(seed, ops=6), mode))
    valleys = Valleys(rows)
    for _ in range(10):
        low = walk(rows, rows.start, rng.randrange(20), rng)
        high = walk(rows, low, rng.randrange(1, 8), rng)
        found = valleys.lowest(low, high)
        assert found is not None
        saved, state = found
        states = between(rows, low, high)
        assert state in states
        assert live_bytes(rows, state) == min(live_bytes(rows, s) for s in states) == live_bytes(rows, high) - saved


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(networks(ops=5), st.sampled_from(MODES), st.booleans())
def test_search_equals_enumeration_on_any_network(graph: Graph, mode: InputMode, over_windows: bool) -> None:
    model = model_of(graph, mode, over_windows)
    assume(states_at_most(model) <= MAX_STATES)
    found = exact_interleaving(model, 200_000)
    least = exhaustive(model)
    assert found.peak_bytes == found.bound_bytes == least == replay(model, found.sequence)
    for states, steps in ((1, 200_000), (3, 200_000), (40, 200_000), (200_000, 5), (200_000, 50), (40, 50)):
        cut = exact_interleaving(model, states, max_steps=steps)
        assert cut.bound_bytes <= least
        assert not cut.sequence or cut.peak_bytes >= least


@pytest.mark.parametrize("over_windows", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(100, 130))
def test_search_equals_enumeration_from_any_upper_bound(seed: int, mode: InputMode, over_windows: bool) -> None:
    model = model_of(random_graph(seed, ops=5), mode, over_windows)
    least = exhaustive(model)
    for upper in (least, least + 1, least + 7, 2 * least):
        found = exact_interleaving(model, 200_000, upper)
        assert found.bound_bytes == least
        assert found.peak_bytes == (least if upper > least else 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(40))
def test_the_least_of_a_window_is_no_more_than_that_of_the_network(seed: int, mode: InputMode) -> None:
    model = model_of(random_graph(seed, ops=5), mode)
    least = exhaustive(model)
    for first in range(len(model.makers)):
        for end in range(first + 1, len(model.makers) + 1):
            window = window_model(model, first, end)
            peak = exhaustive(window)
            assert peak <= least
            assert raised_bound(window, 0, peak + 50, 100_000)[0] == peak
            assert window_bound(model, 0, least, 500) <= least


def test_steps_between_states_are_limited_too() -> None:
    """States alone are no measure of work: in a wide network many steps lead from one to the next."""
    model = model_of(random_graph(7, ops=40), InputMode.STREAMED)
    free = exact_interleaving(model, 2_000)
    spent = [exact_interleaving(model, 2_000, max_steps=steps).states for steps in (500, 2_000, 200_000)]
    assert spent == sorted(spent)
    assert spent[0] < free.states == spent[-1]


def early_rows_that_hinder() -> Graph:
    """Rows of the second branch fit from the start and are of no use until the third, which is widest, has run; what
    the first branch frees pays for them."""
    b = GraphBuilder()
    first, second, third = (b.input((1, 4, 1, channels)) for channels in (4, 1, 3))
    freed = b.conv(b.conv(first, 30), 1)
    early = b.conv(second, 3)
    return b.graph([freed, b.add(early, b.conv(b.conv(third, 60), 3))])


def without_minimum(self: Valleys, low: Sequence[int], high: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    return 0, tuple(high)


def test_a_valley_is_the_lowest_state_and_not_just_no_higher(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(early_rows_that_hinder(), InputMode.RESIDENT)
    least = exhaustive(model)
    found = exact_interleaving(model, 10_000)
    assert found.peak_bytes == found.bound_bytes == least == replay(model, found.sequence)
    monkeypatch.setattr(Valleys, "lowest", without_minimum)
    assert exact_interleaving(model, 10_000, least + 1).bound_bytes > least  # what a careless search would claim


def test_progress_is_reported_and_ends_the_search() -> None:
    model = model_of(inverted_bottleneck(), InputMode.STREAMED)
    reports: list[tuple[int | None, int]] = []

    def stop(best: int | None, bound: int) -> bool:
        reports.append((best, bound))
        return False

    least = exact_interleaving(model, 200_000)
    ended = exact_interleaving(model, 200_000, progress=stop)
    assert reports
    assert ended.bound_bytes <= least.peak_bytes
    assert not ended.sequence or ended.peak_bytes >= least.peak_bytes
