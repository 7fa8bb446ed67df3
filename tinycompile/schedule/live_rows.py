"""Live bytes of the states of a row program: how many steps each maker has done (docs/adr/0001-row-scheduler.md)."""

from __future__ import annotations

from tinycompile.schedule.row_model import RowModel

State = tuple[int, ...]


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
        self.touches = [tuple(dict.fromkeys((*(r.value for r in m.reads), m.value))) for m in model.makers]
        self.start: State = (0,) * len(model.makers)
        self.entry_bytes = sum(v.rows * b for v, b in zip(model.values, self.bytes, strict=True) if v.at_entry)
        self.start_bytes = sum(self.live_rows(v, self.start) * b for v, b in enumerate(self.bytes))

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

    def ready(self, m: int, state: State) -> bool:
        u = state[m]
        return u < self.goal[m] and all(state[o] >= s for o, s in self.needs[m][u])

    def due(self, state: State, m: int | None = None) -> int | None:
        """A pop that can be taken (behind a step of maker `m`), None if there is none."""
        return next((p for p in (self.pops if m is None else self.behind[m]) if self.ready(p, state)), None)

    def dead_rows(self, v: int, state: State) -> int:
        """Leading rows of value `v` that no step to come reads."""
        value = self.model.values[v]
        if value.is_output:
            return 0
        makers = self.model.makers
        return min((makers[m].reads[r].dead[state[m]] for m, r in self.model.readers[v]), default=value.rows)

    def live_rows(self, v: int, state: State) -> int:
        value = self.model.values[v]
        made = value.rows if value.maker is None else self.model.makers[value.maker].made[state[value.maker]]
        return max(0, made - self.dead_rows(v, state))

    def step(self, m: int, state: State) -> tuple[int, int, State]:
        """Bytes that the step adds while it runs, the change of live bytes when it has run, and the state then."""
        maker, u = self.model.makers[m], state[m]
        after = (*state[:m], u + 1, *state[m + 1 :])
        change = 0
        for v in self.touches[m]:
            if self.bytes[v]:
                change += (self.live_rows(v, after) - self.live_rows(v, state)) * self.bytes[v]
        adds = (maker.made[u + 1] - maker.made[u]) * self.bytes[maker.value]
        if self.in_place(m, state, after) is not None:
            adds = 0
        adds += maker.scratch_bytes
        if maker.kept_bytes:
            # Held between the first step and the last: a function of this maker's steps alone, so that live bytes
            # stay submodular.
            first, last = u == 0, u + 1 == maker.steps
            adds += maker.kept_bytes * first
            change += maker.kept_bytes * (first - last)
        return adds, change, after

    def in_place(self, m: int, state: State, after: State) -> tuple[int, int] | None:
        """(value, row) that the step's row is written over, None if it needs bytes of its own."""
        u = state[m]
        for choice in self.model.makers[m].in_place:
            row = choice.row[u]
            if row < 0 or not self.bytes[choice.value] or self.model.values[choice.value].is_output:
                continue
            if self.dead_rows(choice.value, after) > row >= self.dead_rows(choice.value, state):
                return choice.value, row
        return None
