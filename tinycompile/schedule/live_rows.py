"""Live bytes of the states of a row program: how many steps each maker has done (docs/adr/0001-row-scheduler.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

from tinycompile.schedule.row_model import RowModel

State = tuple[int, ...]


def advanced(state: Sequence[int], m: int) -> State:
    """The state behind a step of maker `m`."""
    return (*state[:m], state[m] + 1, *state[m + 1 :])


class LiveRows:
    """Live bytes of any state, and the effect of one step."""

    def __init__(self, model: RowModel) -> None:
        self.model = model
        self.goal: State = tuple(m.steps for m in model.makers)
        self.bytes = [v.row_bytes if v.counted else 0 for v in model.values]
        self.last = [v.rows if v.is_output else 0 for v in model.values]
        makers = range(len(model.makers))
        # Per maker and step: (other maker, steps that it must have done).
        self.needs = [self._needs(m) for m in makers]
        # Pops, and per maker those that its steps may enable: they free bytes and are taken at once.
        self.pops = [m for m, maker in enumerate(model.makers) if maker.pops is not None]
        self.behind = [[p for p in self.pops if any(o == m for n in self.needs[p] for o, _ in n)] for m in makers]
        self.touches: list[tuple[int, ...]] = [
            tuple(dict.fromkeys((*(r.value for r in m.reads), m.value))) for m in model.makers
        ]
        # What a step adds and changes depends on the steps of few makers: it is computed once and looked up.
        self._near: list[Callable[[Sequence[int]], object]] = [itemgetter(*self.near(m)) for m in makers]
        self._known: list[dict[object, tuple[int, int]]] = [{} for _ in makers]
        self.start: State = (0,) * len(model.makers)
        self.entry_bytes = sum(v.rows * b for v, b in zip(model.values, self.bytes, strict=True) if v.at_entry)
        self.start_bytes = sum(self.live_rows(v, self.start) * b for v, b in enumerate(self.bytes))

    def near(self, m: int) -> list[int]:
        """Makers whose steps say what a step of maker `m` adds and frees."""
        found = {m}
        for v in self.touches[m]:
            maker = self.model.values[v].maker
            found.update([] if maker is None else [maker])
            found.update(reader for reader, _ in self.model.readers[v])
        return sorted(found)

    def _needs(self, m: int) -> list[tuple[tuple[int, int], ...]]:
        maker = self.model.makers[m]
        result = []
        for u in range(maker.steps):
            wanted = []
            for reading in maker.reads:
                other = self.model.values[reading.value].maker
                if other is None or other == m or reading.need[u] == 0:
                    continue
                made = self.model.makers[other].made
                wanted.append((other, next(s for s, rows in enumerate(made) if rows >= reading.need[u])))
            result.append(tuple(wanted))
        return result

    def ready(self, m: int, state: Sequence[int]) -> bool:
        u = state[m]
        return u < self.goal[m] and all(state[o] >= s for o, s in self.needs[m][u])

    def due(self, state: Sequence[int], m: int | None = None) -> int | None:
        """A pop that can be taken (behind a step of maker `m`), None if there is none."""
        return next((p for p in (self.pops if m is None else self.behind[m]) if self.ready(p, state)), None)

    def dead_rows(self, v: int, state: Sequence[int]) -> int:
        """Leading rows of value `v` that no step to come reads."""
        value = self.model.values[v]
        if value.is_output:
            return 0
        makers = self.model.makers
        return min((makers[m].reads[r].dead[state[m]] for m, r in self.model.readers[v]), default=value.rows)

    def live_rows(self, v: int, state: Sequence[int]) -> int:
        value = self.model.values[v]
        made = value.rows if value.maker is None else self.model.makers[value.maker].made[state[value.maker]]
        return max(0, made - self.dead_rows(v, state))

    def effect(self, m: int, state: Sequence[int]) -> tuple[int, int]:
        """Bytes that the step adds while it runs, and the change of live bytes when it has run."""
        key, known = self._near[m](state), self._known[m]
        if key not in known:
            known[key] = self._effect(m, state)
        return known[key]

    def _effect(self, m: int, state: Sequence[int]) -> tuple[int, int]:
        maker, u, after = self.model.makers[m], state[m], advanced(state, m)
        change = 0
        for v in self.touches[m]:
            if self.bytes[v]:
                change += (self.live_rows(v, after) - self.live_rows(v, state)) * self.bytes[v]
        made = maker.made[u + 1] - maker.made[u] - len(self.in_place(m, state, after))
        own = made * self.bytes[maker.value]
        if maker.kept_bytes:
            # Held between the first step and the last: a function of this maker's steps alone, so that live bytes
            # stay submodular.
            first, last = u == 0, u + 1 == maker.steps
            own += maker.kept_bytes * first
            change += maker.kept_bytes * (first - last)
        adds = max(own - maker.spared_bytes, 0) + maker.scratch_bytes
        return adds, change

    def in_place(self, m: int, state: Sequence[int], after: State) -> dict[int, tuple[int, int]]:
        """Of the rows that the step makes, those that are written over dying ones: row -> (value, dying row). The rest
        need bytes of their own."""
        maker, u = self.model.makers[m], state[m]
        for choice in maker.in_place:
            if not choice.rows[u] or not self.bytes[choice.value] or self.model.values[choice.value].is_output:
                continue
            dying = range(self.dead_rows(choice.value, state), self.dead_rows(choice.value, after))
            pairs = zip(range(maker.made[u], maker.made[u + 1]), choice.rows[u], strict=False)
            found = {row: (choice.value, old) for row, old in pairs if old in dying}
            if found:
                return found
        return {}
