"""Lower bounds from windows of consecutive makers, for networks that the exact search does not finish.

Take from any order the steps of some makers: they are an order of the model that is left when all other makers are
gone, where values made outside count nothing, and a value made inside lives until its last reader inside has read it;
without one its row counts only while it is made. At each of these steps the window holds no more than the network: its
rows are some of the network's rows. A row that the network writes over a dying one may take bytes of its own in the
window, but then the dying row, which is at least as long, is not counted there. So the least peak of a window bounds
that of the network, and a bound of the window's search is one as well.
"""

from __future__ import annotations

from dataclasses import replace

from tinycompile.schedule.interleave import raised_bound
from tinycompile.schedule.row_model import Maker, RowModel
from tinycompile.watch import Watch

WIDTH = 17  # makers of a window: two or three inverted bottlenecks with their additions
STRIDE = 3


def window_bound(model: RowModel, low: int, high: int, max_states: int, watch: Watch | None = None) -> int:
    """A bound of at least `low` on the peaks of all orders; `high`: the peak of one that is known. `watch` may end it
    early, with the bound reached."""
    watch = watch or Watch()
    watch.phase("bounds from windows")
    for first in range(0, max(len(model.makers) - WIDTH, 0) + STRIDE, STRIDE):
        if low >= high or max_states <= 0 or not watch.found(high, low):
            break
        window = window_model(model, first, first + WIDTH)
        low, spent = raised_bound(window, low, high, max_states // 2, watch.over)
        max_states -= spent
    return low


def window_model(model: RowModel, first: int, end: int, *, entry: bool = False) -> RowModel:
    """The makers from `first` on and before `end`, and the values that they make; with `entry` also what is there
    before the first step and read inside: it lives until its last reader there has read it."""

    inside = model.makers[first:end]
    made = {maker.value: m for m, maker in enumerate(inside)}
    there = [r.value for maker in inside for r in maker.reads if entry and model.values[r.value].at_entry]
    kept = {v: k for k, v in enumerate(sorted({*made, *there}))}
    makers: list[Maker] = []
    for maker in inside:
        reads = tuple(replace(r, value=kept[r.value]) for r in maker.reads if r.value in kept)
        in_place = tuple(replace(p, value=kept[p.value]) for p in maker.in_place if p.value in kept)
        makers.append(replace(maker, value=kept[maker.value], reads=reads, in_place=in_place))
    values = tuple(replace(model.values[v], maker=made.get(v)) for v in kept)
    readers: list[list[tuple[int, int]]] = [[] for _ in values]
    for m, maker in enumerate(makers):
        for r, reading in enumerate(maker.reads):
            readers[reading.value].append((m, r))
    return RowModel(values, tuple(makers), tuple(map(tuple, readers)))
