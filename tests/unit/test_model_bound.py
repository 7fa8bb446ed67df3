"""The bound of a model: no plan within the limit of recompute needs less, however it is cut, tiled and fused."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import bottleneck_networks, conv, depthwise, networks, tileable_networks
from schedule_graphs import GraphBuilder
from test_frontier_enumerated import MODES, SETTINGS, grids, needed, row_model, staged, ways

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode
from tinycompile.ir.printer import print_plan
from tinycompile.passes.fuse_bottlenecks import bottlenecks
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.passes.tile_stage import Stage
from tinycompile.planning import relaxed_model
from tinycompile.planning.choose import Chooser
from tinycompile.planning.frontier import frontier
from tinycompile.planning.goal import Goal, Patches
from tinycompile.planning.model_bound import ModelBounds
from tinycompile.planning.recompute import Recompute, rewrite
from tinycompile.planning.tile_costs import TileCosts
from tinycompile.schedule.assembly import network_macs
from tinycompile.schedule.interleave import exact_interleaving
from tinycompile.target import load_target

LIMITS = (1.0, 1.1, 1.6, 4.0)
HIGH = 1 << 20
WAYS = 8  # of each network
STATES = 2_000  # of the search for the best order of each


def some_way(graph: Graph, mode: InputMode, rnd: random.Random) -> Recompute:
    """Bottlenecks fused in any way, also several rows at a time, and stages of what comes of it in tiles."""
    again, kept = set[tuple[str, int]](), set[str]()
    for block in bottlenecks(graph):
        rows = graph.tensors[block.name].form.rows
        way = rnd.choice(("apart", "apart", "kept", 1, 2, 3, rows))
        if way == "kept":
            kept.add(block.name)
        elif isinstance(way, int):
            again.add((block.name, min(way, rows)))
    fused = rewrite(graph, Recompute(frozenset(again), (), frozenset(kept))).graph
    stages = list(islice(staged(fused, mode), 200))
    return Recompute(frozenset(again), rnd.choice(stages), frozenset(kept))


def least_peak(graph: Graph, how: Recompute, mode: InputMode) -> tuple[int, float]:
    """As `needed`, of the best order that a short search finds."""
    peak, macs = needed(graph, how, mode)
    found = exact_interleaving(row_model(rewrite(graph, how).graph, mode), STATES, peak)
    return (found.peak_bytes if found.sequence else peak), macs


def beaten(graph: Graph, mode: InputMode, seed: int, more_bytes: int = 0) -> list[tuple[float, int, int]]:
    """The limits at which some way to compute a network, in the best order that is found, needs less than the bound
    and `more_bytes`; and those bytes."""
    rnd = random.Random(seed)
    hows = dict.fromkeys((Recompute(), *(some_way(graph, mode, rnd) for _ in range(WAYS))))
    made = [least_peak(graph, how, mode) for how in hows]
    made += [(p.peak_bytes, p.recompute) for p in frontier(graph, mode, made[0][0], 2.0)]
    bounds, found = ModelBounds(graph, mode), []
    for limit in LIMITS:
        bound = bounds.at(limit, HIGH) + more_bytes
        found += [(limit, bound, peak) for peak, macs in made if macs <= limit + 1e-9 and peak < bound]
    return found


def never_beaten(graph: Graph, mode: InputMode, seed: int) -> None:
    assume(mode is InputMode.RESIDENT or not set(graph.inputs) & set(graph.outputs))
    assert beaten(stream_reductions(graph), mode, seed) == []


NETWORKS = given(
    st.one_of(networks(ops=6), tileable_networks(), bottleneck_networks(blocks=2)), MODES, st.integers(0, 999)
)


@settings(SETTINGS, max_examples=15)
@NETWORKS
def test_no_way_to_compute_a_network_needs_less_than_its_bound(graph: Graph, mode: InputMode, seed: int) -> None:
    never_beaten(graph, mode, seed)


@pytest.mark.slow
@settings(SETTINGS, max_examples=80)
@NETWORKS
def test_no_way_to_compute_any_of_many_networks_needs_less(graph: Graph, mode: InputMode, seed: int) -> None:
    never_beaten(graph, mode, seed)


def sequence(channels: tuple[int, ...]) -> Graph:
    """Along time alone: nothing can be cut into tiles of columns."""
    b = GraphBuilder()
    x = b.input((1, 20, 1, 3))
    for count in channels:
        x = conv(b, x, count, (3, 1), pad=(1, 1, 0, 0))
    return stream_reductions(b.graph([b.mean(x)]))


def columns(width: int) -> Graph:
    """Wide in the middle; columns computed twice save bytes."""
    b = GraphBuilder()
    x = conv(b, b.input((1, 8, width, 1)), 8, (3, 3), pad=(1, 1, 1, 1))
    x = conv(b, conv(b, x, 8, (3, 3), pad=(1, 1, 1, 1)), 1, (3, 3), pad=(1, 1, 1, 1))
    return stream_reductions(b.graph([b.mean(x)]))


def block(stride: int = 1) -> Graph:
    b = GraphBuilder()
    x = conv(b, b.input((1, 12, 6, 2)), 4, (3, 3), pad=(1, 1, 1, 1))
    y = depthwise(b, conv(b, x, 24, (1, 1)), (3, 3), (stride, stride), pad=(1, 1, 1, 1))
    return stream_reductions(b.graph([conv(b, y, 4, (1, 1))]))


@pytest.mark.parametrize("mode", list(InputMode))
def test_where_nothing_can_be_rewritten_it_is_the_bound_of_all_orders(mode: InputMode) -> None:
    graph = sequence((8, 4, 6))
    exact = exact_interleaving(row_model(graph, mode), 100_000)
    assert exact.bound_bytes == exact.peak_bytes
    for limit in LIMITS:
        assert ModelBounds(graph, mode).at(limit, HIGH) == exact.peak_bytes
        assert ModelBounds(graph, mode).at(limit, HIGH, exact.peak_bytes) == exact.peak_bytes
    assert ModelBounds(graph, mode).at(1.0, exact.peak_bytes - 1) == exact.peak_bytes - 1  # of no interest above that


def test_a_bound_one_byte_higher_is_beaten() -> None:
    for mode in InputMode:
        assert beaten(sequence((8, 4, 6)), mode, 0) == []
        assert beaten(sequence((8, 4, 6)), mode, 0, more_bytes=1) != []


def test_it_falls_where_more_may_be_computed_twice() -> None:
    bounds = ModelBounds(columns(10), InputMode.EXTERNAL)
    found = [bounds.at(limit, HIGH) for limit in LIMITS]
    assert found == sorted(found, reverse=True)
    assert found[0] > 2 * found[-1]
    assert found == [ModelBounds(columns(10), InputMode.EXTERNAL).at(limit, HIGH) for limit in LIMITS]


def test_control_tiles_that_repeat_nothing_count(monkeypatch: pytest.MonkeyPatch) -> None:
    b = GraphBuilder()
    x = conv(b, b.input((1, 3, 6, 2)), 9, (3, 3), pad=(1, 1, 1, 1))
    graph = b.graph([conv(b, conv(b, x, 12, (1, 1)), 2, (1, 1))])
    costs = TileCosts(graph)
    names = tuple(node.out.name for node in costs.nodes)
    assert [s.ops for s in costs.stages(names, 0.0, from_inputs=True) if s.more_macs == 0 and s.begin == names[0]]
    assert beaten(graph, InputMode.EXTERNAL, 1) == []
    exact = exact_interleaving(row_model(graph, InputMode.EXTERNAL), 100_000).peak_bytes
    assert ModelBounds(graph, InputMode.EXTERNAL).at(1.0, HIGH) < exact
    monkeypatch.setattr(TileCosts, "stages", lambda *args: iter(()))
    assert ModelBounds(graph, InputMode.EXTERNAL).at(1.0, HIGH) == exact
    assert least_peak(graph, tiled(graph), InputMode.EXTERNAL)[0] < exact


def tiled(graph: Graph) -> Recompute:
    return min(
        (Recompute(stages=stages) for stages in islice(staged(graph, InputMode.EXTERNAL), 200)),
        key=lambda how: (needed(graph, how, InputMode.EXTERNAL)[0], len(how.stages)),
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_control_a_ring_one_row_too_high_is_beaten(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, real = block(stride), relaxed_model.Relaxer._ring
    monkeypatch.setattr(TileCosts, "stages", lambda *args: iter(()))  # for fused bottlenecks alone
    kept = needed(graph, Recompute(kept=frozenset(b.name for b in bottlenecks(graph))), InputMode.EXTERNAL, search=True)
    assert ModelBounds(graph, InputMode.EXTERNAL).at(1.0, HIGH) <= kept[0]

    def higher(relaxer: relaxed_model.Relaxer, block: object, more_macs: float) -> object:
        maker = real(relaxer, block, more_macs)  # type: ignore[arg-type]
        assert maker is not None
        return replace(maker, scratch_bytes=maker.scratch_bytes + 6 * 24 + 6 * 24)

    monkeypatch.setattr(relaxed_model.Relaxer, "_ring", higher)
    assert ModelBounds(graph, InputMode.EXTERNAL).at(1.0, HIGH) > kept[0]


def test_tiles_cost_at_least_what_neighbours_share() -> None:
    graph = columns(10)
    costs = TileCosts(graph)
    for stage in costs.stages(tuple(node.out.name for node in costs.nodes), 1e9, from_inputs=True):
        end = costs.nodes[stage.ops[-1]].out.name
        begin = graph.inputs if stage.begin is None else (stage.begin,)
        for tiles in (2, 3, 8):
            how = rewrite(graph, Recompute(stages=(Stage(begin, end, 1, tiles),)))
            executed = network_macs(how.graph)
            assert executed >= sum(costs.least_macs) + stage.more_macs - 1e-6


def tiny(name: str) -> Graph:
    """Three convolutions or a bottleneck, few enough columns to look at every way to compute them."""
    b = GraphBuilder()
    if name == "bottleneck":
        x = depthwise(b, conv(b, b.input((1, 5, 4, 2)), 12, (1, 1)), (3, 3), pad=(1, 1, 1, 1))
        return stream_reductions(b.graph([conv(b, x, 2, (1, 1))]))
    x = conv(b, b.input((1, 4, 4, 1)), 16, (3, 3), pad=(1, 1, 1, 1))
    x = conv(b, x, 16, (3, 3), (1, 2) if name == "strided" else (1, 1), pad=(1, 1, 1, 1))
    return b.graph([conv(b, x, 1, (1, 1))])


def undercut(graph: Graph, mode: InputMode, hows: Iterable[Recompute]) -> list[tuple[float, int, int]]:
    """As `beaten`, of some ways to compute a network, at limits of recompute that each of them just keeps."""
    made = [least_peak(graph, how, mode) for how in dict.fromkeys(hows)]
    bounds, found = ModelBounds(graph, mode), []
    for limit in sorted({macs for _, macs in made}):
        bound = bounds.at(limit, HIGH)
        found += [(limit, bound, peak) for peak, macs in made if macs <= limit + 1e-9 and peak < bound]
    return found


@pytest.mark.parametrize("mode", list(InputMode))
@pytest.mark.parametrize("name", ["plain", "strided", "bottleneck"])
def test_no_way_at_all_to_compute_a_tiny_network_needs_less(name: str, mode: InputMode) -> None:
    graph = tiny(name)
    assert undercut(graph, mode, ways(graph, mode)) == []


def _more_macs(monkeypatch: pytest.MonkeyPatch) -> None:
    real = TileCosts._leading_to
    monkeypatch.setattr(
        TileCosts,
        "_leading_to",
        lambda *args: (replace(s, more_macs=s.more_macs and s.more_macs + 1) for s in real(*args)),
    )


def _more_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    real = TileCosts._rows_made.func
    monkeypatch.setattr(TileCosts, "_rows_made", property(lambda costs: tuple(n + 1 for n in real(costs))))


@pytest.mark.parametrize("mutate", [_more_macs, _more_rows])
def test_control_costs_of_tiles_a_little_too_high(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, mode = tiny("plain"), InputMode.EXTERNAL
    tiles = [Recompute(stages=(s,)) for s in grids(graph, mode, graph.inputs, graph.outputs[0]) if s is not None]
    assert undercut(graph, mode, tiles) == []
    mutate(monkeypatch)
    assert undercut(graph, mode, tiles) != []


def test_plans_carry_it_and_reports_say_it() -> None:
    target, goal = load_target("cortex-m7"), Goal(InputMode.EXTERNAL, minimize_sram=True, max_recompute=1.5)
    plan = Chooser(columns(10), target, "net", goal).plan()
    bound = plan.certificate.model
    assert bound is not None
    assert 0 < bound.nbytes <= plan.arena_bytes
    assert bound.max_recompute == 1.5
    assert f"bound {bound.nbytes} for the model at recompute <= 1.5 (" in print_plan(plan)
    anything = Chooser(columns(10), target, "net", replace(goal, max_recompute=math.inf)).plan().certificate.model
    assert anything is not None
    assert anything.nbytes <= bound.nbytes
    assert anything.limit == "at any recompute"
    pinned = Chooser(columns(10), target, "net", replace(goal, patches=Patches(2, 2))).plan()
    assert pinned.certificate.model is None  # it keeps no limit, and has rows of tiles


def test_of_the_plans_of_a_frontier_each_has_the_bound_of_its_own_recompute() -> None:
    goal = Goal(InputMode.EXTERNAL, minimize_sram=True, max_recompute=4.0)
    plans = list(Chooser(columns(10), load_target("cortex-m7"), "net", goal).frontier_plans())
    bounds = [p.certificate.model for p in plans]
    assert len(plans) > 2
    for bound in bounds:
        assert bound is not None
        within = [
            p.arena_bytes for p, b in zip(plans, bounds, strict=True) if b and b.max_recompute <= bound.max_recompute
        ]
        assert bound.nbytes <= min(within)
