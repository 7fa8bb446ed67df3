"""Other orders of row steps with a peak no higher than a given one: neighbouring steps that do not need one another
change places. A settled order leaves most bytes free beside the peak, which helps to pack."""

from __future__ import annotations

import random

from tinycompile.schedule.live_rows import LiveRows
from tinycompile.schedule.row_model import RowModel

SETTLING_PASSES = 50


def prompt(model: RowModel, sequence: tuple[int, ...]) -> tuple[int, ...]:
    """The order with every pop as early as it can be: it only frees bytes, so no step holds more than before."""
    rows = LiveRows(model)
    if not rows.pops:
        return sequence
    state, result = list(rows.start), []
    for m in (None, *sequence):
        if m is not None and model.makers[m].pops is not None:
            continue
        taken = rows.due(state) if m is None else m
        while taken is not None:
            result.append(taken)
            state[taken] += 1
            taken = rows.due(state, m)
    return tuple(result)


def reordered(model: RowModel, sequence: tuple[int, ...], peak_bytes: int, seed: int) -> tuple[int, ...]:
    """The order after some passes that exchange neighbours at random, never above `peak_bytes`. The same seed gives the
    same order; the number of passes grows with it."""
    rows = LiveRows(model)
    generator = random.Random(seed)
    order = list(sequence)
    for _ in range(2 ** (seed // 4 % 4)):
        state, live = list(rows.start), rows.start_bytes
        for i in range(len(order)):
            if i + 1 < len(order) and order[i] != order[i + 1] and generator.random() < 0.5:
                first, second = order[i + 1], order[i]
                if _exchanged(rows, state, live, first, second, peak_bytes):
                    order[i], order[i + 1] = first, second
            live += rows.effect(order[i], state)[1]
            state[order[i]] += 1
    return prompt(model, tuple(order))


def settled(model: RowModel, sequence: tuple[int, ...], peak_bytes: int) -> tuple[int, ...]:
    """The order in which no step can change places with the one before it and so leave less live between the two:
    what frees bytes comes early, what takes them late. Never above `peak_bytes`."""
    rows = LiveRows(model)
    order = list(sequence)
    for _ in range(SETTLING_PASSES):
        state, live, settling = list(rows.start), rows.start_bytes, False
        for i in range(len(order)):
            change = rows.effect(order[i], state)[1]
            if i + 1 < len(order) and order[i] != order[i + 1] and rows.ready(order[i + 1], state):
                first, second = order[i + 1], order[i]
                other_change = rows.effect(first, state)[1]
                if other_change < change and _exchanged(rows, state, live, first, second, peak_bytes):
                    order[i], order[i + 1] = first, second
                    change, settling = other_change, True
            state[order[i]] += 1
            live += change
        if not settling:
            break
    return prompt(model, tuple(order))


def _exchanged(rows: LiveRows, state: list[int], live: int, first: int, second: int, peak_bytes: int) -> bool:
    """Whether the next two steps may be those of makers `first` and `second`, within `peak_bytes`."""
    if not rows.ready(first, state):
        return False
    adds, change = rows.effect(first, state)
    if live + adds > peak_bytes:
        return False
    state[first] += 1
    fits = rows.ready(second, state) and live + change + rows.effect(second, state)[0] <= peak_bytes
    state[first] -= 1
    return fits
