"""Orders for any network: the exact search where it finishes, else stages between cuts.

A *cut* is a maker that everything made before it leads to: when it has made all its rows, only they (and network
outputs) are left. A *stage* makes all rows of one cut from those of an earlier one, each row when it is asked for, so
that it streams to full depth. A shortest path over the cuts, by the peak of live bytes, says which cuts are held whole.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tinycompile.schedule.interleave import NEVER, Interleaving, exact_interleaving, gentle_interleaving
from tinycompile.schedule.live_rows import LiveRows, State
from tinycompile.schedule.reorder import prompt, settled
from tinycompile.schedule.row_model import RowModel
from tinycompile.schedule.window_bounds import WIDTH, window_bound
from tinycompile.watch import Watch

EXACT_STATES = 250_000  # that the exact search may expand at effort 1, for orders and bounds together
EXACT_STEPS = 600_000  # that it may try between them, which a wide network spends first
TILED_STATES = 2_500  # at effort 0, of networks in tiles: it never finishes there, and what it finds it finds early
WINDOW_PART = 4  # as many states for bounds from windows, where the exact search does not finish: this part of its own
GENTLE_WORK = 200_000  # states times makers for the order that packs best


def search_order(
    model: RowModel,
    effort: int = 1,
    upper: int | None = None,
    stops: tuple[int, ...] = (),
    watch: Watch | None = None,
) -> tuple[Interleaving, ...]:
    """Orders of the least peak that is found, one by each search that finds it, with the bound that is proven; equal
    inputs give equal orders, unless `watch` ends the search.

    `effort`: 0 and up; each allows four times the states of the one before. `upper`: orders whose peak reaches it are
    of no interest; where none is found below, the answer has no sequence. It costs a quarter. `stops`: as for
    `staged_order`.
    """
    watch = watch or Watch()
    watch.phase("order of rows")
    staged = staged_order(model, stops)
    known = [p for p in (staged.peak_bytes + 1 if staged.sequence else None, upper) if p is not None]
    states = TILED_STATES * 4**effort if stops else EXACT_STATES * 4**effort // (4 if upper is None else 16)

    def report(best: int | None, bound: int) -> bool:
        return watch.found(min(filter(None, (best, staged.peak_bytes)), default=None), bound)

    steps = NEVER if stops else EXACT_STEPS * 4**effort // (4 if upper is None else 16)
    exact = exact_interleaving(model, states, min(known, default=None), report, steps)
    open_gap = staged.sequence and exact.bound_bytes < (exact.peak_bytes or staged.peak_bytes)
    if upper is None and not stops and open_gap:
        bound = window_bound(
            model, exact.bound_bytes, exact.peak_bytes or staged.peak_bytes, states // WINDOW_PART, watch
        )
        if bound > exact.bound_bytes:
            exact = replace(exact, bound_bytes=bound, method=f"of exact searches of windows of {WIDTH} operators")
    found = [o for o in (exact, staged) if o.sequence and (upper is None or o.peak_bytes < upper)]
    least = min((o.peak_bytes for o in found), default=0)
    sequences = [o.sequence for o in found if o.peak_bytes == least]
    work = 0 if watch.over() or not sequences else GENTLE_WORK // max(len(model.makers), 1)
    gentle = gentle_interleaving(model, least, work, watch.over)
    if gentle is not None:
        sequences.insert(0, gentle)
    calm = dict.fromkeys((prompt(model, s) if watch.over() else settled(model, s, least)) for s in sequences)
    orders = (replace(exact, sequence=s, peak_bytes=least) for s in calm)
    return tuple(orders) or (exact,)


def staged_order(model: RowModel, stops: tuple[int, ...] = ()) -> Interleaving:
    """Streamed stages between cuts, of least peak over all choices of cuts. Its bound is only that of the input.

    `stops`: makers that make all their rows before what is behind them begins, in this order (the ends of tiles).
    """
    rows = LiveRows(model)
    ends = cuts(model)
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
        ceiling = best.get(ends[-1])
        for cut in ends:
            if cut <= at or cut in settled:
                continue
            limit = min(best.get(cut, 1 << 62), ceiling if ceiling is not None else 1 << 62)
            stage = _stream(rows, cut, state, live, peak, limit, stops)
            if stage is None:
                continue
            taken, after, then, reached = stage
            best[cut] = reached
            heapq.heappush(heap, (reached, len(sequence) + len(taken), cut, after, then, sequence + taken))
    return Interleaving((), 0, entry, len(settled))


def cuts(model: RowModel) -> list[int]:
    """Makers behind which nothing made before is needed, and the last one, which stands for all that is left."""
    makers = [m for m, maker in enumerate(model.makers) if maker.pops is None]  # pops leave nothing to hold
    last_reader = {
        v: max((m for m, _ in readers if model.makers[m].pops is None), default=-1)
        for v, readers in enumerate(model.readers)
    }
    made_by = {model.makers[m].value: m for m in makers}
    found = []
    for m in makers:
        open_values = [
            v for v, maker in made_by.items() if maker < m and last_reader[v] > m and not model.values[v].is_output
        ]
        entering = [v for v, value in enumerate(model.values) if value.at_entry and last_reader[v] > m]
        if not open_values and not entering:
            found.append(m)
    last = max(makers, default=len(model.makers) - 1)
    return found if found and found[-1] == last else [*found, last]


def _stream(
    rows: LiveRows, cut: int, state: State, live: int, peak: int, limit: int, stops: tuple[int, ...]
) -> tuple[tuple[int, ...], State, int, int] | None:
    """All makers up to `cut` to their ends, rows of the cut as early as they can be, pops at once; None when the peak
    reaches `limit`. Steps taken, then state, live bytes and peak."""
    # What else was begun or leads elsewhere (network outputs) is made after the cut's own rows.
    targets = dict.fromkeys((*(m for m in stops if m < cut), cut, *range(cut)))
    return _reach(rows, targets, state, live, peak, limit)


def phase_peaks(model: RowModel, phases: Sequence[Sequence[int]]) -> list[int]:
    """Peak of live bytes of each phase of an order: makers that make all their rows in turn, each row when it is asked
    for."""
    rows = LiveRows(model)
    state, live, peak = rows.start, rows.start_bytes, rows.entry_bytes
    peaks = []
    for targets in phases:
        reached = _reach(rows, targets, state, live, max(peak, live), 1 << 62)
        assert reached is not None
        _, state, live, found = reached
        peaks.append(found)
        peak = 0
    return peaks


def _reach(
    rows: LiveRows, targets: Iterable[int], begin: State, live: int, peak: int, limit: int
) -> tuple[tuple[int, ...], State, int, int] | None:
    """Makers to their ends in turn, as `_stream` does."""
    taken, state = list[int](), list(begin)

    def take(m: int) -> int:
        """Takes a step; the bytes that it adds."""
        nonlocal live
        adds, change = rows.effect(m, state)
        state[m] += 1
        live += change
        taken.append(m)
        return adds

    while (pop := rows.due(state)) is not None:  # rows of an input that is an output
        take(pop)
    for target in targets:
        while state[target] < rows.goal[target]:
            wanted = [target]
            while wanted:
                m = wanted[-1]
                missing = [o for o, s in rows.needs[m][state[m]] if state[o] < s]
                if missing:
                    wanted.append(missing[0])
                    continue
                peak = max(peak, live + take(m))
                wanted.pop()
                if peak >= limit:
                    return None
                while (pop := rows.due(state, m)) is not None:
                    take(pop)
    return tuple(taken), tuple(state), live, peak
