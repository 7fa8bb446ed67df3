"""What it costs to make one cut from an earlier one, rows streaming between them: whole, or some of it in tiles of
columns.

Rows live and die alike in every tile of columns, only narrower, so that one run over the rows gives the peak for any
number of tiles: live rows of each value at each step, times the bytes that a tile's rows have. Tiles are made one
after another; rows stream into the first one and on from the last one. The figures never exceed what an order needs
that makes the same rows (`stages.phase_peaks`), and are what it needs but for rows in tiles that cannot be written over
others, or lie otherwise, because of their width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.schedule.live_rows import LiveRows, advanced
from tinycompile.schedule.row_model import RowModel
from tinycompile.schedule.stages import cuts

Numbers = NDArray[np.int64]
Counts = NDArray[np.int32]  # of steps or rows, one column a value: there may be thousands by thousands
ENTRY = -1  # the cut before the first maker: the network input


@dataclass(frozen=True)
class Profile:
    """The rows of a segment streamed to full depth: what is `made` and what of it is `live` before each step and at the
    end, by value (`column`). `order`: the maker of each step; `own`: how many rows it makes that need bytes of their
    own. `done`: steps of each maker, before each step and at the end. Pops are no steps here, they come at once.
    `own_bytes`: of the rows that it makes, at most.
    `outputs_bytes`: of network outputs made before."""

    begin: int
    end: int
    column: Mapping[int, int]
    order: Numbers
    own: Numbers
    done: Counts
    made: Counts
    live: Counts
    own_bytes: int
    outputs_bytes: int


@dataclass(frozen=True)
class Held:
    """What a tile holds of a tensor: bytes of a row, and of the scratch of the operator that makes it. `over`: its rows
    may be written over others in this width, though not in the whole one."""

    row_bytes: int
    scratch_bytes: int = 0
    kept_bytes: int = 0
    over: bool = False


Tile = Mapping[str, Held]  # by tensor


@dataclass(frozen=True)
class Tiling:
    """The part of a network from cut `begin` to cut `end` in tiles of columns."""

    begin: int
    end: int
    tiles: tuple[Tile, ...]


class Segments:
    """Segments between the cuts of a row model. Cuts are makers; ENTRY stands for the network input."""

    def __init__(self, model: RowModel) -> None:
        self.model, self.rows = model, LiveRows(model)
        self.cuts = [m for m in cuts(model) if model.makers[m].op is not None]
        self.entry = [v for v, value in enumerate(model.values) if value.maker is None]
        self._made = [np.array(m.made, dtype=np.int32) for m in model.makers]
        self._dead = [[np.array(r.dead, dtype=np.int32) for r in m.reads] for m in model.makers]
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
        """The rows of a segment; None where those that it makes itself exceed `ceiling_bytes`."""
        rows, model = self.rows, self.model
        order, own = self._streamed(end)
        inner = order > begin  # what is made for a cut does not depend on what was there before
        order, own = order[inner], own[inner]
        within = range(begin + 1, end + 1)
        # Steps of each maker; columns lie together, since all that follows goes through them one by one.
        done = np.zeros((len(order) + 1, len(within)), dtype=np.int32, order="F")
        for k, m in enumerate(within):
            np.cumsum(order == m, dtype=np.int32, out=done[1:, k])
        held = self.entry if begin == ENTRY else [model.makers[begin].value]
        column = {v: k for k, v in enumerate((*held, *(model.makers[m].value for m in within)))}
        made, live = (np.empty((len(done), len(column)), dtype=np.int32, order="F") for _ in range(2))
        for v, k in column.items():
            value = model.values[v]
            maker = value.maker or 0
            made[:, k] = value.rows if v in held else self._made[maker][done[:, maker - begin - 1]]
            live[:, k] = np.maximum(made[:, k] - self._dead_rows(v, begin, end, done), 0)
        own_bytes = int(_total(live, [0 if v in held else rows.bytes[v] for v in column]).max(initial=0))
        if own_bytes > ceiling_bytes:
            return None
        return Profile(begin, end, column, order, own, done, made, live, own_bytes, self._outputs_before(begin))

    def _outputs_before(self, cut: int) -> int:
        """Bytes of the network outputs that are there before a cut, and stay."""
        values = zip(self.model.values, self.rows.bytes, strict=True)
        return sum(v.rows * b for v, b in values if v.is_output and (ENTRY if v.maker is None else v.maker) < cut)

    def _dead_rows(self, v: int, begin: int, end: int, done: Counts) -> Counts | int:
        """`LiveRows.dead_rows` before each step of a segment."""
        value, model = self.model.values[v], self.model
        if value.is_output:
            return 0
        found: Counts | int = value.rows
        for k, (m, r) in enumerate(model.readers[v]):
            dead = self._dead[m][r]
            if model.makers[m].pops is not None:
                here = dead[self._popped(m, begin, end, done)]
            else:
                here = dead[done[:, m - begin - 1]] if begin < m <= end else dead[-1 if m <= begin else 0]
            found = here if k == 0 else np.minimum(found, here)
        return found

    def _popped(self, p: int, begin: int, end: int, done: Counts) -> Numbers | int:
        """Steps of a pop before each step of a segment: as many as the rows that are there allow."""
        needs, found = self.rows.needs[p], np.full(len(done), self.rows.goal[p], dtype=np.int64)
        for source in {o for needed in needs for o, _ in needed if o > begin}:
            wanted = np.maximum.accumulate([max((s for o, s in n if o == source), default=0) for n in needs])
            there = done[:, source - begin - 1] if source <= end else np.zeros(len(done), dtype=np.int32)
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
                    for missing, steps in rows.needs[m][u]:
                        if state[missing] < steps:
                            wanted.append(missing)
                            break
                    else:
                        wanted.pop()
                        order.append(m)
                        made.append(makers[m].made[u + 1] - makers[m].made[u] - self._in_place(m, state))
                        state[m] = u + 1
                        if rows.pops:
                            self._take_pops(state, m)
            self._orders[end] = np.array(order, dtype=np.int64), np.array(made, dtype=np.int64)
        return self._orders[end]

    def _take_pops(self, state: list[int], m: int | None = None) -> None:
        """Brings `state` up to date with the pops that can be taken behind a step of maker `m`, or at the start."""
        while self.rows.pops if m is None else self.rows.behind[m]:
            pop = self.rows.due(state, m)
            if pop is None:
                break
            state[pop] += 1

    def _in_place(self, m: int, state: list[int]) -> int:
        """Rows of the next step of maker `m` that are written over dying ones."""
        if not self.model.makers[m].in_place:
            return 0
        key = (m, *(state[k] for k in self._watched[m]))
        if key not in self._over:
            self._over[key] = len(self.rows.in_place(m, state, advanced(state, m)))
        return self._over[key]

    def peak(self, profile: Profile, last_of: Tiling | None = None, first_of: Tiling | None = None) -> int:
        """Peak of live bytes of a segment. `last_of`: its beginning is the last tile of these, the others being there;
        rows are joined as they are wanted. `first_of`: its end is the first tile of these, for which what they begin
        with stays whole."""
        makers, first = self.model.makers, profile.begin + 1
        bytes_of = [self.rows.bytes[v] for v in profile.column]
        within = makers[first : profile.end + 1]
        scratch, kept = [m.scratch_bytes for m in within], [m.kept_bytes for m in within]
        making = [self.rows.bytes[m.value] for m in within]  # for a row of its own
        live = profile.live
        parts = [] if last_of is None else [(last_of, last_of.tiles[-1])]
        parts += [] if first_of is None else [(first_of, first_of.tiles[0])]
        for tiling, tile in parts:
            for k in range(tiling.begin + 1 - first, tiling.end + 1 - first):
                part = tile.get(self.model.values[within[k].value].tensor)
                if part is not None:
                    bytes_of[profile.column[within[k].value]] = part.row_bytes
                    making[k] = 0 if part.over else part.row_bytes
                    scratch[k], kept[k] = part.scratch_bytes, part.kept_bytes
        if first_of is not None:
            live = live.copy()
            begins = self.entry if first_of.begin == ENTRY else [makers[first_of.begin].value]
            for v in (*begins, makers[first_of.end].value):
                live[:, profile.column[v]] = profile.made[:, profile.column[v]]
        if last_of is not None:
            joined = makers[last_of.end].value
            bytes_of[profile.column[joined]] = self.rows.bytes[joined]
        state = _total(live, bytes_of) + profile.outputs_bytes
        maker = profile.order - first
        during = np.array(scratch, dtype=np.int64)[maker] + np.array(making, dtype=np.int64)[maker] * profile.own
        if any(kept):
            begun = (profile.done > 0) & (profile.done < [m.steps for m in within])
            state += begun @ np.array(kept, dtype=np.int64)
            begins_now = ~begun[np.arange(len(maker)), maker]
            during += np.array(kept, dtype=np.int64)[maker] * begins_now
        waiting = 0
        if last_of is not None:
            state += self._unjoined(profile, last_of)
            waiting = self._joined(profile, live, state, last_of)
        during += state[:-1]
        if first_of is not None:  # what else is made before its end waits until the last tile is
            during = during[: np.flatnonzero(profile.order == first_of.end)[-1] + 1]
        return max(int(during.max(initial=0)), waiting)

    def _unjoined(self, profile: Profile, tiling: Tiling) -> Numbers:
        """Bytes of the rows of all tiles but the last that are not joined yet, at each time."""
        out = self.model.values[self.model.makers[tiling.end].value]
        earlier = sum(tile[out.tensor].row_bytes for tile in tiling.tiles[:-1])
        made = profile.made[:, profile.column[self.model.makers[tiling.end].value]]
        found: Numbers = (out.rows - made) * np.int64(earlier)
        return found

    def _joined(self, profile: Profile, live: Counts, state: Numbers, tiling: Tiling) -> int:
        """Peak while the rows of tiles are joined to whole ones."""
        v = self.model.makers[tiling.end].value
        rows, each, k = self.model.values[v].rows, self.rows.bytes[v], profile.column[v]
        if rows == 1:
            return 0  # tiles of one row lie side by side
        after = np.flatnonzero(profile.order == tiling.end) + 1
        gone = live[after - 1, k] + profile.made[after, k] - profile.made[after - 1, k] - live[after, k]
        return int((state[after] + np.int64(each) * (1 + np.maximum(gone, 0))).max(initial=0))

    def between(self, profile: Profile, tiling: Tiling) -> int:
        """Peak of the tiles that are neither the first nor the last. `profile`: of the segment from `begin` to
        `end`."""
        v = self.model.makers[tiling.end].value
        out = self.model.values[v]
        peak, done, known = 0, out.rows * tiling.tiles[0][out.tensor].row_bytes, dict[int, int]()
        for tile in tiling.tiles[1:-1]:
            if id(tile) not in known:
                known[id(tile)] = self.peak(profile, None, Tiling(tiling.begin, tiling.end, (tile,)))
            peak = max(peak, known[id(tile)] + done)
            done += out.rows * tile[out.tensor].row_bytes
        return peak


def _total(live: Counts, row_bytes: Sequence[int]) -> Numbers:
    """Bytes at each time of the rows in all columns."""
    found = np.zeros(len(live), dtype=np.int64)
    for column, nbytes in zip(live.T, row_bytes, strict=True):
        if nbytes:
            found += column * np.int64(nbytes)
    return found
