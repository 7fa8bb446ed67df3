"""The order of a row program as a table: function and number of rows, in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinycompile.ir.graph import Array
from tinycompile.ir.plan import Plan, Pop, Push, Step
from tinycompile.ir.types import Region
from tinycompile.ops.registry import operator

_Maker = int | str | None


@dataclass(frozen=True)
class RowProgram:
    """`functions`: for each maker in the order in which they begin, the op and the region that all its steps make
    together; None is the pushed input, which comes behind the ops, and a name is an output whose rows are popped, which
    comes last. `table`: pairs of a maker's number and rows, of the narrowest type that holds both."""

    functions: tuple[tuple[_Maker, Region], ...]
    table: Array
    most_rows: int

    @property
    def push(self) -> int | None:
        """The number that stands for a pushed row."""
        return next((k for k, (op, _) in enumerate(self.functions) if op is None), None)

    @property
    def pops(self) -> dict[str, int]:
        """The number that stands for a popped row, by output."""
        return {op: k for k, (op, _) in enumerate(self.functions) if isinstance(op, str)}


def row_program(plan: Plan) -> RowProgram:
    """Runs of consecutive rows become one pair; a pushed row is a pair by itself."""
    regions: dict[_Maker, Region] = {}
    runs: list[tuple[_Maker, int]] = []
    for step in plan.steps:
        maker, region = _maker(plan, step)
        before = regions.get(maker)
        regions[maker] = region if before is None else Region(before.y0, region.y1, before.x0, before.x1)
        if runs and runs[-1][0] == maker and maker is not None:
            runs[-1] = maker, runs[-1][1] + region.rows
        else:
            runs.append((maker, region.rows))
    makers: list[_Maker] = [m for m in regions if isinstance(m, int)] + [None] * (None in regions)
    makers += [m for m in regions if isinstance(m, str)]
    number = {maker: k for k, maker in enumerate(makers)}
    return RowProgram(
        tuple((maker, regions[maker]) for maker in makers),
        _table(number, runs, {m: _rows_per_call(plan, m) for m in makers}),
        max((r.rows for r in regions.values()), default=0),
    )


def _maker(plan: Plan, step: Step | Push | Pop) -> tuple[_Maker, Region]:
    if isinstance(step, Push):
        return None, Region(step.row, step.row + 1, 0, plan.tensor(step.tensor).form.width)
    if isinstance(step, Pop):
        return step.tensor, Region(step.row, step.row + 1, 0, plan.tensor(step.tensor).form.width)
    return step.op, step.region


def _rows_per_call(plan: Plan, maker: _Maker) -> int:
    if not isinstance(maker, int):
        return 1
    node = plan.graph.node(plan.ops[maker])
    return operator(node.op.kind).step_rows(node)


def _table(number: Mapping[_Maker, int], runs: list[tuple[_Maker, int]], each: Mapping[_Maker, int]) -> Array:
    wide = len(number) > 2**8 or sum(rows > 255 for _, rows in runs) > len(runs) // 4
    dtype = np.uint16 if wide else np.uint8
    most = int(np.iinfo(dtype).max)
    pairs: list[int] = []
    for maker, rows in runs:
        left, part = rows, most - most % each[maker]
        while left > 0:
            pairs += [number[maker], min(left, part)]
            left -= part
    return np.array(pairs, dtype=dtype)
