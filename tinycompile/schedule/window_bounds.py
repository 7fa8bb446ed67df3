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
    """The makers from `first` on and before `end`; values made outside stay, uncounted, but with `entry` for what is
    there before the first step: that lives until its last reader inside has read it."""

    def inside(v: int) -> bool:
        maker = model.values[v].maker
        return maker is not None and first <= maker < end

    def stays(v: int) -> bool:
        return inside(v) or (entry and model.values[v].at_entry)

    makers: list[Maker] = []
    for maker in model.makers[first:end]:
        reads = tuple(r for r in maker.reads if stays(r.value))
        in_place = tuple(p for p in maker.in_place if stays(p.value))
        makers.append(replace(maker, reads=reads, in_place=in_place))
    values = tuple(
        replace(value, maker=value.maker - first)
        if value.maker is not None and inside(v)
        else replace(value, maker=None, counted=value.counted and stays(v))
        for v, value in enumerate(model.values)
    )
    readers: list[list[tuple[int, int]]] = [[] for _ in values]
    for m, maker in enumerate(makers):
        for r, reading in enumerate(maker.reads):
            readers[reading.value].append((m, r))
    return RowModel(values, tuple(makers), tuple(map(tuple, readers)))
