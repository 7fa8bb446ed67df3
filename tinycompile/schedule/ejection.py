"""Packing into an arena of given height: blocks that find no room take the place of others, which look again.

First fit never goes back. Here a block without room is put where it drives out the blocks that weigh least together,
and those are placed next. A block's weight is how hard it is to place: it begins with the time that the block lives,
since one that lives long has many neighbours to move if it moves, and grows with each of its failures. The work of a
move depends on the neighbours in time of one block, not on the size of the instance. Equal inputs give equal packings:
ties are broken by a generator with a fixed seed, and the limit is a number of moves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from tinycompile.schedule.blocks import Block

Numbers = NDArray[np.int64]
Conflicts = list[tuple[Numbers, Numbers, Numbers]]
"""Per block: other blocks, lows, highs: the two overlap while low < base - other's base < high."""

ASKED = 64  # ejections between two questions whether it is over
NOWHERE = -(1 << 40)  # the base of a block without a place: all that it conflicts with lies below the arena


def conflicts(blocks: Sequence[Block]) -> Conflicts:
    """The distances at which blocks that live at the same time overlap, each pair from both sides."""
    if not blocks:
        return []
    found = sorted((r.first, r.last, r.low, r.high, k) for k, block in enumerate(blocks) for r in block.outline)
    first, last, low, high, owner = np.array(found, dtype=np.int64).T
    alive = np.zeros(0, dtype=np.int64)
    before = []
    for i in range(len(found)):
        alive = alive[last[alive] >= first[i]]
        before.append(alive)
        alive = np.append(alive, i)
    old = np.concatenate(before)
    new = np.repeat(np.arange(len(found)), [len(b) for b in before])
    apart = owner[old] != owner[new]
    old, new = old[apart], new[apart]
    below, above = low[old] - high[new], high[old] - low[new]
    columns = (
        np.concatenate([owner[new], owner[old]]),
        np.concatenate([owner[old], owner[new]]),
        np.concatenate([below, -above]),
        np.concatenate([above, -below]),
    )
    order = np.lexsort(columns[::-1])
    block, other, lows, highs = _merged(*(c[order] for c in columns))
    ends = np.searchsorted(block, np.arange(len(blocks) + 1))
    return [(other[a:b], lows[a:b], highs[a:b]) for a, b in pairwise(ends.tolist())]


def _merged(block: Numbers, other: Numbers, low: Numbers, high: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """The union of the open ranges of each pair, sorted; two that only touch stay apart, since what lies between them
    is allowed."""
    if not block.size:
        return block, other, low, high
    fresh = np.append(True, (block[1:] != block[:-1]) | (other[1:] != other[:-1]))
    # The greatest end so far of each pair: pairs are lifted above one another, so that one pass serves all.
    lift = np.cumsum(fresh) * (int(high.max()) - int(low.min()) + 1)
    ends = np.maximum.accumulate(high + lift)
    begins = np.flatnonzero(fresh | np.append(True, (low + lift)[1:] >= ends[:-1]))
    return block[begins], other[begins], low[begins], np.maximum.reduceat(high, begins)


def lifetime(block: Block) -> int:
    """From the first time that a block is in use to the last."""
    return max(r.last for r in block.outline) + 1 - min(r.first for r in block.outline)


class Ejection:
    """Blocks on their way into an arena whose height may be lowered."""

    def __init__(
        self,
        blocks: Sequence[Block],
        order: Sequence[int],
        known: Conflicts | None = None,
        growth: Sequence[int] | None = None,
    ) -> None:
        """`order`: which blocks to place first. `known`: their conflicts. `growth`: the weight with which each block
        begins and by which it grows, by default the square root of the time that it lives."""
        self.conflicting = conflicts(blocks) if known is None else known
        self.sizes, self.aligns = [b.size for b in blocks], [b.align for b in blocks]
        self.bases: Numbers = np.full(len(blocks), NOWHERE, dtype=np.int64)
        self.growth = [isqrt(lifetime(b)) + 1 for b in blocks] if growth is None else list(growth)
        self.weights: Numbers = np.array(self.growth, dtype=np.int64)
        self.generator = random.Random(1)
        self.waiting = list(reversed(order))

    def put(self, start: Mapping[int, int]) -> None:
        """Gives blocks that wait their bases."""
        for k, base in start.items():
            self.bases[k] = base
        self.waiting = [k for k in self.waiting if k not in start]

    def height(self) -> int:
        """Bytes in use; every block must have its place."""
        return int((self.bases + np.array(self.sizes, dtype=np.int64)).max(initial=0))

    def lower(self, height: int) -> None:
        """Takes out the blocks that reach above `height`."""
        over = [
            k
            for k, (base, size) in enumerate(zip(self.bases.tolist(), self.sizes, strict=True))
            if base + size > height
        ]
        self.bases[over] = NOWHERE
        self.waiting += self._hardest_last(over)

    def fill(self, height: int, moves: int, over: Callable[[], bool] = lambda: False) -> int | None:
        """Places all blocks that wait below `height` bytes; how many ejections that took, None where it is more than
        `moves` or it is `over` before. With no moves this is first fit."""
        if max(self.sizes, default=0) > height:
            return None
        spent = 0
        while self.waiting:
            k = self.waiting.pop()
            align = self.aligns[k]
            top = (height - self.sizes[k]) // align * align
            others, low, high = self.conflicting[k]
            # Bases strictly between the two are not possible; rounding outwards keeps to the aligned ones.
            at = self.bases[others]
            low, high = low + at, high + at
            if align > 1:
                low, high = low // align * align, -(-high // align) * align
            weights = self.weights[others]
            cost, cheapest = _cheapest(low, high, weights, top)
            base = cheapest[0]
            if cost:
                if spent >= moves or (spent % ASKED == 0 and over()):
                    self.waiting.append(k)
                    return None
                spent += 1
                self.weights[k] += self.growth[k]
                base = cheapest[self.generator.randrange(len(cheapest))]
                out = others[(low < base) & (high > base)].tolist()
                self.bases[out] = NOWHERE
                self.waiting += self._hardest_last(out)
            self.bases[k] = base
        return spent

    def _hardest_last(self, some: Iterable[int]) -> list[int]:
        """The block that fits worst goes on top of the stack: it looks for room first."""
        return sorted(some, key=lambda k: (self.weights[k], self.sizes[k], k))


def eject(
    blocks: Sequence[Block],
    height: int,
    order: Sequence[int],
    moves: int,
    start: Mapping[int, int] | None = None,
    known: Conflicts | None = None,
    over: Callable[[], bool] = lambda: False,
) -> tuple[int, ...] | None:
    """Bases with all blocks below `height` bytes, None if `moves` ejections do not find them. `start`: bases of blocks
    that begin in their place. All blocks weigh alike at first."""
    search = Ejection(blocks, order, known, [1] * len(blocks))
    search.put(start or {})
    return None if search.fill(height, moves, over) is None else tuple(search.bases.tolist())


def _cheapest(low: Numbers, high: Numbers, weights: Numbers, top: int) -> tuple[int, list[int]]:
    """The bases in 0..top, among them and the ends of the ranges, where the blocks in the way weigh least together, in
    ascending order, and what they weigh there: 0 at the lowest base that is free."""
    n = len(low)
    places, change = np.empty((2, 2 * n + 2), dtype=np.int64)
    places[:n], places[n:-2], places[-2], places[-1] = high, low, 0, top
    np.negative(weights, out=change[:n])
    change[n:-2], change[-2:] = weights, 0
    # Ranges are open, so that at one place some end before others begin: the sort is stable.
    order = places.argsort(kind="stable")
    places, change = places[order], change[order]
    cost = change.cumsum()
    cost -= np.maximum(change, 0)  # at the place where a range begins it is not in the way yet
    first, end = places.searchsorted((0, top + 1)).tolist()
    cost, places = cost[first:end], places[first:end]
    least = int(np.minimum.reduce(cost))
    return least, list(dict.fromkeys(places[cost == least].tolist()))
