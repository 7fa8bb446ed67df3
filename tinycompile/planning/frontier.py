"""The frontier of bytes against recompute: for every peak of live bytes, the least that must be computed twice.

A network is a chain of cuts (tensors that everything passes through). Between two cuts rows stream; the segment may be
in tiles of columns, and its inverted bottlenecks may be fused: with a ring of the pixels that they expand, or expanding
rows anew for every output row or every few (`planning.choices`). A shortest path over the cuts, by MACs, gives for
every number of bytes the choices of least recompute.

What a choice costs is an estimate, never too high, from one run over its rows (`schedule.segments`). Of small networks
the choices on a path are then measured, and the search goes on until a path keeps what it promised, so that their
frontier is exact; of others `choose` makes real plans of the points that matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.planning.choices import Choice, Choices, Node
from tinycompile.planning.measure import measured_peaks
from tinycompile.planning.recompute import Recompute
from tinycompile.schedule.assembly import network_macs
from tinycompile.watch import Watch


@dataclass(frozen=True)
class Point:
    """A point of the frontier: peak of live bytes, MACs executed over those of the network, and how."""

    peak_bytes: int
    recompute: float
    how: Recompute


def frontier(
    graph: Graph,
    input_mode: InputMode,
    ceiling_bytes: int,
    max_recompute: float,
    watch: Watch | None = None,
    output_mode: OutputMode = OutputMode.RESIDENT,
) -> list[Point]:
    """Points of falling bytes and rising recompute; of what was looked at before `watch` ended it.

    `graph`: with reductions as running sums, so that maps are consumed row by row. `ceiling_bytes`: a peak that is
    reached with nothing computed twice; what needs more is of no interest.
    """
    base = max(network_macs(graph), 1)
    more_macs = (max_recompute - 1 + 1e-9) * base
    offered = Choices(graph, input_mode, output_mode, ceiling_bytes, more_macs, watch or Watch())
    paths = _Paths(offered.all())
    points: list[Point] = []
    limit = ceiling_bytes
    while (found := paths.cheapest(limit)) is not None:
        recompute = sum(c.macs for c in found) / base
        if recompute > max_recompute + 1e-9:
            break
        how = _together(found)
        if offered.few and not all(c.measured for c in found):
            peaks = measured_peaks(graph, how, found, input_mode, output_mode)
            paths.measured(found, peaks)
            if max(peaks) > limit:
                continue
            found = [replace(c, peak_bytes=p) for c, p in zip(found, peaks, strict=True)]
        peak = max(c.peak_bytes for c in found)
        if points and recompute <= points[-1].recompute:
            points.pop()
        points.append(Point(peak, recompute, how))
        limit = peak - 1
    return points


def _together(path: Sequence[Choice]) -> Recompute:
    again = frozenset[tuple[str, int]]().union(*(c.how.again for c in path))
    kept = frozenset[str]().union(*(c.how.kept for c in path))
    return Recompute(again, tuple(s for c in path for s in c.how.stages), kept)


class _Paths:
    """Ways from the network input to the last cut."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self.by_end: dict[Node, list[Choice]] = {}
        for choice in choices:
            self.by_end.setdefault(choice.end, []).append(choice)
        self.last = choices[-1].end if choices else None

    def cheapest(self, limit: int) -> list[Choice] | None:
        """The choices of least MACs that lead from the input to the last cut, all within `limit` bytes."""
        best: dict[Node, tuple[int, Choice | None]] = {None: (0, None)}
        for node, choices in self.by_end.items():
            least: tuple[int, int] | None = None
            for c in choices:
                if c.peak_bytes <= limit and c.begin in best:
                    key = best[c.begin][0] + c.macs, c.peak_bytes
                    if least is None or key < least:
                        least = key
                        best[node] = key[0], c
        at = self.last
        if at is None or at not in best:
            return None
        path: list[Choice] = []
        while at is not None:
            step = best[at][1]
            assert step is not None
            path.append(step)
            at = step.begin
        return path[::-1]

    def measured(self, path: Sequence[Choice], peaks: Sequence[int]) -> None:
        """Says what the choices of a path really need."""
        for choice, peak in zip(path, peaks, strict=True):
            among = self.by_end[choice.end]
            at = next(k for k, c in enumerate(among) if c is choice)
            among[at] = replace(choice, peak_bytes=peak, measured=True)
