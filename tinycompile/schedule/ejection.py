"""Packing into an arena of given height: blocks that find no room take the place of others, which look again.

First fit never goes back. Here a block without room is put where it drives out the blocks that have themselves been
hardest to place (each failure adds to a block's weight), and those are placed next. The work of a move depends on the
neighbours in time of one block, not on the size of the instance. Equal inputs give equal packings: ties are broken by a
generator with a fixed seed, and the limit is a number of moves.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tinycompile.schedule.blocks import Block

Conflicts = list[list[tuple[int, int, int]]]
"""Per block: (other block, low, high), where the two overlap while low < base - other's base < high."""


def conflicts(blocks: Sequence[Block]) -> Conflicts:
    """The distances at which blocks that live at the same time overlap, each pair from both sides."""
    pairs: defaultdict[tuple[int, int], set[tuple[int, int]]] = defaultdict(set)
    starts = sorted((r.first, r.last, r.low, r.high, k) for k, block in enumerate(blocks) for r in block.outline)
    alive: list[tuple[int, int, int, int]] = []
    for first, last, low, high, k in starts:
        alive = [a for a in alive if a[0] >= first]
        for _, other_low, other_high, other in alive:
            if k < other:
                pairs[k, other].add((other_low - high, other_high - low))
            elif k > other:
                pairs[other, k].add((low - other_high, high - other_low))
        alive.append((last, low, high, k))
    result: Conflicts = [[] for _ in blocks]
    for (a, b), distances in sorted(pairs.items()):
        for low, high in _merged(distances):
            result[a].append((b, low, high))
            result[b].append((a, -high, -low))
    return result


def _merged(ranges: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of open ranges; two that only touch stay apart, since what lies between them is allowed."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if result and low < result[-1][1]:
            result[-1] = result[-1][0], max(result[-1][1], high)
        else:
            result.append((low, high))
    return result


def eject(
    blocks: Sequence[Block],
    height: int,
    order: Sequence[int],
    moves: int,
    start: Mapping[int, int] | None = None,
    known: Conflicts | None = None,
) -> tuple[int, ...] | None:
    """Bases with all blocks below `height` bytes, None if `moves` ejections do not find them.

    `order`: which blocks to place first. `start`: bases of blocks that begin in their place. `known`: their conflicts.
    With no moves this is first fit.
    """
    if any(block.size > height for block in blocks):
        return None
    conflicting = conflicts(blocks) if known is None else known
    generator = random.Random(1)
    bases: dict[int, int] = dict(start or {})
    weights = [1] * len(blocks)
    waiting = [k for k in reversed(order) if k not in bases]
    while waiting:
        k = waiting.pop()
        align = blocks[k].align
        top = (height - blocks[k].size) // align * align
        # Bases strictly between the two are not possible; rounding outwards keeps to the aligned ones.
        taken = sorted(
            ((bases[o] + low) // align * align, -(-(bases[o] + high) // align) * align, o)
            for o, low, high in conflicting[k]
            if o in bases
        )
        base = 0
        for low, high, _ in taken:
            if low < base < high:
                base = high
        if base > top:
            if moves == 0:
                return None
            moves -= 1
            weights[k] += 1
            cheapest = _cheapest(taken, top, weights)
            base = cheapest[generator.randrange(len(cheapest))]
            out = {o for low, high, o in taken if low < base < high}
            for o in out:
                del bases[o]
            # The block that fits worst is on top of the stack: it looks for room first.
            waiting += sorted(out, key=lambda o: (weights[o], blocks[o].size, o))
        bases[k] = base
    return tuple(bases[k] for k in range(len(blocks)))


def _cheapest(taken: Sequence[tuple[int, int, int]], top: int, weights: Sequence[int]) -> list[int]:
    """The bases in 0..top, among them and the ends of the ranges, where the blocks in the way weigh least together."""
    events = [(0, 0, 0), (top, 0, 0)]
    for low, high, o in taken:
        events += [(high, 0, -weights[o]), (low, 1, weights[o])]
    events.sort()
    found: list[int] = []
    cost, least = 0, None
    for i, (base, opens, change) in enumerate(events):
        if base > top:
            break
        cost += change
        closed = not opens and (i + 1 == len(events) or events[i + 1][:2] != (base, 0))
        before = opens and events[i - 1][0] != base  # no range ends here: the base is still outside the one that opens
        here = cost - change if before else cost
        if base >= 0 and (closed or before):
            if least is None or here < least:
                least, found = here, []
            if here == least:
                found.append(base)
    return found
