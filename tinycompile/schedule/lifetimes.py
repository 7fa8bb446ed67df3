"""From an order to rectangles: which bytes are needed at which steps, and who may lie on whom."""

from __future__ import annotations

from dataclasses import dataclass

from tinycompile.schedule.order import Order
from tinycompile.schedule.storage import Storage


@dataclass(frozen=True)
class Rectangle:
    """`size_bytes` during steps [start, end]; `label` is a group index, or -1 - k for the scratch of step k."""

    label: int
    start: int
    end: int
    size_bytes: int
    align_bytes: int


@dataclass(frozen=True)
class Column:
    """Rectangles that share one base address: a buffer, then the one written in place over it, and so on.

    They overlap in time by no step: the step that writes in place belongs to whichever of the two is larger.
    """

    rectangles: tuple[Rectangle, ...]

    @property
    def align_bytes(self) -> int:
        return max(r.align_bytes for r in self.rectangles)

    @property
    def size_bytes(self) -> int:
        return max(r.size_bytes for r in self.rectangles)


@dataclass(frozen=True)
class Lifetimes:
    """Columns to pack; per step the live labels and bytes."""

    columns: tuple[Column, ...]
    live: tuple[tuple[int, ...], ...]
    live_bytes: tuple[int, ...]


def find_lifetimes(storage: Storage, order: Order) -> Lifetimes:
    """Rectangles of every group and scratch under `order`, with in-place writes chosen to save the most."""
    steps = max(len(order.sequence), 1)
    first = {g: 0 for g in storage.inputs}
    last = {g: 0 for g in storage.inputs}
    for t, k in enumerate(order.sequence):
        work = storage.works[k]
        first.setdefault(work.writes, t)
        last[work.writes] = t
        for g in work.reads:
            last[g] = t
    for g in storage.outputs:
        last[g] = steps - 1
    above: dict[int, int] = {}  # group -> the group it is written over
    for t, k in enumerate(order.sequence):
        work = storage.works[k]
        out = work.writes
        if first[out] != t or out in storage.inputs:
            continue
        dying = [g for g in work.in_place if last[g] == t and g not in storage.outputs and g != out]
        if dying:
            size = storage.groups[out].size_bytes
            above[out] = max(dying, key=lambda g: (min(size, storage.groups[g].size_bytes), -g))
    start, end = dict(first), dict(last)
    for out, under in above.items():
        # At the step that writes in place both begin at one address: only the larger counts there.
        if storage.groups[out].size_bytes > storage.groups[under].size_bytes:
            end[under] = first[out] - 1
        else:
            start[out] = first[out] + 1
    columns: list[Column] = []
    follows = {under: out for out, under in above.items()}
    for g in sorted(first):
        if g in above:
            continue
        chain: list[Rectangle] = []
        at: int | None = g
        while at is not None:
            group = storage.groups[at]
            if start[at] <= end[at]:
                chain.append(Rectangle(at, start[at], end[at], group.size_bytes, group.align_bytes))
            else:
                chain.append(Rectangle(at, end[at], end[at], 0, group.align_bytes))
            at = follows.get(at)
        columns.append(Column(tuple(chain)))
    for t, k in enumerate(order.sequence):
        if storage.works[k].scratch_bytes:
            columns.append(Column((Rectangle(-1 - t, t, t, storage.works[k].scratch_bytes, 4),)))
    live: list[list[int]] = [[] for _ in range(steps)]
    totals = [0] * steps
    for column in columns:
        for r in column.rectangles:
            for t in range(r.start, r.end + 1):
                if r.size_bytes:
                    live[t].append(r.label)
                    totals[t] += r.size_bytes
    return Lifetimes(tuple(columns), tuple(tuple(sorted(x)) for x in live), tuple(totals))
