"""Recompute: which parts of a network are computed twice for the sake of bytes, and the network that does so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinycompile.errors import InternalError, one_line
from tinycompile.ir.graph import Graph
from tinycompile.passes.fuse_bottlenecks import fuse_bottlenecks
from tinycompile.passes.tile_stage import Stage, tile_stage
from tinycompile.passes.verify_tiles import verify_tiles


@dataclass(frozen=True)
class Recompute:
    """`again`: inverted bottlenecks (by the tensor that they make) whose expanded rows are made again for every step,
    and how many rows one makes. `kept`: those that keep what they expand in a ring of pixels, so that nothing is made
    twice. `stages`: stages in tiles, whose borders are made twice; none overlaps another."""

    again: frozenset[tuple[str, int]] = field(default_factory=frozenset)
    stages: tuple[Stage, ...] = ()
    kept: frozenset[str] = field(default_factory=frozenset)

    def __bool__(self) -> bool:
        return bool(self.again or self.stages or self.kept)


@dataclass(frozen=True)
class Rewritten:
    """A network that computes some of it twice. `stops`: tensors to make whole in turn (``schedule.RowPlanner``).
    `part_of`: the tensor of the network, with bottlenecks fused, that each new tensor is part of."""

    graph: Graph
    stops: tuple[str, ...]
    part_of: Mapping[str, str]


def rewrite(graph: Graph, recompute: Recompute) -> Rewritten:
    """`graph` with the parts of `recompute` computed again, proven to be the same network."""
    graph = fuse_bottlenecks(graph, dict(recompute.again), recompute.kept)
    stops: list[str] = []
    part_of: dict[str, str] = {}
    for stage in recompute.stages:
        tiled = tile_stage(graph, stage)
        if tiled is None:
            raise InternalError(f"no stage from {stage.begin} to '{stage.end}'", "recompute", "report this bug")
        verify_tiles(graph, tiled)
        graph = tiled.graph
        stops += tiled.stops
        part_of |= {name: of for name, (of, _) in tiled.regions.items()}
    return Rewritten(graph, tuple(stops), part_of)


def describe(recompute: Recompute, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """In words, for reports."""
    parts = [
        f"{s.rows}x{s.columns} tiles up to {'x'.join(map(str, shapes[s.end][1:]))} '{one_line(s.end, 40)}'"
        for s in recompute.stages
    ]
    every = [rows if rows < shapes[name][1] else 0 for name, rows in recompute.again]
    for rows in sorted(set(every)):
        again = f"expanded again for every {'row' if rows == 1 else f'{rows} rows'}" if rows else "in one step"
        parts.append(f"{_count(every.count(rows))} {again}")
    if recompute.kept:
        parts.append(f"{_count(len(recompute.kept))} in rings of pixels")
    return "; ".join(parts) or "nothing twice"


def _count(blocks: int) -> str:
    return f"{blocks} bottleneck{'s' if blocks > 1 else ''}"
