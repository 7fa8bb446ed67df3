"""A bound for a whole network: no plan that executes at most F times its MACs needs fewer bytes, however it is cut into
stages in tiles of columns, whichever of its bottlenecks are fused, and in whatever order rows are made.

A plan is some stages in tiles that repeat MACs (`planning.tile_costs` says how many at least), some bottlenecks that
make several rows in a step (which hold the windows of those rows, and scratch), and the rest. The steps of the rest
between two of these are an order of those makers of `planning.relaxed_model`, all others left out as in
`schedule.window_bounds`: what enters counts nothing (but for a network input that lies there), what leaves dies at
once. So the peak of the plan is at least that of an exact search of the makers between. The bound is the least, over
all choices that F allows together, of the greatest of these peaks. Inside stages nothing is counted, so that it is weak
where much may be computed twice. Grids with several rows of tiles, which only `--patches` asks for, are not in this
space.

It is found from above: the choice of stages that is best by the bounds known so far says which makers to search next.
Wherever this ends, the bound is true.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.planning.relaxed_model import RelaxedModel, Relaxer
from tinycompile.planning.tile_costs import TileCosts, TiledStage
from tinycompile.schedule.assembly import network_macs
from tinycompile.schedule.interleave import raised_bound
from tinycompile.schedule.row_model import build_row_model
from tinycompile.schedule.stages import cuts
from tinycompile.schedule.storage import analyse_storage
from tinycompile.schedule.window_bounds import window_model
from tinycompile.watch import Watch

METHOD = (
    "the least, over all choices of stages in tiles of columns and of bottlenecks fused, of exact searches of the "
    "operators between those stages, inside which nothing is counted"
)
STATES = 6_000  # expanded by the searches of one bound, at effort 1
PART = 4  # of the states that are left, for one search
WIDEST = 12  # makers of a search, where all of those between two stages are not finished
SAME = 1e-9  # of the MACs: limits are compared so


@dataclass(frozen=True)
class _Gap:
    """Makers `first` to before `end` that a plan may take out of the searches, the MACs that it then repeats, and the
    bytes that it holds there at least."""

    first: int
    end: int
    more_macs: float
    least_bytes: int = 0


class ModelBounds:
    """Bounds of one graph (with reductions as running sums) for any limit of MACs."""

    def __init__(self, graph: Graph, input_mode: InputMode, output_mode: OutputMode = OutputMode.RESIDENT) -> None:
        self.graph, self.input_mode, self.output_mode = graph, input_mode, output_mode
        self.costs = TileCosts(graph)

    @cached_property
    def _relaxer(self) -> Relaxer:
        return Relaxer(self.graph, self.costs, self.input_mode, self.output_mode)

    @cached_property
    def _cuts(self) -> tuple[str, ...]:
        apart = frozenset() if self.input_mode is InputMode.RESIDENT else frozenset(self.graph.inputs)
        storage = analyse_storage(self.graph, apart)
        model = build_row_model(self.graph, storage, self.input_mode, output_mode=self.output_mode)
        makers = (model.makers[m] for m in cuts(model))
        return tuple(model.values[m.value].tensor for m in makers if m.op is not None)

    def at(
        self, max_recompute: float, high_bytes: int, known_bytes: int = 0, effort: int = 1, watch: Watch | None = None
    ) -> int:
        """Bytes below which no plan within `max_recompute` comes; at most `high_bytes`, which one is known to need.
        `known_bytes`: a bound on all orders of rows of the network as it is."""
        watch = watch or Watch()
        base = max(network_macs(self.graph), 1)
        more_macs = (max_recompute + SAME) * base - sum(self.costs.least_macs)
        pushed = self.input_mode is InputMode.STREAMED
        stages = tuple(self.costs.stages(self._cuts, more_macs, not pushed))
        free = tuple(s for s in stages if self._relaxer.free_tiles(s))
        others = [s for s in stages if s not in set(free)]
        relaxed = self._relaxer.relaxed(more_macs, free)
        search = _Search(relaxed, [*_gaps(relaxed, others), *self._several(more_macs)], more_macs, high_bytes)
        if relaxed.exact and not others:
            search.found[0, len(relaxed.model.makers)] = min(known_bytes, high_bytes)
        return search.bound(STATES * 4 ** max(effort - 1, 0), watch)

    def _several(self, more_macs: float) -> Iterator[_Gap]:
        """Bottlenecks that make several rows in a step."""
        for name, m in self._relaxer.maker.items():
            if name in self._relaxer.blocks:
                for macs, nbytes in self._relaxer.steps_of_several(name):
                    if macs <= more_macs:
                        yield _Gap(m, m + 1, macs, nbytes)


def _gaps(relaxed: RelaxedModel, stages: Sequence[TiledStage]) -> list[_Gap]:
    """What the stages take out. One that begins inside a bottleneck may lie behind one that ends there."""
    least: dict[tuple[int, int], float] = {(m, m + 1): 0.0 for m in relaxed.open}
    for stage in stages:
        ops = frozenset(stage.ops)
        touched = [m for m, parts in enumerate(relaxed.made_from) if parts & ops]
        if not touched:
            continue
        first, end = touched[0], touched[-1] + 1
        firsts = (first,) if relaxed.made_from[first] <= ops else (first, first + 1)
        for begin in firsts:
            if begin < end:
                least[begin, end] = min(least.get((begin, end), stage.more_macs), stage.more_macs)
    return [_Gap(a, b, macs) for (a, b), macs in sorted(least.items())]


class _Search:
    def __init__(self, relaxed: RelaxedModel, gaps: Sequence[_Gap], more_macs: float, high_bytes: int) -> None:
        self.model, self.more_macs, self.high = relaxed.model, more_macs, high_bytes
        self.count = len(relaxed.model.makers)
        self.gaps: list[list[_Gap]] = [[] for _ in range(self.count + 1)]
        for gap in gaps:
            self.gaps[gap.first].append(gap)
        values = relaxed.model.values
        counted = [(v.rows * v.row_bytes if v.counted else 0, v) for v in values]
        entry = sum(nbytes for nbytes, v in counted if v.at_entry)
        self.floor = min(max(entry, sum(nbytes for nbytes, v in counted if v.is_output)), high_bytes)
        self.found: dict[tuple[int, int], int] = {}
        self.tried: set[tuple[int, int]] = set()

    def bound(self, states: int, watch: Watch) -> int:
        low = self.floor
        while not watch.over():
            low, between = self._best()
            fresh = [w for first, end in between for w in self._windows(first, end) if w not in self.tried]
            if low >= self.high or not fresh or states <= 0:
                break
            for first, end in fresh:
                model = window_model(self.model, first, end, entry=True)
                most = max(states // PART, 1)
                reached, spent = raised_bound(model, low, self.high, most, watch.over)
                states -= max(spent, 1)
                if reached <= low or spent < most:
                    self.tried.add((first, end))
                if reached > low:
                    self.found[first, end] = reached
                    break
        return low

    def _windows(self, first: int, end: int) -> list[tuple[int, int]]:
        """All makers, then some of them."""
        if end - first <= WIDEST:
            return [(first, end)] if end > first else []
        starts = range(first, end - WIDEST + WIDEST // 2, WIDEST // 2)
        return [(first, end), *((a, min(a + WIDEST, end)) for a in starts)]

    def _best(self) -> tuple[int, list[tuple[int, int]]]:
        """The bound by what is found so far, and what lies between the stages that allow it."""
        known = (*self.found.values(), *(gap.least_bytes for gaps in self.gaps for gap in gaps))
        limits = sorted({self.floor, *(b for b in known if b > self.floor)})
        k = bisect_left(limits, True, key=lambda limit: self._between(limit) is not None)
        between = self._between(limits[k])
        assert between is not None
        return min(limits[k], self.high), between

    def _between(self, limit: int) -> list[tuple[int, int]] | None:
        """Makers between stages, of the fewest MACs repeated, such that nothing found exceeds `limit`; None where that
        takes more MACs than may be repeated."""
        ends = [self.count] * (self.count + 1)  # how far makers may go on from each
        for (first, end), found in self.found.items():
            if found > limit:
                ends[first] = min(ends[first], end - 1)
        for p in range(self.count - 1, -1, -1):
            ends[p] = min(ends[p], ends[p + 1])
        best: dict[int, tuple[float, int, int]] = {0: (0.0, -1, -1)}  # behind a stage: MACs, and where makers went
        for p in range(self.count + 1):
            if p not in best:
                continue
            macs = best[p][0]
            for q in range(p, ends[p] + 1):
                for gap in self.gaps[q]:
                    if gap.least_bytes > limit or gap.end <= p:
                        continue
                    if gap.end not in best or macs + gap.more_macs < best[gap.end][0]:
                        best[gap.end] = macs + gap.more_macs, p, q
        done = [(macs, p) for p, (macs, _, _) in best.items() if ends[p] >= self.count and macs <= self.more_macs]
        if not done:
            return None
        _, p = min(done)
        between = [(p, self.count)]
        while best[p][1] >= 0:
            _, before, q = best[p]
            between.append((before, q))
            p = before
        return [(a, b) for a, b in between[::-1] if b > a]
