"""`choose_plan`: the plan for a goal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from tinycompile.codegen.c import stack_estimate_bytes
from tinycompile.errors import UsageError
from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.plan import ModelBound, Plan
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.planning.advice import recomputed_layers
from tinycompile.planning.frontier import Point, frontier
from tinycompile.planning.goal import Goal
from tinycompile.planning.model_bound import METHOD, ModelBounds
from tinycompile.planning.patches import pinned
from tinycompile.planning.recompute import Recompute, describe, rewrite
from tinycompile.schedule import RowPlanner, plan_graph
from tinycompile.schedule.assembly import network_macs
from tinycompile.target import Target
from tinycompile.watch import Watch

UNLIMITED = 1 << 40
PACKED = 1.04  # arena over live bytes that may be expected
ONCE = "rows in turn, nothing computed twice"
APART = 0.93  # of the frontier, points that save less than this part of the bytes of the one before are left out


def choose_plan(graph: Graph, target: Target, prefix: str, goal: Goal, watch: Watch | None = None) -> Plan:
    """The fastest plan that fits, or the one of least arena. Not yet verified.

    In the order of their cost: whole buffers; rows in turn, in the longest runs that fit; then what computes least
    twice. Where nothing fits, the plan of least arena that was found. When `watch` ends the search, the best until
    then.
    """
    return Chooser(graph, target, prefix, goal, watch).plan()


class Chooser:
    """Plans of one graph for one goal."""

    def __init__(self, graph: Graph, target: Target, prefix: str, goal: Goal, watch: Watch | None = None) -> None:
        by_row = goal.input_mode is InputMode.STREAMED or goal.output_mode is OutputMode.STREAMED
        if graph.states and by_row:
            raise UsageError(
                "what a network keeps between inferences is read and written whole",
                "--input or --results streamed",
                "use --input external",
            )
        self.graph, self.target, self.prefix, self.goal = graph, target, prefix, goal
        self.watch = watch or Watch()
        self.streamed = stream_reductions(graph)
        # Only row programs take rows from the caller or give them one by one.
        self.whole_buffers = goal.input_mode is InputMode.RESIDENT and goal.output_mode is OutputMode.RESIDENT
        self.sram = goal.sram_bytes if goal.sram_bytes is not None else target.sram_bytes
        self.known = 0  # a bound on all orders of rows, nothing computed twice
        self.bounded: dict[float, int] = {}  # by limit of recompute
        self.whole: Plan | None = None

    @cached_property
    def bounds(self) -> ModelBounds:
        return ModelBounds(self.streamed, self.goal.input_mode, self.goal.output_mode)

    def plan(self) -> Plan:
        goal = self.goal
        plan = self._plan()
        if goal.patches is not None or (plan is self.whole and not goal.minimize_sram):
            return plan
        return self._bounded(plan, goal.max_recompute)

    def _bounded(self, plan: Plan, max_recompute: float) -> Plan:
        """A plan with the bound of the model at a limit that it keeps; without where the watch has ended the search."""
        if self.watch.over():
            return plan
        self.watch.part("a bound for the model")
        nbytes = self.bounds.at(max_recompute, plan.arena_bytes, self.known, self.goal.effort, self.watch)
        if self.whole is not None:  # means are not running sums there
            nbytes = min(nbytes, self.whole.certificate.lower_bound_bytes)
        self.bounded[max_recompute] = max(nbytes, self.bounded.get(max_recompute, 0))
        nbytes = max(n for limit, n in self.bounded.items() if limit >= max_recompute)  # they hold for less, too
        bound = ModelBound(nbytes, max_recompute, METHOD)
        return replace(plan, certificate=replace(plan.certificate, model=bound))

    def _plan(self) -> Plan:
        goal = self.goal
        if goal.patches is not None:
            return self.recomputing(pinned(self.streamed, goal.patches, goal.input_mode, goal.output_mode))
        if self.whole_buffers:
            self.whole = plan_graph(self.graph, self.target, prefix=self.prefix)
            if not goal.minimize_sram and self._fits(self.whole):
                return self.whole
        self.watch.part(ONCE)
        planner = self._planner(self.streamed)
        if goal.minimize_sram:
            return self._least(planner)
        least = self._once(planner)
        if self._fits(least):
            return planner.plan(self._arena_limit(least))
        found = [least] if self.whole is None else [self.whole, least]
        found += self._less(least)
        return next((p for p in found if self._fits(p)), min(found, key=lambda p: p.arena_bytes))

    def _least(self, planner: RowPlanner) -> Plan:
        """The plan of least arena. `planner`, which computes nothing twice, makes one only where no other has less
        arena than it needs live bytes: that it does is soon known."""
        peak = planner.peak_at_most()
        points = [p for p in self.points(peak - 1) if p.how]
        found = [] if self.whole is None else [self.whole]
        again: list[Plan] = []
        for k, point in enumerate(points[: -self.goal.effort - 2 : -1]):
            least = min((p.arena_bytes for p in (*found, *again)), default=peak)
            if (found or again) and self.watch.over():
                break
            if k == self.goal.effort and point.peak_bytes * PACKED >= least:
                break  # one more only where the last ones packed badly
            self.watch.part(_words(point))
            again.append(self.recomputing(point.how))
        self.watch.part(ONCE)
        if not again or planner.below(min(p.arena_bytes for p in (*found, *again)) + 1):
            found.append(self._once(planner))
        return min((*found, *again), key=lambda p: p.arena_bytes)

    def _once(self, planner: RowPlanner) -> Plan:
        """The plan that computes nothing twice."""
        plan = planner.plan()
        self.known = plan.certificate.lower_bound_bytes
        return plan

    def _less(self, least: Plan) -> list[Plan]:
        """Plans that fuse bottlenecks or compute some of the network twice, and need less arena, up to the first that
        fits."""
        found: list[Plan] = []
        for point in self.points(least.certificate.schedule_bound_bytes):
            if not point.how or point.peak_bytes >= least.arena_bytes:
                continue
            if self.sram is not None and point.peak_bytes > self.sram:
                continue
            if self.watch.over():
                break
            self.watch.part(_words(point))
            found.append(self.recomputing(point.how))
            if self._fits(found[-1]):
                break
        return found

    def points(self, ceiling_bytes: int) -> list[Point]:
        """The estimated frontier below the live bytes of a plan that computes nothing twice."""
        self.watch.part("which parts to compute twice")
        goal = self.goal
        return frontier(self.streamed, goal.input_mode, ceiling_bytes, goal.max_recompute, self.watch, goal.output_mode)

    def frontier_plans(self) -> Iterator[Plan]:
        """Plans along the frontier: whole buffers, the row program of least arena, and those that compute some of the
        network twice, of falling arena, until the watch ends it."""
        self.watch.part("whole buffers")
        if self.whole_buffers:
            self.whole = plan_graph(self.graph, self.target, prefix=self.prefix)
        self.watch.part(ONCE)
        least = self._once(self._planner(self.streamed))
        yield from (self._bounded(p, 1.0) for p in (self.whole, least) if p is not None)
        points = self.points(least.certificate.schedule_bound_bytes)
        chosen = _spread([p for p in points if p.how and p.peak_bytes < least.arena_bytes])
        for k, point in enumerate(chosen, 1):
            if self.watch.over():
                break
            self.watch.part(f"{k} of {len(chosen)}: {_words(point)}")
            plan = self.recomputing(point.how)
            yield self._bounded(plan, max(network_macs(plan.graph) / max(network_macs(self.streamed), 1), 1.0))

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
            watch=self.watch,
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
            watch=self.watch,
        )

    def _fits(self, plan: Plan) -> bool:
        return self.sram is None or plan.arena_bytes + _beside_bytes(plan) <= self.sram

    def _arena_limit(self, plan: Plan) -> int:
        return max((self.sram if self.sram is not None else UNLIMITED) - _beside_bytes(plan), 0)


def _beside_bytes(plan: Plan) -> int:
    """SRAM of one inference that is not in the arena."""
    return stack_estimate_bytes(plan) + plan.interface.state_bytes


def _words(point: Point) -> str:
    return f"{point.peak_bytes:,} bytes at {point.recompute:.3f} times the MACs"


def _spread(points: Sequence[Point]) -> list[Point]:
    """Points that differ by more than a few percent of their bytes, and the last."""
    chosen: list[Point] = []
    for point in points:
        if not chosen or point.peak_bytes <= APART * chosen[-1].peak_bytes:
            chosen.append(point)
    return [*chosen, points[-1]] if points and chosen[-1] is not points[-1] else chosen
