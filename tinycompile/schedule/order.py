"""Operator order of least peak, whole buffers.

The live bytes after a set of ops has run do not depend on their order, so orders are paths through sets of executed ops
and the least peak is a minimax shortest path (best first). Small graphs are searched completely; wide ones by a beam, and
then the bound is only that of each op by itself.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from tinycompile.schedule.storage import Storage

MAX_STATES = 60_000
BEAM = 400


@dataclass(frozen=True)
class Order:
    """`sequence`: indices of works. `peak_bytes`: most live bytes at any step. `exact`: no order has a lower peak."""

    sequence: tuple[int, ...]
    peak_bytes: int
    exact: bool
    lower_bound_bytes: int


class _Model:
    """Bit masks: what each group waits for, what each work needs."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        works = storage.works
        self.sizes = [g.size_bytes for g in storage.groups]
        self.readers = [0] * len(self.sizes)
        self.writers = [0] * len(self.sizes)
        for k, work in enumerate(works):
            self.writers[work.writes] |= 1 << k
            for g in work.reads:
                self.readers[g] |= 1 << k
        # A work waits for every op that writes what it reads, and for those that read what it would overwrite: none,
        # since groups are written by their own producers only.
        self.needs = [0] * len(works)
        for k, work in enumerate(works):
            for g in work.reads:
                self.needs[k] |= self.writers[g] & ~(1 << k)
        self.start_bytes = sum(self.sizes[g] for g in storage.inputs)
        self.all = (1 << len(works)) - 1

    def dies(self, group: int, done: int) -> bool:
        """Whether nothing reads or writes the group any more once the works of mask `done` have run."""
        return group not in self.storage.outputs and not (self.readers[group] | self.writers[group]) & ~done

    def run(self, work: int, done: int, live: int) -> tuple[int, int, int]:
        """(mask, live bytes after, bytes at this step) of running a work."""
        w = self.storage.works[work]
        after = done | 1 << work
        dying = [g for g in w.reads if self.dies(g, after)]
        fresh = 0
        if not self.writers[w.writes] & done and w.writes not in self.storage.inputs:
            fresh = self.sizes[w.writes]
        saved = max((min(fresh, self.sizes[g]) for g in w.in_place if g in dying), default=0)
        peak = live + fresh - saved + w.scratch_bytes
        live = live + fresh - sum(self.sizes[g] for g in dying)
        if self.dies(w.writes, after) and w.writes not in dying:
            live -= self.sizes[w.writes]  # a result that nobody reads
        return after, live, peak

    def ready(self, done: int) -> list[int]:
        return [k for k, need in enumerate(self.needs) if not done >> k & 1 and need & ~done == 0]

    def start(self) -> int:
        """Live bytes before the first step: all inputs, read later or not."""
        return self.start_bytes

    def alone(self) -> int:
        """A bound that holds for every order: the start, and each work's own reads and result."""
        bound = self.start_bytes
        for w in self.storage.works:
            fresh = 0 if w.writes in self.storage.inputs or w.writes in w.reads else self.sizes[w.writes]
            saved = max((min(fresh, self.sizes[g]) for g in w.in_place), default=0)
            bound = max(bound, sum(self.sizes[g] for g in w.reads) + fresh - saved + w.scratch_bytes)
        return bound


def least_peak_order(storage: Storage) -> Order:
    """The order of least peak; among equals the one closest to the file's."""
    model = _Model(storage)
    if not storage.works:
        return Order((), model.start(), True, model.start())
    best: dict[int, int] = {0: model.start()}
    came: dict[int, tuple[int, int]] = {}
    queue: list[tuple[int, int, int, int]] = [(model.start(), len(storage.works), 0, model.start())]
    closed: set[int] = set()
    while queue:
        peak, left, done, live = heapq.heappop(queue)
        if done in closed:
            continue
        closed.add(done)
        if done == model.all:
            return Order(_path(came, done), peak, True, peak)
        if len(closed) > MAX_STATES:
            return _beam(model)
        for k in model.ready(done):
            mask, after, at_step = model.run(k, done, live)
            reached = max(peak, at_step)
            if reached < best.get(mask, 1 << 62):
                best[mask] = reached
                came[mask] = done, k
                heapq.heappush(queue, (reached, left - 1, mask, after))
    raise AssertionError("a graph in topological order always has a next op")


def _path(came: dict[int, tuple[int, int]], done: int) -> tuple[int, ...]:
    sequence: list[int] = []
    while done:
        done, work = came[done]
        sequence.append(work)
    return tuple(reversed(sequence))


def _beam(model: _Model) -> Order:
    """The best of a bounded number of partial orders per depth."""
    states: list[tuple[int, int, int, tuple[int, ...]]] = [(model.start(), model.start(), 0, ())]
    for _ in model.storage.works:
        found: dict[int, tuple[int, int, int, tuple[int, ...]]] = {}
        for peak, live, done, sequence in states:
            for k in model.ready(done):
                mask, after, at_step = model.run(k, done, live)
                state = (max(peak, at_step), after, mask, (*sequence, k))
                if mask not in found or state < found[mask]:
                    found[mask] = state
        states = sorted(found.values())[:BEAM]
    peak, _, _, sequence = states[0]
    bound = model.alone()
    return Order(sequence, peak, peak == bound, bound)
