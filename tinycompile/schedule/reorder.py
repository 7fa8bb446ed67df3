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
    state, result = rows.start, []
    for m in (None, *sequence):
        if m is not None and model.makers[m].pops is not None:
            continue
        taken = rows.due(state) if m is None else m
        while taken is not None:
            result.append(taken)
            state = (*state[:taken], state[taken] + 1, *state[taken + 1 :])
            taken = rows.due(state, m)
    return tuple(result)


def reordered(model: RowModel, sequence: tuple[int, ...], peak_bytes: int, seed: int) -> tuple[int, ...]:
    """The order after some passes that exchange neighbours at random, never above `peak_bytes`. The same seed gives the
    same order; the number of passes grows with it."""
    rows = LiveRows(model)
    generator = random.Random(seed)
    order = list(sequence)
    for _ in range(2 ** (seed // 4 % 4)):
        state, live = rows.start, rows.start_bytes
        for i in range(len(order)):
            if i + 1 < len(order) and order[i] != order[i + 1] and generator.random() < 0.5:
                first, second = order[i + 1], order[i]
                if rows.ready(first, state):
                    adds, change, after = rows.step(first, state)
                    if live + adds <= peak_bytes and rows.ready(second, after):
                        more, _, _ = rows.step(second, after)
                        if live + change + more <= peak_bytes:
                            order[i], order[i + 1] = first, second
            _, change, state = rows.step(order[i], state)
            live += change
    return prompt(model, tuple(order))


def settled(model: RowModel, sequence: tuple[int, ...], peak_bytes: int) -> tuple[int, ...]:
    """The order in which no step can change places with the one before it and so leave less live between the two:
    what frees bytes comes early, what takes them late. Never above `peak_bytes`."""
    rows = LiveRows(model)
    order = list(sequence)
    for _ in range(SETTLING_PASSES):
        state, live, settling = rows.start, rows.start_bytes, False
        for i in range(len(order)):
            _, change, after = rows.step(order[i], state)
            if i + 1 < len(order) and order[i] != order[i + 1] and rows.ready(order[i + 1], state):
                first, second = order[i + 1], order[i]
                other_adds, other_change, between = rows.step(first, state)
                if other_change < change and live + other_adds <= peak_bytes and rows.ready(second, between):
                    more, _, _ = rows.step(second, between)
                    if live + other_change + more <= peak_bytes:
                        order[i], order[i + 1] = first, second
                        change, after, settling = other_change, between, True
            state, live = after, live + change
        if not settling:
            break
    return prompt(model, tuple(order))
