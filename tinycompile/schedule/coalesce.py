"""Coalescing: the same row steps in fewer and longer runs, under a limit on live bytes.

A step taken earlier, directly behind another step of its maker, lengthens a run. Between its new and its old place the
live bytes grow by at most what it adds at its new place (live bytes are submodular, docs/adr/0001-row-scheduler.md), so
that a bound per step is enough to know that the limit holds. With room enough every operator makes its rows at once.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from tinycompile.schedule.live_rows import LiveRows
from tinycompile.schedule.reorder import prompt
from tinycompile.schedule.row_model import RowModel


def runs(sequence: tuple[int, ...]) -> int:
    """Runs of equal makers: kernel functions called."""
    return sum(k == 0 or m != sequence[k - 1] for k, m in enumerate(sequence))


def peak_bytes(model: RowModel, sequence: tuple[int, ...]) -> int:
    """Live bytes at the peak of an order."""
    rows = LiveRows(model)
    return max((int(b) for b in _during(rows, sequence)), default=rows.entry_bytes)


def coalesce(model: RowModel, sequence: tuple[int, ...], limit_bytes: int) -> tuple[int, ...]:
    """An order with at most as many runs whose live bytes stay within `limit_bytes` (those of `sequence` must).

    Pushed rows stay where they are: a row is taken from the caller when something needs it. Pops come at once.
    """
    found = sequence
    for _ in range(3):  # what the bound per step forbids in one pass, exact figures may allow in the next
        better = _pass(model, found, limit_bytes)
        if runs(better) >= runs(found):
            break
        found = better
    return found


def _during(rows: LiveRows, sequence: tuple[int, ...]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    state, live = list(rows.start), rows.start_bytes
    result = np.zeros(len(sequence), dtype=np.int64)
    for k, m in enumerate(sequence):
        adds, change = rows.effect(m, state)
        state[m] += 1
        result[k] = live + adds
        live += change
    return result


def _pass(model: RowModel, sequence: tuple[int, ...], limit_bytes: int) -> tuple[int, ...]:
    rows = LiveRows(model)
    during = _during(rows, sequence)
    places: list[deque[int]] = [deque() for _ in model.makers]
    for k, m in enumerate(sequence):
        places[m].append(k)
    taken = np.zeros(len(sequence), dtype=np.bool_)
    state, live = list(rows.start), rows.start_bytes
    result: list[int] = []
    for k, m in enumerate(sequence):
        if taken[k]:
            continue
        places[m].popleft()
        live += rows.effect(m, state)[1]
        state[m] += 1
        result.append(m)
        while model.makers[m].op is not None and places[m] and rows.ready(m, state):
            old = places[m][0]
            adds, change = rows.effect(m, state)
            between = during[k + 1 : old][~taken[k + 1 : old]]
            worst = int(between.max()) if between.size else 0
            if live + adds > limit_bytes or worst + max(change, 0) > limit_bytes:
                break
            during[k + 1 : old] += change
            taken[old] = True
            places[m].popleft()
            state[m] += 1
            live += change
            result.append(m)
    return prompt(model, tuple(result))
