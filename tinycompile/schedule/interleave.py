"""Interleaving: the order of row steps whose peak of live bytes is least (docs/adr/0001-row-scheduler.md).

The state is the number of steps that each maker has done. `_Search.within` decides whether some order stays within a
number of bytes: depth first over the states, each once. A step that fits and does not raise the live bytes is taken at
once, which never hurts because live bytes are submodular over the states. The same holds for any number of steps that
lead to a *valley*: when the search comes down to the live bytes of a state on its way, it goes to the state of least
live bytes between the two and never comes back behind it (`schedule.valleys`). So only ways up are tried in turn. Where
the answer is no, the least of the peaks that were refused bounds every order from below: with any limit less than that
the same choices lead nowhere. Halving the distance between that bound and the best order known ends at the least peak
there is.

A state is marked as seen only when the search goes on from it: one that was left for a valley below it may lie on the
way from there.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter

from tinycompile.schedule.live_rows import LiveRows
from tinycompile.schedule.row_model import RowModel
from tinycompile.schedule.valleys import Valleys

FEW_STATES = 500  # not worth another decision
FIRST_PART = 4, 5  # of the states, for the question whether the best order known can be beaten at all
REPORT_STATES = 128  # expanded between two reports of progress
BOUND_STEPS = 16  # from a bound to the best order, where bounds are raised
NEVER = 1 << 62

Progress = Callable[[int | None, int], bool]
"""Told now and then the least peak found so far and the bound proven; False stops the search with these."""


@dataclass(frozen=True)
class Interleaving:
    """`sequence`: the maker of each step. `peak_bytes`: live bytes at its peak. `states`: how many were expanded.

    No order of row steps has a peak below `bound_bytes`; `method` says how that is known.
    """

    sequence: tuple[int, ...]
    peak_bytes: int
    bound_bytes: int
    states: int
    method: str = "of the network input"


def exact_interleaving(
    model: RowModel,
    max_states: int,
    upper: int | None = None,
    progress: Progress | None = None,
    max_steps: int = NEVER,
) -> Interleaving:
    """The best order that `max_states` expanded find, and the bound that they prove; no sequence where none is found.

    `upper`: orders whose peak reaches it are of no interest. `max_steps`: tried between all states, which may be many
    where a network is wide; what is left of either is shared out alike.
    """
    search = _Search(model)
    low, best = search.entry_bytes, Interleaving((), 0, 0, 0)
    high = limit = NEVER if upper is None else upper
    spent = 0
    search.progress = None if progress is None else lambda: progress(best.peak_bytes or upper, low)
    while low < limit and not search.stopped:
        if spent and (max_states - spent <= FEW_STATES or max_steps - search.steps <= FEW_STATES):
            break
        # States that lead nowhere within one limit lead nowhere within less, so that the answers after the first come
        # cheaply as long as each is found. One that is not says nothing, so half of what is left is kept for others.
        if limit == high:
            middle, part = limit - 1, (1, 1) if best.sequence else FIRST_PART
        else:
            middle, part = (low + limit - 1) // 2, (1, 2)
        if progress is not None and not progress(best.peak_bytes or upper, low):
            break
        states, steps = ((n * part[0]) // part[1] for n in (max_states - spent, max_steps - search.steps))
        found = search.within(middle, states, steps)
        spent += found.states
        if found.sequence is not None:
            best = Interleaving(found.sequence, found.bytes, 0, 0)
            high = limit = found.bytes
        elif found.proven:
            low = found.bytes
        else:
            limit = middle
    bound = min(low, high)
    method = "of an exact search" if bound == high else f"of an exact search cut off after {spent} states"
    return Interleaving(best.sequence, best.peak_bytes, bound, spent, method)


def raised_bound(
    model: RowModel, low: int, high: int, max_states: int, over: Callable[[], bool] = lambda: False
) -> tuple[int, int]:
    """A bound on all orders from `low` upwards, tried in steps towards `high` until one is reached, the states are
    spent, or it is `over`; and the states expanded. The model may be a window."""
    search, spent, step = _Search(model), 0, max((high - low) // BOUND_STEPS, 1)
    search.progress = lambda: not over()
    while low < high and spent < max_states and not search.stopped:
        answer = search.within(min(low + step, high) - 1, max_states - spent)
        spent += answer.states
        if answer.sequence is None and answer.proven:
            low = min(answer.bytes, high)
        elif step == 1 or spent >= max_states:
            break
        else:
            step = max(step // 4, 1)
    return low, spent


def gentle_interleaving(
    model: RowModel, peak_bytes: int, max_states: int, over: Callable[[], bool] = lambda: False
) -> tuple[int, ...] | None:
    """An order within `peak_bytes` that keeps the peak low for as long as it can: every beginning of it has the least
    peak with which its end can be reached. What is left free helps to pack. None when `max_states` do not
    find it, or it is `over` before."""
    return _Search(model).gentle(peak_bytes, max_states, over) if max_states else None


@dataclass(frozen=True)
class _Answer:
    """`sequence` and the `bytes` at its peak, or None and the least peak refused: `proven` that no order has less."""

    sequence: tuple[int, ...] | None
    bytes: int
    proven: bool
    states: int


@dataclass
class _Frame:
    """A closed state on the way: `moves` not tried yet and the `move` tried now, how many steps led to it, and the
    states that share its end: itself, and those left for it as their valley."""

    state: bytes | tuple[int, ...]
    live: int
    ready: dict[int, tuple[int, int]]
    moves: Iterator[int]
    depth: int
    shared: list[bytes | tuple[int, ...]]
    move: int = -1


class _Search:
    """What a step adds and changes depends on the steps of few makers, so it is looked up and computed only once."""

    def __init__(self, model: RowModel) -> None:
        self.rows = LiveRows(model)
        self.valleys = Valleys(self.rows)
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
        self.progress: Callable[[], bool] | None = None
        self.stopped = False
        self.steps = 0  # tried on the way from one state to the next
        self.failed: dict[bytes | tuple[int, ...], int] = {}  # the greatest limit within which no order leads on

    def _near(self, m: int) -> list[int]:
        """Makers whose steps say whether maker `m` is ready, and what its step adds and frees."""
        return sorted({*self.rows.near(m), *(other for needs in self.rows.needs[m] for other, _ in needs)})

    def _look(self, m: int, state: bytes | tuple[int, ...]) -> tuple[int, int] | None:
        """Bytes that the next step of maker `m` adds while it runs, and the change behind it; None: it must wait."""
        key, known = self.key[m](state), self.known[m]
        if key not in known:
            known[key] = self.rows.effect(m, state) if self.rows.ready(m, state) else None
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

    def within(self, limit: int, max_states: int, max_steps: int = NEVER) -> _Answer:
        """Whether some order stays within `limit` bytes."""
        last_step = self.steps + max_steps
        if self.entry_bytes > limit:
            return _Answer(None, self.entry_bytes, True, 0)
        taken: list[int] = []
        refused, spent = NEVER, 1
        start = self.goal[:0] + self.count[0] * len(self.goal)  # type: ignore[operator]
        ready = self._ready(start)
        state, live = self._close(start, self.rows.start_bytes, ready, limit, taken)
        stack = [_Frame(state, live, ready, iter(sorted(ready, reverse=True)), len(taken), [state])]
        while stack:
            frame = stack[-1]
            if frame.state == self.goal:
                return _Answer(tuple(taken), self._peak(taken), True, spent)
            m = next(frame.moves, None)
            if m is None:
                for state in frame.shared:
                    self.failed[state] = limit
                stack.pop()
                continue
            frame.move = m
            adds, change = frame.ready[m]
            if frame.live + adds > limit:
                refused = min(refused, frame.live + adds)
                continue
            del taken[frame.depth :]
            taken.append(m)
            ready = dict(frame.ready)
            after = self._take(m, frame.state, ready)
            state, live = self._close(after, frame.live + change, ready, limit, taken)
            self.steps += len(taken) - frame.depth
            shared: list[bytes | tuple[int, ...]] = []
            if self.failed.get(state, -1) < limit:
                state, live, ready = self._descend(state, live, ready, stack, limit, taken, shared)
            known = self.failed.get(state, -1)
            if known >= limit:
                if known > limit:
                    refused = min(refused, known + 1)
                for state in shared:
                    self.failed[state] = known
                continue
            if spent % REPORT_STATES == 0 and self.progress is not None:
                self.stopped = not self.progress()
            if spent >= max_states or self.steps >= last_step or self.stopped:
                return _Answer(None, 0, False, spent)
            spent += 1
            shared.append(state)
            stack.append(_Frame(state, live, ready, iter(sorted(ready, reverse=True)), len(taken), shared))
        return _Answer(None, refused, True, spent)

    def _descend(
        self,
        state: bytes | tuple[int, ...],
        live: int,
        ready: dict[int, tuple[int, int]],
        stack: list[_Frame],
        limit: int,
        taken: list[int],
        shared: list[bytes | tuple[int, ...]],
    ) -> tuple[bytes | tuple[int, ...], int, dict[int, tuple[int, int]]]:
        """The valley to go on from, behind frames that hold no less; these are dropped, `taken` leads there, and
        `shared` gets the states that fail if it does."""
        while state != self.goal:
            first = len(stack)
            while first and stack[first - 1].live >= live:
                first -= 1
            if first == len(stack):
                break
            # Where only the move taken leads on towards `state`, all states between have taken it, and the closure
            # behind it raises none of them: between such a frame and the next, none can hold less than `state`.
            frame = next((f for f in stack[first:] if any(state[k] > f.state[k] for k in f.ready if k != f.move)), None)
            if frame is not None:
                found = self.valleys.lowest(frame.state, state)
                if found is None:
                    break
                saved, lowest = found
                valley = bytes(lowest) if isinstance(self.goal, bytes) else lowest
                if valley != state:
                    way = self._way(frame, valley, limit, taken)
                    if way is None:
                        break
                    taken[frame.depth :] = way
                    ready = self._ready(valley)
                    state, live = self._close(valley, live - saved, ready, limit, taken)
            shared += [s for dropped in stack[first:] for s in dropped.shared]
            del stack[first:]
        return state, live, ready

    def _way(self, frame: _Frame, valley: bytes | tuple[int, ...], limit: int, taken: list[int]) -> list[int] | None:
        """The steps taken behind `frame` that lead to a state before their end, None where they do not fit: a row may
        be written over a dying one only because of a step that is left out."""
        state, live, result = frame.state, frame.live, []
        for m in taken[frame.depth :]:
            if state[m] < valley[m]:
                step = self._look(m, state)
                if step is None or live + step[0] > limit:
                    return None
                live += step[1]
                state = state[:m] + self.count[state[m] + 1] + state[m + 1 :]  # type: ignore[operator]
                result.append(m)
        return result

    def _ready(self, state: bytes | tuple[int, ...]) -> dict[int, tuple[int, int]]:
        return {m: step for m in range(len(state)) if (step := self._look(m, state)) is not None}

    def gentle(self, limit: int, max_states: int, over: Callable[[], bool]) -> tuple[int, ...] | None:
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
            if len(expanded) % REPORT_STATES == 0 and over():
                return None
            taken: list[int] = []
            ready = self._ready(state)
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
        state, live, peak = list(self.rows.start), self.rows.start_bytes, self.entry_bytes
        for m in sequence:
            adds, change = self.rows.effect(m, state)
            state[m] += 1
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
