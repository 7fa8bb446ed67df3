"""Valleys: states that the search need not go back behind (docs/adr/0001-row-scheduler.md).

Let `low <= high` be states, each maker of `high` at least as far as in `low`. The states between them are a lattice on
which live bytes are submodular. Let z be one of them that holds least. If an order completes `low` within a limit, one
completes z within it: where the order is in state x, be in x v z (per maker the further of both). There

    live(x v z) <= live(x) + live(z) - live(x ^ z) <= live(x),

because x ^ z lies between `low` and z, and so holds at least live(z). A step from x that z has not taken is ready in
x v z and adds no more there: a row that dies with the step, over which it may write, waits for no other maker in x,
hence for none in x v z. So once z is reached within the limit, whatever else could be done from `low` is of no use.
One step that does not raise the live bytes is the smallest case.

`Valleys.lowest` finds z for the two states. First it takes back steps of `high`, one at a time, that lower the live
bytes when they are taken back: by the same inequality some state that holds least is below each of these. Then dynamic
programming over the makers that are still ahead of `low`: live bytes are a sum over values, and a value depends only on
its maker and its readers, so that a table over the few makers with readers to come does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import itemgetter

from tinycompile.schedule.live_rows import LiveRows

MAX_TABLE = 2000  # entries; where more makers are open at once the search does without


class Valleys:
    """States of least live bytes between two states of one row model."""

    def __init__(self, rows: LiveRows) -> None:
        self.rows = rows
        model = rows.model
        makers = range(len(model.makers))
        self.involved: list[tuple[int, ...]] = []
        for v, value in enumerate(model.values):
            found = {m for m, _ in model.readers[v]} | ({value.maker} if value.maker is not None else set())
            self.involved.append(tuple(sorted(found)) if rows.bytes[v] else ())
        # Scratch that a maker keeps between its steps counts as one more value, which depends on that maker alone.
        self.keepers = [m for m in makers if model.makers[m].kept_bytes]
        self.involved += [(m,) for m in self.keepers]
        self.values = [[v for v, found in enumerate(self.involved) if m in found] for m in makers]
        self.plain = len(model.values)
        # Per maker, those that need it, with the steps of it that their first u steps need (never fewer for more of
        # them); and the other way round.
        self.followers: list[list[tuple[int, list[int]]]] = [[] for _ in makers]
        self.leaders: list[list[tuple[int, list[int]]]] = [[] for _ in makers]
        for m in makers:
            for other in sorted({o for needs in rows.needs[m] for o, _ in needs}):
                steps = [0]
                for needs in rows.needs[m]:
                    steps.append(max(steps[-1], *(s for o, s in needs if o == other), 0))
                self.followers[other].append((m, steps))
                self.leaders[m].append((other, steps))
        self.key: list[Callable[[Sequence[int]], object]] = [itemgetter(*(i or (0,))) for i in self.involved]
        self.known: list[dict[object, int]] = [{} for _ in self.involved]
        self._found: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, tuple[int, ...]] | None] = {}

    def lowest(self, low: Sequence[int], high: Sequence[int]) -> tuple[int, tuple[int, ...]] | None:
        """A state of least live bytes between two, and how much less than `high` it holds; it is not `low` if `high`
        does as well as that. None where it would take too long to find."""
        between = (tuple(low), tuple(high))  # asked again with every other limit
        if between not in self._found:
            self._found[between] = self._lowest(low, high)
        return self._found[between]

    def _lowest(self, low: Sequence[int], high: Sequence[int]) -> tuple[int, tuple[int, ...]] | None:
        state = list(high)
        saved = self._take_back(low, state)
        ahead = [m for m in range(len(state)) if state[m] > low[m]]
        found = self._least(low, state, ahead)
        if found is None:
            return None
        less, steps = found
        if less > 0:
            for m, u in zip(ahead, steps, strict=True):
                state[m] = u
        return saved + less, tuple(state)

    def _bytes(self, v: int, state: Sequence[int]) -> int:
        """Live bytes of one value."""
        key = self.key[v](state)
        known = self.known[v].get(key)
        if known is None:
            known = self.known[v][key] = self._live(v, state)
        return known

    def _live(self, v: int, state: Sequence[int]) -> int:
        if v < self.plain:
            return self.rows.live_rows(v, state) * self.rows.bytes[v]
        m = self.keepers[v - self.plain]
        maker = self.rows.model.makers[m]
        return maker.kept_bytes if 0 < state[m] < maker.steps else 0

    def _take_back(self, low: Sequence[int], state: list[int]) -> int:
        """Takes back steps of `state` that no other maker has needed while that lowers the live bytes; by how much."""
        saved, again = 0, True
        while again:
            again = False
            for m in reversed(range(len(state))):
                while state[m] > low[m] and all(steps[state[k]] < state[m] for k, steps in self.followers[m]):
                    before = sum([self._bytes(v, state) for v in self.values[m]])
                    state[m] -= 1
                    less = before - sum([self._bytes(v, state) for v in self.values[m]])
                    if less <= 0:
                        state[m] += 1
                        break
                    saved += less
                    again = True
        return saved

    def _least(
        self, low: Sequence[int], high: Sequence[int], ahead: Sequence[int]
    ) -> tuple[int, tuple[int, ...]] | None:
        """The most bytes less than `high` that a state between holds, and its steps of the makers `ahead`."""
        position = {m: i for i, m in enumerate(ahead)}
        # A value is counted when the last maker involved is reached; a maker stays open until all that ask for it are.
        counted: dict[int, list[int]] = {m: [] for m in ahead}
        until = {m: m for m in ahead}
        for v in sorted({v for m in ahead for v in self.values[m]}):
            found = [m for m in self.involved[v] if m in position]
            counted[found[-1]].append(v)
            for m in found:
                until[m] = max(until[m], found[-1])
        leaders = {m: [(o, steps) for o, steps in self.leaders[m] if o in position] for m in ahead}
        for m in ahead:
            for o, _ in leaders[m]:
                if o > m:
                    return None
                until[o] = max(until[o], m)
        state = list(high)
        here = sum(self._bytes(v, state) for values in counted.values() for v in values)
        opened: list[int] = []
        table: dict[tuple[int, ...], tuple[int, tuple[int, ...]]] = {(): (0, ())}
        for m in ahead:
            kept, stays = [i for i, k in enumerate(opened) if until[k] > m], until[m] > m
            following: dict[tuple[int, ...], tuple[int, tuple[int, ...]]] = {}
            looked_up = [(self.key[v], self.known[v], v) for v in counted[m]]
            for key, (cost, path) in table.items():
                for k, u in zip(opened, key, strict=True):
                    state[k] = u
                before = tuple([key[i] for i in kept])
                top = high[m]
                for o, needed in leaders[m]:
                    top = min(top, bisect_right(needed, state[o]) - 1)
                for u in range(low[m], top + 1):
                    state[m] = u
                    total = cost
                    for key_of, known, v in looked_up:
                        held = known.get(key_of(state))
                        total += held if held is not None else self._bytes(v, state)
                    short = (*before, u) if stays else before
                    other = following.get(short)
                    if other is None or total < other[0]:
                        following[short] = total, (*path, u)
            for k in (*opened, m):
                state[k] = high[k]
            table, opened = following, [*(opened[i] for i in kept), *([m] if stays else [])]
            if len(table) > MAX_TABLE:
                return None
        ((least, steps),) = table.values()
        return here - least, steps
