"""What it costs to make one cut from an earlier one, rows streaming between them: whole, or in tiles of columns.

Rows live and die alike in every tile of columns, only narrower, so that one run over the rows gives the peak for any
number of tiles: live rows of each value at each step, times the bytes that a tile's rows have. The figures are
estimates for choosing (what lies between tiles is rounded up); plans are made, packed and proven afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.schedule.live_rows import LiveRows
from tinycompile.schedule.row_model import RowModel
from tinycompile.schedule.stages import cuts

Numbers = NDArray[np.int64]
ENTRY = -1  # the cut before the first maker: the network input


@dataclass(frozen=True)
class Profile:
    """Live rows during each step of a segment, by step and value; `scratch_bytes` beside them, with those that are kept
    (of tiles that is too much: each keeps its own columns) and network outputs made before. `given`: rows of what the
    segment makes that the caller has taken, as it does of a streamed output; pops are no steps here, they come at
    once."""

    values: tuple[int, ...]
    live: NDArray[np.int64]
    scratch_bytes: NDArray[np.int64]
    given: NDArray[np.int64]


class Segments:
    """Segments between the cuts of a row model. Cuts are makers; ENTRY stands for the network input."""

    def __init__(self, model: RowModel) -> None:
        self.model, self.rows = model, LiveRows(model)
        self.cuts = [m for m in cuts(model) if model.makers[m].op is not None]
        self.entry = [v for v, value in enumerate(model.values) if value.maker is None]
        self._made = [np.array(m.made, dtype=np.int64) for m in model.makers]
        self._dead = [[np.array(r.dead, dtype=np.int64) for r in m.reads] for m in model.makers]
        # Makers on whose steps it depends over how many rows each maker may write.
        self._watched = [
            sorted({m, *(k for choice in maker.in_place for k, _ in model.readers[choice.value])})
            for m, maker in enumerate(model.makers)
        ]
        self._over: dict[tuple[int, ...], int] = {}
        self._orders: dict[int, tuple[Numbers, Numbers]] = {}

    def tensor(self, cut: int) -> str:
        """The tensor that a cut holds whole."""
        value = self.entry[0] if cut == ENTRY else self.model.makers[cut].value
        return self.model.values[value].tensor

    def nbytes(self, cut: int) -> int:
        """Arena bytes of the tensor that a cut holds whole; none where the caller takes every row at once."""
        held = self.entry if cut == ENTRY else [self.model.makers[cut].value]
        return sum(self.model.values[v].rows * self.rows.bytes[v] for v in held if not self._given(v))

    def _given(self, v: int) -> bool:
        """Whether a value is read by pops alone."""
        readers = self.model.readers[v]
        return bool(readers) and all(self.model.makers[m].pops is not None for m, _ in readers)

    def profile(self, begin: int, end: int, ceiling_bytes: int) -> Profile | None:
        """The live rows of a segment streamed to full depth; None where those that it makes itself exceed
        `ceiling_bytes`."""
        rows, model = self.rows, self.model
        order, made = self._streamed(end)
        inner = order > begin  # what is made for a cut does not depend on what was there before
        order, made = order[inner], made[inner]
        within = range(begin + 1, end + 1)
        taken = order[:, None] == np.arange(begin + 1, end + 1)
        done = np.cumsum(taken, axis=0) - taken  # steps of each maker before each step
        held = self.entry if begin == ENTRY else [model.makers[begin].value]
        inside = [model.makers[m].value for m in within]
        column = {v: k for k, v in enumerate((*held, *inside))}
        live = np.zeros((len(order), len(column)), dtype=np.int64)
        for v, k in column.items():
            value = model.values[v]
            there = value.rows if v in held else self._made[value.maker or 0][done[:, (value.maker or 0) - begin - 1]]
            live[:, k] = np.maximum(there - self._dead_rows(v, begin, end, done), 0)
        live[np.arange(len(order)), np.array([column[model.makers[m].value] for m in order], dtype=np.int64)] += made
        own = np.array([0 if v in held else rows.bytes[v] for v in column], dtype=np.int64)
        if int((live @ own).max(initial=0)) > ceiling_bytes:
            return None
        scratch = np.array([model.makers[m].scratch_bytes for m in order], dtype=np.int64) + self._outputs_before(begin)
        for k, m in enumerate(within):
            if model.makers[m].kept_bytes:
                begun = taken[:, k] | ((done[:, k] > 0) & (done[:, k] < rows.goal[m]))
                scratch += model.makers[m].kept_bytes * begun
        out = model.makers[end].value
        given = np.zeros(len(order), dtype=np.int64)
        given += self._dead_rows(out, begin, end, done) if self._given(out) else 0
        return Profile(tuple(column), live, scratch, given)

    def _outputs_before(self, cut: int) -> int:
        """Bytes of the network outputs that are there before a cut, and stay."""
        values = zip(self.model.values, self.rows.bytes, strict=True)
        return sum(v.rows * b for v, b in values if v.is_output and (ENTRY if v.maker is None else v.maker) < cut)

    def _dead_rows(self, v: int, begin: int, end: int, done: Numbers) -> Numbers | int:
        """`LiveRows.dead_rows` before each step of a segment."""
        value, model = self.model.values[v], self.model
        if value.is_output:
            return 0
        found: Numbers | int = value.rows
        for k, (m, r) in enumerate(model.readers[v]):
            dead = self._dead[m][r]
            if model.makers[m].pops is not None:
                here = dead[self._popped(m, begin, end, done)]
            else:
                here = dead[done[:, m - begin - 1]] if begin < m <= end else dead[-1 if m <= begin else 0]
            found = here if k == 0 else np.minimum(found, here)
        return found

    def _popped(self, p: int, begin: int, end: int, done: Numbers) -> Numbers | int:
        """Steps of a pop before each step of a segment: as many as the rows that are there allow."""
        needs, found = self.rows.needs[p], np.full(len(done), self.rows.goal[p], dtype=np.int64)
        for source in {o for needed in needs for o, _ in needed if o > begin}:
            wanted = np.maximum.accumulate([max((s for o, s in n if o == source), default=0) for n in needs])
            there = done[:, source - begin - 1] if source <= end else np.zeros(len(done), dtype=np.int64)
            found = np.minimum(found, np.searchsorted(wanted, there, side="right"))
        return found

    def _streamed(self, end: int) -> tuple[Numbers, Numbers]:
        """The makers up to `end` to their ends, each row when it is asked for; and how many rows each step makes that
        need bytes of their own."""
        if end not in self._orders:
            rows, makers = self.rows, self.model.makers
            state, order, made = [0] * len(makers), list[int](), list[int]()
            self._take_pops(state)
            for target in (m for m in (end, *range(end)) if makers[m].pops is None):
                wanted = [target] * (rows.goal[target] - state[target])
                while wanted:
                    m = wanted[-1]
                    u = state[m]
                    missing = next((o for o, s in rows.needs[m][u] if state[o] < s), None)
                    if missing is not None:
                        wanted.append(missing)
                        continue
                    wanted.pop()
                    order.append(m)
                    made.append(makers[m].made[u + 1] - makers[m].made[u] - self._in_place(m, state))
                    state[m] += 1
                    self._take_pops(state, m)
            self._orders[end] = np.array(order, dtype=np.int64), np.array(made, dtype=np.int64)
        return self._orders[end]

    def _take_pops(self, state: list[int], m: int | None = None) -> None:
        """Brings `state` up to date with the pops that can be taken behind a step of maker `m`, or at the start."""
        while self.rows.pops if m is None else self.rows.behind[m]:
            pop = self.rows.due(tuple(state), m)
            if pop is None:
                break
            state[pop] += 1

    def _in_place(self, m: int, state: list[int]) -> int:
        """Rows of the next step of maker `m` that are written over dying ones."""
        if not self.model.makers[m].in_place:
            return 0
        key = (m, *(state[k] for k in self._watched[m]))
        if key not in self._over:
            after = (*state[:m], state[m] + 1, *state[m + 1 :])
            self._over[key] = len(self.rows.in_place(m, tuple(state), after))
        return self._over[key]

    def whole_peak(self, profile: Profile) -> int:
        """Peak of live bytes of a segment that is not in tiles."""
        weights = np.array([self.rows.bytes[v] for v in profile.values], dtype=np.int64)
        return int((profile.live @ weights + profile.scratch_bytes).max())

    def tiled_peak(self, begin: int, end: int, profile: Profile, tiles: Sequence[Mapping[str, int]]) -> int:
        """Peak of live bytes of a segment in tiles of columns, made one after another. `tiles[k]`: bytes of a row of
        tile k of each tensor that the segment makes."""
        model, out = self.model, self.model.makers[end].value
        out_name, out_row = model.values[out].tensor, self.rows.bytes[out]
        peak = done = 0
        known: dict[tuple[int, bool], int] = {}
        for k, row_bytes in enumerate(tiles):
            last = k == len(tiles) - 1
            alike = id(row_bytes), last
            if alike not in known:
                # Until the last tile takes rows away, the map that the segment begins with is there whole.
                own = [row_bytes.get(model.values[v].tensor, self.rows.bytes[v] if last else 0) for v in profile.values]
                # Joined rows are complete, and given, only while the last tile is made.
                waiting = profile.given * (0 if last else row_bytes[out_name])
                held = profile.live @ np.array(own, dtype=np.int64) + profile.scratch_bytes + waiting
                known[alike] = int(held.max())
            peak = max(peak, known[alike] + done + (out_row if last else self.nbytes(begin)))
            done += model.values[out].rows * row_bytes[out_name]
        return peak
