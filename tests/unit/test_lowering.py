"""A falling ceiling: packings of blocks that do not fit into their live bytes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tinycompile.schedule.allocate import greedy
from tinycompile.schedule.blocks import Block, Rectangle
from tinycompile.schedule.ejection import Ejection, lifetime
from tinycompile.schedule.lowering import lowered
from tinycompile.watch import Watch


def rows_between_maps(seed: int) -> list[Block]:
    """Rows of two maps, one read and one made, and short-lived rows of odd sizes between the two."""
    generator = np.random.default_rng(seed)
    blocks = []
    for k in range(24):
        blocks.append(Block({}, (Rectangle(0, 10 * k + 9, 0, 36),), 1))
        blocks.append(Block({}, (Rectangle(10 * k + 5, 240, 0, 28),), 4))
    for t in range(238):
        blocks.append(
            Block({}, (Rectangle(t, t + int(generator.integers(1, 12)), 0, 4 * int(generator.integers(2, 30))),), 4)
        )
    return blocks


def live_bytes(blocks: list[Block]) -> list[int]:
    times = 1 + max(r.last for b in blocks for r in b.outline)
    live = np.zeros(times, dtype=np.int64)
    for b in blocks:
        for r in b.outline:
            live[r.first : r.last + 1] += r.high - r.low
    return [int(n) for n in live]


@pytest.mark.parametrize("seed", range(4))
def test_the_ceiling_comes_down_below_first_fit_and_nothing_overlaps(seed: int) -> None:
    blocks = rows_between_maps(seed)
    live = live_bytes(blocks)
    found = lowered(blocks, live, max(live), 3_000, Watch())
    assert found is not None
    assert found == lowered(blocks, live, max(live), 3_000, Watch())
    assert max(live) <= found.arena_bytes < greedy(blocks, max(live)).arena_bytes
    placed = [(b.outline[0], base) for b, base in zip(blocks, found.bases, strict=True)]
    for (a, low), (b, other) in combinations(placed, 2):
        if a.first <= b.last and b.first <= a.last:
            assert low + a.high <= other or other + b.high <= low
    assert all(base >= 0 and base % b.align == 0 for b, base in zip(blocks, found.bases, strict=True))
    assert max(base + b.size for b, base in zip(blocks, found.bases, strict=True)) == found.arena_bytes


def test_a_search_that_is_over_packs_in_one_short_try() -> None:
    blocks = rows_between_maps(0)
    live = live_bytes(blocks)
    watch = Watch()
    watch.stop()
    found = lowered(blocks, live, max(live), 1 << 40, watch)
    assert found is not None
    assert found.arena_bytes >= max(live)


def test_lowering_takes_out_only_what_reaches_above() -> None:
    blocks = [Block({}, (Rectangle(0, 4, 0, 4),), 1), Block({}, (Rectangle(2, 3, 0, 4),), 1)]
    search = Ejection(blocks, [0, 1])
    assert search.fill(12, 0) == 0
    assert search.height() == 8
    search.lower(6)
    assert search.waiting == [1]
    assert search.fill(6, 10) is None
    assert [lifetime(b) for b in blocks] == [5, 2]
