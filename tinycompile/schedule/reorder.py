"""Other orders of row steps with a peak no higher than a given one: neighbouring steps that do not need one another
change places."""

from __future__ import annotations

import random

from tinycompile.schedule.live_rows import LiveRows
from tinycompile.schedule.row_model import RowModel


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
    return tuple(order)
