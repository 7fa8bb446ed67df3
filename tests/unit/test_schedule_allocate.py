"""Packing: first fit and CP-SAT against rectangles that are known to fit exactly."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tinycompile.schedule.allocate import Packing, exact, greedy
from tinycompile.schedule.blocks import Block, Rectangle


def guillotine(seed: int, height: int = 64, times: int = 14) -> list[Block]:
    """One rectangle cut at random: the pieces fit `height` with no byte to spare, for a bound of `height`."""
    rng = np.random.default_rng(seed)
    todo = [(0, times, 0, height)]
    done: list[tuple[int, int, int, int]] = []
    while todo:
        t0, t1, low, high = todo.pop(int(rng.integers(len(todo))))
        if len(todo) + len(done) >= 22 or (t1 - t0 < 2 and high - low < 8):
            done.append((t0, t1, low, high))
        elif t1 - t0 >= 2 and (high - low < 8 or rng.random() < 0.5):
            cut = int(rng.integers(t0 + 1, t1))
            todo += [(t0, cut, low, high), (cut, t1, low, high)]
        else:
            cut = int(rng.integers(low + 1, high))
            todo += [(t0, t1, low, cut), (t0, t1, cut, high)]
    return [Block({}, (Rectangle(t0, t1 - 1, 0, high - low),), 1) for t0, t1, low, high in done]


def overlaps(blocks: list[Block], packing: Packing) -> bool:
    placed = [
        (r.first, r.last, base + r.low, base + r.high)
        for b, base in zip(blocks, packing.bases, strict=True)
        for r in b.outline
    ]
    return any(a[0] <= b[1] and b[0] <= a[1] and a[2] < b[3] and b[2] < a[3] for a, b in combinations(placed, 2))


@pytest.mark.parametrize("seed", range(20))
def test_exact_packing_meets_the_bound_where_first_fit_does_not(seed: int) -> None:
    blocks = guillotine(seed)
    first = greedy(blocks, 64)
    assert not overlaps(blocks, first)
    best = exact(blocks, first, 64, 5.0) if first.arena_bytes > 64 else first
    assert not overlaps(blocks, best)
    assert best.arena_bytes == 64
    assert all(base >= 0 for base in best.bases)


def test_first_fit_alone_is_not_enough() -> None:
    """The control: some of these need the exact packing, so the test above exercises it."""
    assert any(greedy(guillotine(seed), 64).arena_bytes > 64 for seed in range(20))


def test_the_overlap_check_finds_an_overlap() -> None:
    blocks = guillotine(0)
    assert overlaps(blocks, Packing((0,) * len(blocks), 64, "all at 0"))


def test_exact_packing_is_reproducible_and_aligned() -> None:
    blocks = [
        Block({}, tuple(Rectangle(r.first, r.last, 0, 4 * r.high + 1) for r in b.outline), 4) for b in guillotine(3)
    ]
    first = greedy(blocks, 0)
    bound = max(sum(r.high for b in blocks for r in b.outline if r.first <= t <= r.last) for t in range(14))
    runs = [exact(blocks, first, bound, 1.0) for _ in range(2)]
    assert runs[0] == runs[1]
    assert all(base % 4 == 0 for base in runs[0].bases)
    assert not overlaps(blocks, runs[0])
