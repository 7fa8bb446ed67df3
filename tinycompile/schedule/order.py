"""Operator order: the sequence of steps whose peak of live bytes is least.

A state is the set of steps done; the bytes live in it do not depend on how it was reached, so a best-first search over
states with the peak so far as the key (minimax Dijkstra) is exact. A ready step that raises neither the peak so far nor
the bytes live is taken at once: it can only free bytes earlier. Beyond `MAX_STATES` a beam search gives an order, and
the least key left in the exact search remains a proven lower bound.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from tinycompile.schedule.storage import StepInfo, Storage

MAX_STATES = 20_000
BEAM_WIDTH = 32


@dataclass(frozen=True)
class Order:
    """`sequence`: positions in ``Storage.steps``. No order has a peak below `lower_bound_bytes`."""

    sequence: tuple[int, ...]
    peak_bytes: int
    lower_bound_bytes: int


class LiveBytes:
    """Bytes live before, during and after steps, for any set of steps done (a bit mask over ``Storage.steps``)."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        position = {step.op: k for k, step in enumerate(storage.steps)}
        self.readers = [sum(1 << position[c] for c in v.consumers) for v in storage.values]
        self.needs = [
            sum(1 << position[p] for p in {storage.values[v].producer for v in step.reads} if p is not None)
            for step in storage.steps
        ]
        inputs = [v for v in storage.values if v.producer is None]
        self.entry_bytes = sum(v.nbytes for v in inputs)
        self.start_bytes = sum(v.nbytes for v in inputs if v.consumers or v.is_output)

    def dies(self, value: int, done: int) -> bool:
        return not self.storage.values[value].is_output and not self.readers[value] & ~done

    def step(self, k: int, done: int, live: int) -> tuple[int, int]:
        """Bytes live during step `k` and after it, when `done` are done and `live` bytes are live before."""
        info = self.storage.steps[k]
        after_mask = done | 1 << k
        dead = {v for v in info.reads if self.dies(v, after_mask)}
        out = self.storage.values[info.out]
        overlaid = any(o.dying <= dead for o in info.overlays)
        during = live + info.scratch_bytes + (0 if overlaid else out.nbytes)
        kept = 0 if self.dies(info.out, after_mask) else out.nbytes
        return during, live - sum(self.storage.values[v].nbytes for v in dead) + kept

    def ready(self, done: int) -> list[int]:
        return [k for k, need in enumerate(self.needs) if not done >> k & 1 and not need & ~done]

    def peak(self, sequence: tuple[int, ...]) -> int:
        done, live, peak = 0, self.start_bytes, self.entry_bytes
        for k in sequence:
            during, live = self.step(k, done, live)
            peak, done = max(peak, during), done | 1 << k
        return peak

    def trivial_bound(self) -> int:
        """The network inputs together, the outputs together, and each step by itself with its best in-place choice."""

        def alone(step: StepInfo) -> int:
            own = sum(self.storage.values[v].nbytes for v in step.reads) + step.scratch_bytes
            return own + (0 if step.overlays else self.storage.values[step.out].nbytes)

        outputs = sum(v.nbytes for v in self.storage.values if v.is_output)
        return max(self.entry_bytes, outputs, *(alone(s) for s in self.storage.steps), 0)


def best_order(storage: Storage) -> Order:
    """The order of least peak; the graph's own order where that has the least peak."""
    model = LiveBytes(storage)
    given = tuple(range(len(storage.steps)))
    peak = model.peak(given)
    bound = model.trivial_bound()
    if peak == bound:
        return Order(given, peak, bound)
    exact, proven = _search(model, peak)
    bound = max(bound, proven)
    if exact is None:
        exact = given if peak == proven else _beam(model)
    found = model.peak(exact)
    return Order(given, peak, bound) if peak <= found else Order(exact, found, bound)


def _search(model: LiveBytes, upper: int) -> tuple[tuple[int, ...] | None, int]:
    """A sequence of least peak below `upper` if there is one, and a proven lower bound on the peak of every order."""
    goal = (1 << len(model.storage.steps)) - 1
    # Among equal peaks the state with more steps done comes first, then the one with the earlier steps.
    heap: list[tuple[int, int, int, int]] = [(model.entry_bytes, 0, 0, model.start_bytes)]
    parents: dict[int, tuple[int, int, int]] = {}  # state -> (key, last step, state before it)
    expanded: set[int] = set()
    while heap:
        peak, _, done, live = heapq.heappop(heap)
        if done in expanded:
            continue
        if peak >= upper:
            break
        if done == goal:
            return _rebuild(parents, done), peak
        if len(expanded) == MAX_STATES:
            return None, peak
        expanded.add(done)
        for k, during, left in _moves(model, done, live, peak):
            key, after = max(peak, during), done | 1 << k
            if after not in expanded and (after not in parents or key < parents[after][0]):
                parents[after] = (key, k, done)
                heapq.heappush(heap, (key, -after.bit_count(), after, left))
    return None, upper


def _moves(model: LiveBytes, done: int, live: int, peak: int) -> list[tuple[int, int, int]]:
    """Steps to branch over from a state as (step, bytes during, bytes after)."""
    moves = []
    for k in model.ready(done):
        during, after = model.step(k, done, live)
        if during <= peak and after <= live:
            return [(k, during, after)]
        moves.append((k, during, after))
    return moves


def _rebuild(parents: dict[int, tuple[int, int, int]], done: int) -> tuple[int, ...]:
    sequence: list[int] = []
    while done:
        _, step, done = parents[done]
        sequence.append(step)
    return tuple(reversed(sequence))


def _beam(model: LiveBytes) -> tuple[int, ...]:
    """An order found by keeping the `BEAM_WIDTH` states of least peak, then fewest live bytes, after every step."""
    states: list[tuple[int, int, int, tuple[int, ...]]] = [(model.entry_bytes, model.start_bytes, 0, ())]
    for _ in model.storage.steps:
        best: dict[int, tuple[int, int, int, tuple[int, ...]]] = {}
        for peak, live, done, sequence in states:
            for k, during, left in _moves(model, done, live, peak):
                after = done | 1 << k
                candidate = (max(peak, during), left, after, (*sequence, k))
                if after not in best or candidate < best[after]:
                    best[after] = candidate
        states = sorted(best.values())[:BEAM_WIDTH]
    return states[0][3]
