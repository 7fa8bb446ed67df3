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

from tinycompile.schedule.live_rows import LiveRows, State
from tinycompile.schedule.row_model import RowModel
from tinycompile.schedule.stages import cuts

ENTRY = -1  # the cut before the first maker: the network input


@dataclass(frozen=True)
class Profile:
    """Live rows during each step of a segment, by step and value; `scratch_bytes` beside them, those that are kept
    included (of tiles that is too much: each keeps its own columns)."""

    values: tuple[int, ...]
    live: NDArray[np.int64]
    scratch_bytes: NDArray[np.int64]


class Segments:
    """Segments between the cuts of a row model. Cuts are makers; ENTRY stands for the network input."""

    def __init__(self, model: RowModel) -> None:
        self.model, self.rows = model, LiveRows(model)
        self.cuts = [m for m in cuts(model) if model.makers[m].op is not None]
        self.entry = [v for v, value in enumerate(model.values) if value.maker is None]

    def tensor(self, cut: int) -> str:
        """The tensor that a cut holds whole."""
        value = self.entry[0] if cut == ENTRY else self.model.makers[cut].value
        return self.model.values[value].tensor

    def nbytes(self, cut: int) -> int:
        """Arena bytes of the tensor that a cut holds whole."""
        held = self.entry if cut == ENTRY else [self.model.makers[cut].value]
        return sum(self.model.values[v].rows * self.rows.bytes[v] for v in held)

    def profile(self, begin: int, end: int, ceiling_bytes: int) -> Profile | None:
        """The live rows of a segment streamed to full depth; None as soon as those that it makes itself exceed
        `ceiling_bytes`."""
        rows, model = self.rows, self.model
        state = tuple(goal if m <= begin else 0 for m, goal in enumerate(rows.goal))
        inside = [model.makers[m].value for m in range(begin + 1, end + 1)]
        held = self.entry if begin == ENTRY else [model.makers[begin].value]
        current = {v: rows.live_rows(v, state) for v in (*held, *inside)}
        own = 0
        taken: list[list[int]] = []
        scratch: list[int] = []
        for target in (end, *range(begin + 1, end)):
            while state[target] < rows.goal[target]:
                m = self._next(target, state)
                u, maker = state[m], model.makers[m]
                after = (*state[:m], u + 1, *state[m + 1 :])
                made = maker.made[u + 1] - maker.made[u] - len(rows.in_place(m, state, after))
                current[maker.value] += made
                taken.append(list(current.values()))
                kept = sum(
                    other.kept_bytes
                    for k, other in enumerate(model.makers[begin + 1 : end + 1], begin + 1)
                    if k == m or 0 < state[k] < rows.goal[k]
                )
                scratch.append(maker.scratch_bytes + kept)
                if own + made * rows.bytes[maker.value] > ceiling_bytes:
                    return None
                current[maker.value] -= made
                state = after
                for v in rows.touches[m]:
                    live = rows.live_rows(v, state)
                    own += 0 if v in held else (live - current[v]) * rows.bytes[v]
                    current[v] = live
        return Profile(tuple(current), np.array(taken, dtype=np.int64), np.array(scratch, dtype=np.int64))

    def _next(self, target: int, state: State) -> int:
        """The maker whose step brings the next row of `target` nearer."""
        while True:
            missing = [o for o, s in self.rows.needs[target][state[target]] if state[o] < s]
            if not missing:
                return target
            target = missing[0]

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
        for k, row_bytes in enumerate(tiles):
            last = k == len(tiles) - 1
            # Until the last tile takes rows away, the map that the segment begins with is there whole.
            own = [row_bytes.get(model.values[v].tensor, self.rows.bytes[v] if last else 0) for v in profile.values]
            within = int((profile.live @ np.array(own, dtype=np.int64) + profile.scratch_bytes).max())
            peak = max(peak, within + done + (out_row if last else self.nbytes(begin)))
            done += model.values[out].rows * row_bytes[out_name]
        return peak
