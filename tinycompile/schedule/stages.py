"""Orders for any network: the exact search where it finishes, else stages between cuts.

A *cut* is a maker that everything made before it leads to: when it has made all its rows, only they (and network
outputs) are left. A *stage* makes all rows of one cut from those of an earlier one, each row when it is asked for, so
that it streams to full depth. A shortest path over the cuts, by the peak of live bytes, says which cuts are held whole.
"""

from __future__ import annotations

import heapq

from tinycompile.schedule.interleave import Interleaving, exact_interleaving, gentle_interleaving
from tinycompile.schedule.live_rows import LiveRows, State
from tinycompile.schedule.row_model import RowModel

EXACT_WORK = 4_000_000  # states times makers that the exact search may expand at effort 1
GENTLE_WORK = 500_000  # the same for the order that packs best
EXACT_STEPS = 1200  # longer row programs get a tenth of it: the search would not end


def search_order(model: RowModel, effort: int = 1) -> tuple[Interleaving, ...]:
    """Orders of the least peak that is found, one by each search that finds it, with the bound that is proven; equal
    inputs give equal orders.

    `effort`: 1 and up; each allows four times the states of the one before.
    """
    staged = staged_order(model)
    steps = sum(m.steps for m in model.makers)
    work = EXACT_WORK * 4 ** (effort - 1) // (1 if steps <= EXACT_STEPS else 10)
    upper = staged.peak_bytes + 1 if staged.sequence else None
    exact = exact_interleaving(model, work // max(len(model.makers), 1), upper)
    found = [o for o in (exact, staged) if o.sequence]
    least = min((o.peak_bytes for o in found), default=0)
    sequences = [o.sequence for o in found if o.peak_bytes == least]
    gentle = gentle_interleaving(model, least, GENTLE_WORK // max(len(model.makers), 1)) if sequences else None
    if gentle is not None:
        sequences.insert(0, gentle)
    orders = (Interleaving(s, least, exact.bound_bytes, exact.states) for s in dict.fromkeys(sequences))
    return tuple(orders) or (exact,)


def staged_order(model: RowModel) -> Interleaving:
    """Streamed stages between cuts, of least peak over all choices of cuts. Its bound is only that of the input."""
    rows = LiveRows(model)
    cuts = _cuts(model)
    entry = max(rows.entry_bytes, rows.start_bytes)
    heap: list[tuple[int, int, int, State, int, tuple[int, ...]]] = [(entry, 0, -1, rows.start, rows.start_bytes, ())]
    settled: set[int] = set()
    best: dict[int, int] = {}
    while heap:
        peak, _, at, state, live, sequence = heapq.heappop(heap)
        if at in settled:
            continue
        settled.add(at)
        if state == rows.goal:
            return Interleaving(sequence, peak, entry, len(settled))
        ceiling = best.get(cuts[-1])
        for cut in cuts:
            if cut <= at or cut in settled:
                continue
            limit = min(best.get(cut, 1 << 62), ceiling if ceiling is not None else 1 << 62)
            stage = _stream(rows, cut, state, live, peak, limit)
            if stage is None:
                continue
            taken, after, then, reached = stage
            best[cut] = reached
            heapq.heappush(heap, (reached, len(sequence) + len(taken), cut, after, then, sequence + taken))
    return Interleaving((), 0, entry, len(settled))


def _cuts(model: RowModel) -> list[int]:
    """Makers behind which nothing made before is needed, and the last one, which stands for all that is left."""
    last_reader = {v: max((m for m, _ in readers), default=-1) for v, readers in enumerate(model.readers)}
    made_by = {maker.value: m for m, maker in enumerate(model.makers)}
    cuts = []
    for m in range(len(model.makers)):
        open_values = [
            v for v, maker in made_by.items() if maker < m and last_reader[v] > m and not model.values[v].is_output
        ]
        entering = [v for v, value in enumerate(model.values) if value.at_entry and last_reader[v] > m]
        if not open_values and not entering:
            cuts.append(m)
    return cuts if cuts and cuts[-1] == len(model.makers) - 1 else [*cuts, len(model.makers) - 1]


def _stream(
    rows: LiveRows, cut: int, state: State, live: int, peak: int, limit: int
) -> tuple[tuple[int, ...], State, int, int] | None:
    """All makers up to `cut` to their ends, rows of the cut as early as they can be; None when the peak reaches
    `limit`. Steps taken, then state, live bytes and peak."""
    taken: list[int] = []
    last = len(state) - 1
    targets = [cut] if cut < last else [last, *range(last)]
    # What else was begun or leads elsewhere (network outputs) is made after the cut's own rows.
    targets += [m for m in range(cut) if m not in targets]
    for target in targets:
        while state[target] < rows.goal[target]:
            wanted = [target]
            while wanted:
                m = wanted[-1]
                missing = [o for o, s in rows.needs[m][state[m]] if state[o] < s]
                if missing:
                    wanted.append(missing[0])
                    continue
                adds, change, state = rows.step(m, state)
                peak = max(peak, live + adds)
                live += change
                taken.append(m)
                wanted.pop()
                if peak >= limit:
                    return None
    return tuple(taken), state, live, peak
