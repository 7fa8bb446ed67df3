"""Addresses: packs blocks into the least arena.

Contention-ordered first fit, and other orderings of it, usually meet the live bytes. Where none does, CP-SAT packs
exactly (rectangles may not overlap; fixed seed, one worker, a deterministic limit: equal inputs give equal plans).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from tinycompile.schedule.blocks import Block

MAX_EXACT_RECTANGLES = 1500


@dataclass(frozen=True)
class Packing:
    """`bases`: byte offset of each block. `method`: what found it. `least`: proven least for these blocks."""

    bases: tuple[int, ...]
    arena_bytes: int
    method: str
    least: bool = False


def _height(blocks: Sequence[Block], bases: Sequence[int]) -> int:
    return max((base + block.size for block, base in zip(blocks, bases, strict=True)), default=0)


def _first_fit(blocks: Sequence[Block], order: Sequence[int]) -> tuple[int, ...]:
    """Each block in turn at the lowest aligned base where it overlaps none before it."""
    bases: dict[int, int] = {}
    placed = np.zeros((sum(len(b.outline) for b in blocks), 4), dtype=np.int64)  # first, last, low, high
    count = 0
    for k in order:
        block, base = blocks[k], 0
        taken: list[tuple[int, int]] = []  # bases strictly between the two are not possible
        for r in block.outline:
            known = placed[:count]
            clash = known[(known[:, 0] <= r.last) & (known[:, 1] >= r.first)]
            taken += zip((clash[:, 2] - r.high).tolist(), (clash[:, 3] - r.low).tolist(), strict=True)
        for low, high in sorted(taken):
            if low < base < high:
                base = -(-high // block.align) * block.align
        bases[k] = base
        for r in block.outline:
            placed[count] = r.first, r.last, base + r.low, base + r.high
            count += 1
    return tuple(bases[k] for k in range(len(blocks)))


def greedy(blocks: Sequence[Block], bound_bytes: int) -> Packing:
    """The best of several first-fit orderings; stops at the first that meets `bound_bytes`."""
    times = range(max((r.last for b in blocks for r in b.outline), default=0) + 1)
    live = [0] * len(times)
    for b in blocks:
        for r in b.outline:
            for t in range(r.first, r.last + 1):
                live[t] += r.high - r.low

    def contention(k: int) -> int:
        return max(live[t] for r in blocks[k].outline for t in range(r.first, r.last + 1))

    def area(k: int) -> int:
        return sum((r.high - r.low) * (r.last - r.first + 1) for r in blocks[k].outline)

    contentions = [contention(k) for k in range(len(blocks))]
    keys: tuple[tuple[str, Callable[[int], tuple[int, ...]]], ...] = (
        ("contention, then size", lambda k: (-contentions[k], -blocks[k].size, k)),
        ("contention, then area", lambda k: (-contentions[k], -area(k), k)),
        ("contention, then time", lambda k: (-contentions[k], blocks[k].outline[0].first, k)),
        ("size", lambda k: (-blocks[k].size, k)),
        ("area", lambda k: (-area(k), k)),
        ("time", lambda k: (blocks[k].outline[0].first, -blocks[k].size, k)),
    )
    best: Packing | None = None
    for name, key in keys:
        bases = _first_fit(blocks, sorted(range(len(blocks)), key=key))
        packing = Packing(bases, _height(blocks, bases), f"first fit by {name}")
        if best is None or packing.arena_bytes < best.arena_bytes:
            best = packing
        if best.arena_bytes <= bound_bytes:
            break
    assert best is not None
    return best


def exact(blocks: Sequence[Block], start: Packing, bound_bytes: int, limit: float) -> Packing:
    """The least packing that CP-SAT finds within `limit` units of deterministic time, never worse than `start`."""
    if sum(len(b.outline) for b in blocks) > MAX_EXACT_RECTANGLES:
        return start
    from ortools.sat.python import cp_model  # slow to import, and seldom needed

    model = cp_model.CpModel()
    arena = model.new_int_var(bound_bytes, start.arena_bytes, "arena")
    spans, sides = [], []
    bases = []
    for k, block in enumerate(blocks):
        unit = model.new_int_var(0, (start.arena_bytes - block.size) // block.align, f"base{k}")
        model.add_hint(unit, start.bases[k] // block.align)
        bases.append(unit)
        model.add(unit * block.align + block.size <= arena)
        for r in block.outline:
            spans.append(model.new_fixed_size_interval_var(r.first, r.last + 1 - r.first, ""))
            sides.append(model.new_fixed_size_interval_var(unit * block.align + r.low, r.high - r.low, ""))
    model.add_no_overlap_2d(spans, sides)
    model.minimize(arena)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.max_deterministic_time = limit
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return start
    found = tuple(int(solver.value(u)) * b.align for u, b in zip(bases, blocks, strict=True))
    height = _height(blocks, found)
    least = status == cp_model.OPTIMAL
    method = f"CP-SAT, {'proven least for this order' if least else 'time limit reached'}"
    return Packing(found, height, method, least) if height <= start.arena_bytes else start


@dataclass(frozen=True)
class Fit:
    """`bases`: None if none were found; `impossible` says that there are none. `spent`: deterministic time."""

    bases: tuple[int, ...] | None
    impossible: bool
    spent: float


def fit(blocks: Sequence[Block], height: int, limit: float, seed: int = 1) -> Fit:
    """Bases with all blocks below `height` bytes, by CP-SAT within `limit` units of deterministic time.

    A packing into a given height is found sooner than the least height. Offsets are multiples of the greatest common
    divisor of all sizes, which loses nothing: blocks pushed down until they rest on one another lie so.
    """
    from ortools.sat.python import cp_model  # slow to import, and seldom needed

    if any(block.size > height for block in blocks):
        return Fit(None, True, 0.0)
    ends = [n for b in blocks for r in b.outline for n in (r.low, r.high)]
    unit = gcd(*ends, *(b.align for b in blocks if b.align > 1))
    model = cp_model.CpModel()
    bases, spans, sides, widths = [], [], [], []
    for k, block in enumerate(blocks):
        align = max(block.align // unit, 1)
        base = model.new_int_var(0, (height - block.size) // (unit * align), f"base{k}")
        bases.append((base, align * unit))
        for r in block.outline:
            width = (r.high - r.low) // unit
            spans.append(model.new_fixed_size_interval_var(r.first, r.last + 1 - r.first, ""))
            sides.append(model.new_fixed_size_interval_var(base * align + r.low // unit, width, ""))
            widths.append(width)
    model.add_no_overlap_2d(spans, sides)
    model.add_cumulative(spans, widths, height // unit)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = limit
    status = solver.solve(model)
    spent = solver.response_proto.deterministic_time
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Fit(None, status == cp_model.INFEASIBLE, spent)
    return Fit(tuple(int(solver.value(base)) * step for base, step in bases), False, spent)
