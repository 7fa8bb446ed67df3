"""Liveness: when the bytes of each value must stay intact, for one order of steps.

Time 0 is the entry, when the caller has filled all network inputs; the step at position i of the order runs at time
i + 1. A value lives from the time it is written to its last read; network outputs live to the end.
"""

from __future__ import annotations

from tinycompile.schedule.storage import Storage

Interval = tuple[int, int]


def lifetimes(storage: Storage, sequence: tuple[int, ...]) -> tuple[Interval, ...]:
    """First and last time (both included) of each value of `storage`."""
    time = {storage.steps[k].op: i + 1 for i, k in enumerate(sequence)}
    result = []
    for value in storage.values:
        birth = 0 if value.producer is None else time[value.producer]
        last = max((time[c] for c in value.consumers), default=birth)
        result.append((birth, len(sequence) if value.is_output else last))
    return tuple(result)
