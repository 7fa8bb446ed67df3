"""Offsets: packing columns of (time x bytes) rectangles into the smallest arena.

First fit in several orders, then, only if that is above the bound, CP-SAT with one worker, a fixed seed and a deterministic
time limit, so that the same model gives the same addresses on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tinycompile.schedule.lifetimes import Column, Rectangle


@dataclass(frozen=True)
class Allocation:
    """Base address per column, and the arena they need."""

    bases: tuple[int, ...]
    arena_bytes: int
    method: str


def _align(value: int, align: int) -> int:
    return -(-value // align) * align


def _in_time(a: Rectangle, b: Rectangle) -> bool:
    return a.start <= b.end and b.start <= a.end


def _first_fit(columns: Sequence[Column], order: Sequence[int]) -> Allocation:
    """Each column, in the given order, at the lowest address where it touches no placed one."""
    bases = [0] * len(columns)
    placed: list[int] = []
    arena = 0
    for k in order:
        column = columns[k]
        # A rectangle of a placed column forbids an interval of base addresses.
        forbidden = sorted(
            (bases[p] - r.size_bytes, bases[p] + other.size_bytes)
            for p in placed
            for other in columns[p].rectangles
            for r in column.rectangles
            if r.size_bytes and other.size_bytes and _in_time(r, other)
        )
        base = 0
        for low, high in forbidden:
            if low < base < high:
                base = _align(high, column.align_bytes)
        bases[k] = base
        placed.append(k)
        arena = max(arena, base + column.size_bytes)
    return Allocation(tuple(bases), arena, "first fit")


def _orders(columns: Sequence[Column]) -> list[list[int]]:
    """Orders to try: by size, by area, by contention at the peak, by time."""

    def area(c: Column) -> int:
        return sum(r.size_bytes * (r.end - r.start + 1) for r in c.rectangles)

    def start(c: Column) -> int:
        return min(r.start for r in c.rectangles)

    def length(c: Column) -> int:
        return max(r.end for r in c.rectangles) - start(c)

    steps = max(r.end for c in columns for r in c.rectangles) + 1
    load = [0] * steps
    for c in columns:
        for r in c.rectangles:
            for t in range(r.start, r.end + 1):
                load[t] += r.size_bytes

    def contention(c: Column) -> int:
        return max(load[t] for r in c.rectangles for t in range(r.start, r.end + 1))

    keys: list[Callable[[Column], Any]] = [
        lambda c: -c.size_bytes,
        lambda c: -area(c),
        lambda c: (-contention(c), -c.size_bytes),
        lambda c: (-contention(c), -length(c), -c.size_bytes),
        lambda c: (-length(c), -c.size_bytes),
        start,
    ]
    indices = range(len(columns))
    return [sorted(indices, key=lambda k, key=key: (key(columns[k]), k)) for key in keys]  # type: ignore[misc]


def allocate(columns: Sequence[Column], bound_bytes: int, effort: float = 8.0) -> Allocation:
    """Addresses for all columns; `bound_bytes` is the live peak that none can beat. `effort` in deterministic seconds."""
    if not columns:
        return Allocation((), 0, "nothing to place")
    best = min((_first_fit(columns, order) for order in _orders(columns)), key=lambda a: a.arena_bytes)
    if best.arena_bytes <= bound_bytes:
        return best
    return _exact(columns, bound_bytes, best, effort)


def _exact(columns: Sequence[Column], bound_bytes: int, best: Allocation, effort: float) -> Allocation:
    """CP-SAT: two-dimensional no-overlap, time fixed, bytes free."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    arena = model.new_int_var(bound_bytes, best.arena_bytes, "arena")
    times, spans, bases = [], [], []
    for k, column in enumerate(columns):
        top = (best.arena_bytes - column.size_bytes) // column.align_bytes
        unit = model.new_int_var(0, top, f"base{k}")
        model.add_hint(unit, best.bases[k] // column.align_bytes)
        base = unit * column.align_bytes
        bases.append(base)
        for r in column.rectangles:
            if r.size_bytes:
                times.append(model.new_fixed_size_interval_var(r.start, r.end - r.start + 1, f"t{k}_{r.label}"))
                spans.append(model.new_interval_var(base, r.size_bytes, base + r.size_bytes, f"b{k}_{r.label}"))
        model.add(base + column.size_bytes <= arena)
    model.add_no_overlap_2d(times, spans)
    model.minimize(arena)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.max_deterministic_time = effort
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return best
    solved = tuple(int(solver.value(b)) for b in bases)
    size = max(b + c.size_bytes for b, c in zip(solved, columns, strict=True))
    return Allocation(solved, size, "CP-SAT") if size < best.arena_bytes else best
