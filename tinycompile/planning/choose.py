"""`choose_plan`: the plan for a goal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tinycompile.codegen.c import stack_estimate_bytes
from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.plan import Plan
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.planning.advice import recomputed_layers
from tinycompile.planning.frontier import Point, frontier
from tinycompile.planning.goal import Goal
from tinycompile.planning.patches import pinned
from tinycompile.planning.recompute import Recompute, describe, rewrite
from tinycompile.schedule import RowPlanner, plan_graph
from tinycompile.schedule.assembly import network_macs
from tinycompile.target import Target

UNLIMITED = 1 << 40
APART = 0.93  # of the frontier, points that save less than this part of the bytes of the one before are left out


def choose_plan(graph: Graph, target: Target, prefix: str, goal: Goal) -> Plan:
    """The fastest plan that fits, or the one of least arena. Not yet verified.

    In the order of their cost: whole buffers; rows in turn, in the longest runs that fit; then what computes least
    twice. Where nothing fits, the plan of least arena that was found.
    """
    return Chooser(graph, target, prefix, goal).plan()


class Chooser:
    """Plans of one graph for one goal."""

    def __init__(self, graph: Graph, target: Target, prefix: str, goal: Goal) -> None:
        self.graph, self.target, self.prefix, self.goal = graph, target, prefix, goal
        self.streamed = stream_reductions(graph)
        # Only row programs take rows from the caller or give them one by one.
        self.whole_buffers = goal.input_mode is InputMode.RESIDENT and goal.output_mode is OutputMode.RESIDENT
        self.sram = goal.sram_bytes if goal.sram_bytes is not None else target.sram_bytes

    def plan(self) -> Plan:
        goal = self.goal
        if goal.patches is not None:
            return self.recomputing(pinned(self.streamed, goal.patches, goal.input_mode, goal.output_mode))
        whole = None
        if self.whole_buffers:
            whole = plan_graph(self.graph, self.target, prefix=self.prefix)
            if not goal.minimize_sram and self._fits(whole):
                return whole
        planner = self._planner(self.streamed)
        least = planner.plan()
        if not goal.minimize_sram and self._fits(least):
            return planner.plan(self._arena_limit(least))
        found = [least] if whole is None else [whole, least]
        found += self._less(least)
        if goal.minimize_sram:
            return min(found, key=lambda p: p.arena_bytes)
        return next((p for p in found if self._fits(p)), min(found, key=lambda p: p.arena_bytes))

    def _less(self, least: Plan) -> list[Plan]:
        """Plans that fuse bottlenecks or compute some of the network twice, and need less arena: those of least arena,
        or the first that fits."""
        goal = self.goal
        points = [p for p in self.points(least) if p.how and p.peak_bytes < least.arena_bytes]
        if goal.minimize_sram:
            return [self.recomputing(p.how) for p in points[-goal.effort :]]
        found: list[Plan] = []
        for point in points:
            if self.sram is not None and point.peak_bytes > self.sram:
                continue
            found.append(self.recomputing(point.how))
            if self._fits(found[-1]):
                break
        return found

    def points(self, least: Plan) -> list[Point]:
        """The estimated frontier below a plan that computes nothing twice."""
        goal = self.goal
        ceiling = least.certificate.schedule_bound_bytes
        return frontier(self.streamed, goal.input_mode, ceiling, goal.max_recompute, goal.output_mode)

    def frontier_plans(self, tell: Callable[[str], None] = lambda _: None) -> Iterator[Plan]:
        """Plans along the frontier: whole buffers, the row program of least arena, and those that compute some of the
        network twice, of falling arena. `tell` hears what is being planned."""
        if self.whole_buffers:
            tell("whole buffers")
            yield plan_graph(self.graph, self.target, prefix=self.prefix)
        tell("rows in turn, nothing computed twice")
        least = self._planner(self.streamed).plan()
        yield least
        tell("which parts to compute twice")
        chosen = _spread([p for p in self.points(least) if p.how and p.peak_bytes < least.arena_bytes])
        for k, point in enumerate(chosen, 1):
            tell(f"{k} of {len(chosen)}: {point.peak_bytes:,} bytes at {point.recompute:.3f} times the MACs")
            yield self.recomputing(point.how)

    def recomputing(self, how: Recompute) -> Plan:
        """The plan of least arena that computes again what `how` says; of the fewest kernel calls that fit, where that
        is the goal."""
        again = rewrite(self.streamed, how)
        planner = RowPlanner(
            again.graph,
            self.target,
            prefix=self.prefix,
            input_mode=self.goal.input_mode,
            output_mode=self.goal.output_mode,
            effort=self.goal.effort - 1,  # there are several to plan
            stops=again.stops,
        )
        plan = planner.plan()
        if not self.goal.minimize_sram and self._fits(plan):
            plan = planner.plan(self._arena_limit(plan))
        shapes = {name: t.shape for name, t in self.streamed.tensors.items()}
        space = f"row steps, with {describe(how, shapes)}"
        certificate = replace(plan.certificate, space=space)
        layers = recomputed_layers(self.streamed, how)
        return replace(plan, network_macs=network_macs(self.graph), certificate=certificate, recomputed=layers)

    def _planner(self, graph: Graph) -> RowPlanner:
        goal = self.goal
        return RowPlanner(
            graph,
            self.target,
            prefix=self.prefix,
            input_mode=goal.input_mode,
            output_mode=goal.output_mode,
            effort=goal.effort,
        )

    def _fits(self, plan: Plan) -> bool:
        return self.sram is None or plan.arena_bytes + stack_estimate_bytes(plan) <= self.sram

    def _arena_limit(self, plan: Plan) -> int:
        return max((self.sram if self.sram is not None else UNLIMITED) - stack_estimate_bytes(plan), 0)


def _spread(points: Sequence[Point]) -> list[Point]:
    """Points that differ by more than a few percent of their bytes, and the last."""
    chosen: list[Point] = []
    for point in points:
        if not chosen or point.peak_bytes <= APART * chosen[-1].peak_bytes:
            chosen.append(point)
    return [*chosen, points[-1]] if points and chosen[-1] is not points[-1] else chosen
