"""Operator order: the sequence of steps whose peak of live bytes is least.

A state is the set of steps done; the bytes live in it do not depend on how it was reached, so a best-first search over
states with the peak so far as the key (minimax Dijkstra) is exact. A ready step that raises neither the peak so far nor
the bytes live is taken at once: it can only free bytes earlier. States that cannot beat the best order known (the
file's own, depth first from the outputs) are cut. Beyond `MAX_STATES` a beam search may still improve the order; the
least key left in the exact search remains a proven lower bound.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from tinycompile.schedule.storage import StepInfo, Storage

MAX_STATES = 20_000
BEAM_WIDTH = 32

Sequence = tuple[int, ...]
State = tuple[int, int, int, int, tuple[int, ...]]  # peak so far, -steps done, done (a mask), bytes live, ready steps


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
        self.users = [sorted(position[c] for c in storage.values[step.out].consumers) for step in storage.steps]
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

    def start(self) -> State:
        ready = tuple(k for k, need in enumerate(self.needs) if not need)
        return self.entry_bytes, 0, 0, self.start_bytes, ready

    def moves(self, state: State) -> list[tuple[int, State]]:
        """The steps to branch over from a state, each with the state it leads to."""
        peak, count, done, live, ready = state
        chosen = []
        for k in ready:
            during, left = self.step(k, done, live)
            chosen.append((k, during, left))
            if during <= peak and left <= live:
                chosen = chosen[-1:]
                break
        result = []
        for k, during, left in chosen:
            after = done | 1 << k
            opened = (u for u in self.users[k] if not self.needs[u] & ~after)
            then = tuple(sorted({*ready, *opened} - {k}))
            result.append((k, (max(peak, during), count - 1, after, left, then)))
        return result

    def peak(self, sequence: Sequence) -> int:
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
    known = [tuple(range(len(storage.steps))), _depth_first(model, by_need=False), _depth_first(model, by_need=True)]
    upper, bound = min(map(model.peak, known)), model.trivial_bound()
    if upper > bound:
        exact, proven = _search(model, upper)
        bound = max(bound, proven)
        if exact is not None:
            known.append(exact)
        elif proven < upper:
            known.append(_beam(model))
    best = min(known, key=model.peak)
    return Order(best, model.peak(best), bound)


def _search(model: LiveBytes, upper: int) -> tuple[Sequence | None, int]:
    """A sequence of least peak if that is below `upper`, and a proven lower bound on the peak of every order."""
    goal = (1 << len(model.storage.steps)) - 1
    heap = [model.start()]
    parents: dict[int, tuple[int, int, int]] = {}  # done -> (peak, last step, done before it)
    expanded: set[int] = set()
    while heap:
        state = heapq.heappop(heap)
        peak, _, done, *_ = state
        if done in expanded:
            continue
        if done == goal:
            return _rebuild(parents, done), peak
        if len(expanded) == MAX_STATES:
            return None, peak
        expanded.add(done)
        for k, then in model.moves(state):
            key, _, after, *_ = then
            if key < upper and after not in expanded and (after not in parents or key < parents[after][0]):
                parents[after] = (key, k, done)
                heapq.heappush(heap, then)
    return None, upper


def _rebuild(parents: dict[int, tuple[int, int, int]], done: int) -> Sequence:
    sequence: list[int] = []
    while done:
        _, step, done = parents[done]
        sequence.append(step)
    return tuple(reversed(sequence))


def _beam(model: LiveBytes) -> Sequence:
    """An order found by keeping the `BEAM_WIDTH` states of least peak, then fewest live bytes, after every step."""
    states: list[tuple[State, Sequence]] = [(model.start(), ())]
    for _ in model.storage.steps:
        best: dict[int, tuple[State, Sequence]] = {}
        for state, sequence in states:
            for k, then in model.moves(state):
                candidate = (then, (*sequence, k))
                if then[2] not in best or candidate < best[then[2]]:
                    best[then[2]] = candidate
        states = sorted(best.values(), key=lambda c: (c[0][0], c[0][3], c))[:BEAM_WIDTH]
    return states[0][1]


def _depth_first(model: LiveBytes, by_need: bool) -> Sequence:
    """Each step directly after what it needs: a post-order from the last steps.

    `by_need`: operands in the order of Sethi and Ullman (1970), the one that needs most beyond its result first, which
    is the best for trees; otherwise in the file's order.
    """
    steps, values = model.storage.steps, model.storage.values
    producers = {step.op: k for k, step in enumerate(steps)}
    operands = [sorted({producers[p] for v in step.reads if (p := values[v].producer) is not None}) for step in steps]
    peaks: list[int] = []
    for k, step in enumerate(steps):
        size = values[step.out].nbytes
        if by_need:
            operands[k].sort(key=lambda p: (values[steps[p].out].nbytes - peaks[p], p))
        held = peak = 0
        for p in operands[k]:
            peak = max(peak, held + peaks[p])
            held += values[steps[p].out].nbytes
        peaks.append(max(peak, held + size))
    sequence: list[int] = []
    placed: set[int] = set()
    todo = [k for k in reversed(range(len(steps))) if not model.users[k]]
    while todo:
        k = todo[-1]
        waiting = [p for p in operands[k] if p not in placed]
        if waiting:
            todo.append(waiting[0])
            continue
        todo.pop()
        if k not in placed:
            placed.add(k)
            sequence.append(k)
    return tuple(sequence)
