"""Interleaving: the order of row steps whose peak of live bytes is least (docs/adr/0001-row-scheduler.md).

The state is the number of steps that each maker has done. `_Search.within` decides whether some order stays within a
number of bytes: depth first over the states, each once. A step that fits and does not raise the live bytes is taken at
once, which never hurts because live bytes are submodular over the states. Where the answer is no, the least of the
peaks that were refused on the way bounds every order from below. Halving the distance between that bound and the best
order known ends at the least peak there is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter

from tinycompile.schedule.live_rows import LiveRows
from tinycompile.schedule.row_model import RowModel

FEW_STATES = 500  # not worth another decision
NEVER = 1 << 62


@dataclass(frozen=True)
class Interleaving:
    """`sequence`: the maker of each step. `peak_bytes`: live bytes at its peak. `states`: how many were expanded.

    No order of row steps has a peak below `bound_bytes`.
    """

    sequence: tuple[int, ...]
    peak_bytes: int
    bound_bytes: int
    states: int


def exact_interleaving(model: RowModel, max_states: int, upper: int | None = None) -> Interleaving:
    """The best order that `max_states` expanded find, and the bound that they prove; no sequence where none is found.

    `upper`: orders whose peak reaches it are of no interest.
    """
    search = _Search(model)
    low, best = search.entry_bytes, Interleaving((), 0, 0, 0)
    high = limit = NEVER if upper is None else upper
    spent = 0
    while low < limit and max_states - spent > (FEW_STATES if spent else 0):
        # An answer that is not found says nothing, so half of what is left is kept for others.
        left = max_states - spent if spent == 0 and upper is None else (max_states - spent) // 2
        middle = limit - 1 if limit == NEVER else (low + limit - 1) // 2
        found = search.within(middle, left)
        spent += found.states
        if found.sequence is not None:
            best = Interleaving(found.sequence, found.bytes, 0, 0)
            high = limit = found.bytes
        elif found.proven:
            low = found.bytes
        else:
            limit = middle
    return Interleaving(best.sequence, best.peak_bytes, min(low, high), spent)


def gentle_interleaving(model: RowModel, peak_bytes: int, max_states: int) -> tuple[int, ...] | None:
    """An order within `peak_bytes` that keeps the peak low for as long as it can: every beginning of it has the least
    peak with which its end can be reached. What is left free helps to pack. None when `max_states` do not find it."""
    return _Search(model).gentle(peak_bytes, max_states)


@dataclass(frozen=True)
class _Answer:
    """`sequence` and the `bytes` at its peak, or None and the least peak refused: `proven` that no order has less."""

    sequence: tuple[int, ...] | None
    bytes: int
    proven: bool
    states: int


@dataclass
class _Frame:
    """A closed state on the way: `moves` not tried yet, and how many steps led to it."""

    state: bytes | tuple[int, ...]
    live: int
    ready: dict[int, tuple[int, int]]
    moves: Iterator[int]
    depth: int


class _Search:
    """What a step adds and changes depends on the steps of few makers, so it is looked up and computed only once."""

    def __init__(self, model: RowModel) -> None:
        self.rows = LiveRows(model)
        self.entry_bytes = max(self.rows.entry_bytes, self.rows.start_bytes)
        makers = range(len(model.makers))
        near = [self._near(m) for m in makers]
        self.key: list[Callable[[bytes | tuple[int, ...]], object]] = [itemgetter(*n) for n in near]
        self.known: list[dict[object, tuple[int, int] | None]] = [{} for _ in makers]
        self.affected = [[k for k in makers if m in near[k]] for m in makers]
        most = max(self.rows.goal, default=0)
        # Bytes hash and compare faster than tuples and take a tenth of the memory.
        self.count: list[bytes | tuple[int, ...]] = [bytes([u]) if most < 256 else (u,) for u in range(most + 1)]
        self.goal = bytes(self.rows.goal) if most < 256 else self.rows.goal

    def _near(self, m: int) -> list[int]:
        """Makers whose steps say whether maker `m` is ready, and what its step adds and frees."""
        model = self.rows.model
        found = {m}
        for v in self.rows.touches[m]:
            maker = model.values[v].maker
            found.update([] if maker is None else [maker])
            found.update(reader for reader, _ in model.readers[v])
        for needs in self.rows.needs[m]:
            found.update(other for other, _ in needs)
        return sorted(found)

    def _look(self, m: int, state: bytes | tuple[int, ...]) -> tuple[int, int] | None:
        """Bytes that the next step of maker `m` adds while it runs, and the change behind it; None: it must wait."""
        key, known = self.key[m](state), self.known[m]
        if key not in known:
            steps = tuple(state)
            known[key] = self.rows.step(m, steps)[:2] if self.rows.ready(m, steps) else None
        return known[key]

    def _take(
        self, m: int, state: bytes | tuple[int, ...], ready: dict[int, tuple[int, int]]
    ) -> bytes | tuple[int, ...]:
        """The state behind a step; brings `ready` up to date."""
        after = state[:m] + self.count[state[m] + 1] + state[m + 1 :]  # type: ignore[operator]
        for k in self.affected[m]:
            step = self._look(k, after)
            if step is not None:
                ready[k] = step
            else:
                ready.pop(k, None)
        return after

    def within(self, limit: int, max_states: int) -> _Answer:
        """Whether some order stays within `limit` bytes."""
        if self.entry_bytes > limit:
            return _Answer(None, self.entry_bytes, True, 0)
        taken: list[int] = []
        refused = NEVER
        start = self.goal[:0] + self.count[0] * len(self.goal)  # type: ignore[operator]
        ready = {m: step for m in range(len(start)) if (step := self._look(m, start)) is not None}
        state, live = self._close(start, self.rows.start_bytes, ready, limit, taken)
        stack = [_Frame(state, live, ready, iter(sorted(ready, reverse=True)), len(taken))]
        seen = {state}
        while stack:
            frame = stack[-1]
            if frame.state == self.goal:
                return _Answer(tuple(taken), self._peak(taken), True, len(seen))
            m = next(frame.moves, None)
            if m is None:
                stack.pop()
                continue
            adds, change = frame.ready[m]
            if frame.live + adds > limit:
                refused = min(refused, frame.live + adds)
                continue
            del taken[frame.depth :]
            taken.append(m)
            ready = dict(frame.ready)
            after = self._take(m, frame.state, ready)
            state, live = self._close(after, frame.live + change, ready, limit, taken)
            if state in seen:
                continue
            if len(seen) >= max_states:
                return _Answer(None, 0, False, len(seen))
            seen.add(state)
            stack.append(_Frame(state, live, ready, iter(sorted(ready, reverse=True)), len(taken)))
        return _Answer(None, refused, True, len(seen))

    def gentle(self, limit: int, max_states: int) -> tuple[int, ...] | None:
        """Best first, by the peak so far; among equals the one that has come furthest."""
        start = self.goal[:0] + self.count[0] * len(self.goal)  # type: ignore[operator]
        best = {start: self.entry_bytes}
        parents: dict[bytes | tuple[int, ...], tuple[bytes | tuple[int, ...], list[int]]] = {}
        heap = [(self.entry_bytes, 0, start, self.rows.start_bytes)]
        expanded: set[bytes | tuple[int, ...]] = set()
        while heap and len(expanded) < max_states:
            peak, _, state, live = heapq.heappop(heap)
            if state == self.goal:
                return _path(parents, start, state)
            if state in expanded:
                continue
            expanded.add(state)
            taken: list[int] = []
            ready = {m: step for m in range(len(state)) if (step := self._look(m, state)) is not None}
            after, then = self._close(state, live, ready, peak, taken)
            moves = [(peak, then, after, taken)]
            if not taken:
                moves = [
                    (max(peak, live + adds), live + change, self._take(m, state, dict(ready)), [m])
                    for m, (adds, change) in ready.items()
                ]
            for key, left, reached, steps in moves:
                if key <= limit and reached not in expanded and best.get(reached, key + 1) > key:
                    best[reached] = key
                    parents[reached] = state, steps
                    heapq.heappush(heap, (key, -sum(reached), reached, left))
        return None

    def _close(
        self,
        state: bytes | tuple[int, ...],
        live: int,
        ready: dict[int, tuple[int, int]],
        limit: int,
        taken: list[int],
    ) -> tuple[bytes | tuple[int, ...], int]:
        """Takes every step that fits and does not raise the live bytes. What does not fit is refused by the frame."""
        again = True
        while again:
            again = False
            for m, (adds, change) in ready.items():
                if change <= 0 and live + adds <= limit:
                    state = self._take(m, state, ready)
                    live += change
                    taken.append(m)
                    again = True
                    break
        return state, live

    def _peak(self, sequence: list[int]) -> int:
        state, live, peak = self.rows.start, self.rows.start_bytes, self.entry_bytes
        for m in sequence:
            adds, change, state = self.rows.step(m, state)
            peak, live = max(peak, live + adds), live + change
        return peak


def _path(
    parents: dict[bytes | tuple[int, ...], tuple[bytes | tuple[int, ...], list[int]]],
    start: bytes | tuple[int, ...],
    state: bytes | tuple[int, ...],
) -> tuple[int, ...]:
    pieces = []
    while state != start:
        state, taken = parents[state]
        pieces.append(taken)
    return tuple(m for piece in reversed(pieces) for m in piece)
