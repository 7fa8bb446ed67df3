"""Which plan to make for a goal: whole buffers where they do, else a row program."""

from __future__ import annotations

from dataclasses import dataclass

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode
from tinycompile.ir.plan import Plan
from tinycompile.target import Target

UNLIMITED = 1 << 40


@dataclass(frozen=True)
class Goal:
    """What the plan is to be: of least arena (`minimize_sram`), or else of the fewest kernel calls that fits.

    `sram_bytes`: arena and stack together; None: what the target has. `effort`: 1 and up, more search.
    """

    input_mode: InputMode = InputMode.RESIDENT
    minimize_sram: bool = False
    sram_bytes: int | None = None
    effort: int = 1


def choose_plan(graph: Graph, target: Target, prefix: str, goal: Goal) -> Plan:
    """The plan of fewest calls that fits, or the one of least arena. Not yet verified."""
    from tinycompile.codegen.c import stack_estimate_bytes
    from tinycompile.passes.stream_reductions import stream_reductions
    from tinycompile.schedule import RowPlanner, plan_graph

    sram = goal.sram_bytes if goal.sram_bytes is not None else target.sram_bytes
    whole = None
    if goal.input_mode is InputMode.RESIDENT:
        whole = plan_graph(graph, target, prefix=prefix)
        if not goal.minimize_sram and (sram is None or whole.arena_bytes + stack_estimate_bytes(whole) <= sram):
            return whole
    planner = RowPlanner(
        stream_reductions(graph), target, prefix=prefix, input_mode=goal.input_mode, effort=goal.effort
    )
    least = planner.plan()
    if goal.minimize_sram:
        return whole if whole is not None and whole.arena_bytes <= least.arena_bytes else least
    return planner.plan(max((sram or UNLIMITED) - stack_estimate_bytes(least), 0))
