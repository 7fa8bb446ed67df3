"""The frontier of small networks equals the enumeration of all ways to cut them into stages, these into tiles, and to
fuse their bottlenecks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice, product

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import bottleneck_networks, conv, networks, tileable_networks
from schedule_graphs import GraphBuilder

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.passes.fuse_bottlenecks import bottlenecks
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.passes.tile_stage import Stage, stage_ops, tile_stage
from tinycompile.planning import choices
from tinycompile.planning import frontier as frontier_module
from tinycompile.planning.choices import FEW_CUTS, TILES, Choice
from tinycompile.planning.frontier import Point, frontier
from tinycompile.planning.recompute import Recompute, rewrite
from tinycompile.schedule.assembly import network_macs
from tinycompile.schedule.row_model import RowModel, build_row_model
from tinycompile.schedule.segments import Segments
from tinycompile.schedule.stages import cuts, search_order, staged_order
from tinycompile.schedule.storage import analyse_storage

MOST = 3.0  # MACs over those of the network
# Where the input is elsewhere, the first maps are worth cutting.
MODES = st.sampled_from([InputMode.EXTERNAL, InputMode.EXTERNAL, InputMode.RESIDENT, InputMode.STREAMED])
MOST_WAYS = 400  # of a network; of chains of wide maps there are many thousands


def row_model(graph: Graph, mode: InputMode) -> RowModel:
    apart = frozenset() if mode is InputMode.RESIDENT else frozenset(graph.inputs)
    return build_row_model(graph, analyse_storage(graph, apart), mode)


def needed(graph: Graph, how: Recompute, mode: InputMode, search: bool = False) -> tuple[int, float]:
    """Live bytes of the network computed so, one stage after another (`search`: in the best order that is found), and
    its MACs over those of the network."""
    again = rewrite(graph, how)
    model = row_model(again.graph, mode)
    made_by = {model.values[m.value].tensor: k for k, m in enumerate(model.makers)}
    stops = tuple(made_by[name] for name in again.stops if name in made_by)
    order = search_order(model, stops=stops)[0] if search else staged_order(model, stops)
    return order.peak_bytes, network_macs(again.graph) / max(network_macs(graph), 1)


def ways(graph: Graph, mode: InputMode) -> Iterator[Recompute]:
    """Every set of stages in tiles of columns that begin and end at cuts of the network, with every inverted bottleneck
    apart, kept, or expanded again for every row."""
    blocks = [b.name for b in bottlenecks(graph)]
    for fused in product(("apart", "kept", "again"), repeat=len(blocks)):
        again = frozenset((b, 1) for b, how in zip(blocks, fused, strict=True) if how == "again")
        kept = frozenset(b for b, how in zip(blocks, fused, strict=True) if how == "kept")
        for stages in staged(rewrite(graph, Recompute(again, (), kept)).graph, mode):
            yield Recompute(again, stages, kept)


def staged(graph: Graph, mode: InputMode) -> Iterator[tuple[Stage, ...]]:
    model = row_model(graph, mode)
    names = [model.values[model.makers[m].value].tensor for m in cuts(model)]
    for inner in (some for count in range(len(names)) for some in combinations(names[:-1], count)):
        begins = [graph.inputs, *((name,) for name in inner)]
        segments = zip(begins, [*inner, names[-1]], strict=True)
        for chosen in product(*(grids(graph, mode, begin, end) for begin, end in segments)):
            yield tuple(s for s in chosen if s is not None)


def grids(graph: Graph, mode: InputMode, begin: tuple[str, ...], end: str) -> list[Stage | None]:
    """None, for rows of the whole width, and each number of tiles that the part of a network can be cut to."""
    form = graph.tensors[end].form
    pushed = mode is InputMode.STREAMED and begin == graph.inputs  # such rows are there once
    if len(graph.tensors[end].shape) != 4 or pushed or stage_ops(graph, begin, end) is None:
        return [None]
    stages = (Stage(begin, end, 1, n) for n in TILES if n <= form.width)
    return [None, *(s for s in stages if tile_stage(graph, s) is not None)]


def better(graph: Graph, mode: InputMode, points: Sequence[Point], ceiling: int) -> list[tuple[Recompute, int, float]]:
    """The ways below `ceiling` bytes that no point matches in bytes and MACs."""
    found = []
    for how in dict.fromkeys(ways(graph, mode)):
        peak, macs = needed(graph, how, mode)
        matched = any(p.peak_bytes <= peak and p.recompute <= macs + 1e-9 for p in points)
        if macs <= MOST and peak < ceiling and not matched:
            found.append((how, peak, macs))
    return found


SETTINGS = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
)


def equal(graph: Graph, mode: InputMode) -> None:
    """The frontier is that of all ways to compute a network, and each point is what an order of rows needs."""
    assume(mode is InputMode.RESIDENT or not set(graph.inputs) & set(graph.outputs))
    graph = stream_reductions(graph)
    assume(len(cuts(row_model(graph, mode))) <= FEW_CUTS)
    assume(len(list(islice(ways(graph, mode), MOST_WAYS + 1))) <= MOST_WAYS)
    ceiling, _ = needed(graph, Recompute(), mode)
    points = frontier(graph, mode, ceiling, MOST)
    assert better(graph, mode, points, ceiling) == []
    for point in points:
        assert needed(graph, point.how, mode) == (point.peak_bytes, pytest.approx(point.recompute))


CUT = given(st.one_of(networks(ops=6), tileable_networks()), MODES)
FUSED = given(bottleneck_networks(blocks=2), MODES)


@settings(SETTINGS, max_examples=15)
@CUT
def test_the_frontier_is_that_of_all_ways_to_cut_a_network(graph: Graph, mode: InputMode) -> None:
    equal(graph, mode)


@settings(SETTINGS, max_examples=6)
@FUSED
def test_the_frontier_is_that_of_all_ways_to_fuse_and_cut_bottlenecks(graph: Graph, mode: InputMode) -> None:
    equal(graph, mode)


@pytest.mark.slow
@settings(SETTINGS, max_examples=200)
@CUT
def test_of_many_networks_the_frontier_is_that_of_all_ways_to_cut_them(graph: Graph, mode: InputMode) -> None:
    equal(graph, mode)


@pytest.mark.slow
@settings(SETTINGS, max_examples=80)
@FUSED
def test_of_many_networks_the_frontier_is_that_of_all_ways_to_fuse_and_cut_them(graph: Graph, mode: InputMode) -> None:
    equal(graph, mode)


def noted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Gets what is estimated and what is measured of each choice on the paths of frontiers."""
    real, seen = frontier_module.measured_peaks, list[tuple[int, int]]()

    def measured_peaks(
        graph: Graph, how: Recompute, path: Sequence[Choice], input_mode: InputMode, output_mode: OutputMode
    ) -> list[int]:
        peaks = real(graph, how, path, input_mode, output_mode)
        seen.extend((c.peak_bytes, p) for c, p in zip(path, peaks, strict=True))
        return peaks

    monkeypatch.setattr(frontier_module, "measured_peaks", measured_peaks)
    return seen


def test_no_estimate_exceeds_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, counts = noted(monkeypatch), list[int]()

    @settings(SETTINGS, max_examples=12)
    @given(st.one_of(tileable_networks(), bottleneck_networks(blocks=2)), MODES)
    def check(graph: Graph, mode: InputMode) -> None:
        graph = stream_reductions(graph)
        assume(mode is InputMode.RESIDENT or not set(graph.inputs) & set(graph.outputs))
        seen.clear()
        frontier(graph, mode, needed(graph, Recompute(), mode)[0], MOST)
        counts.append(len(seen))
        assert [(estimate, peak) for estimate, peak in seen if estimate > peak] == []

    check()
    assert any(counts)  # something was measured


def tapered(channels: int) -> Graph:
    b = GraphBuilder()
    x = conv(b, b.input((1, 9, 6, 2)), 6, (3, 3), pad=(1, 1, 1, 1))
    x = conv(b, conv(b, x, channels, (1, 1)), 1, (3, 3), (2, 2), pad=(1, 1, 1, 1))
    return stream_reductions(b.graph([b.mean(x)]))


def test_control_an_estimate_that_is_too_high_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, mode, real = tapered(2), InputMode.EXTERNAL, Segments.peak
    seen, ceiling = noted(monkeypatch), needed(graph, Recompute(), mode)[0]
    frontier(graph, mode, ceiling, MOST)
    assert seen
    assert all(estimate <= peak for estimate, peak in seen)
    monkeypatch.setattr(Segments, "peak", lambda *args: real(*args) + 1)
    frontier(graph, mode, ceiling, MOST)
    assert any(estimate > peak for estimate, peak in seen)


@pytest.mark.parametrize("channels", [2, 6])
def test_control_a_frontier_that_holds_what_is_in_tiles_whole_is_beaten(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, mode, real = tapered(channels), InputMode.EXTERNAL, choices._Variant._on
    ceiling, _ = needed(graph, Recompute(), mode)
    assert better(graph, mode, frontier(graph, mode, ceiling, MOST), ceiling) == []
    monkeypatch.setattr(choices._Variant, "_on", lambda v, t, stop: real(v, t, stop) if stop == t.tiling.end else ())
    assert better(graph, mode, frontier(graph, mode, ceiling, MOST), ceiling) != []


def test_control_a_frontier_without_tiles_is_beaten() -> None:
    b = GraphBuilder()
    x = b.input((1, 9, 6, 2))
    for channels in (6, 6, 1):
        x = conv(b, x, channels, (3, 3), pad=(1, 1, 1, 1))
    graph = b.graph([x])
    ceiling, _ = needed(graph, Recompute(), InputMode.EXTERNAL)
    points = frontier(graph, InputMode.EXTERNAL, ceiling, MOST)
    rest = [p for p in points if not p.how.stages]
    assert len(points) > len(rest)
    assert better(graph, InputMode.EXTERNAL, points, ceiling) == []
    assert better(graph, InputMode.EXTERNAL, rest, ceiling) != []
