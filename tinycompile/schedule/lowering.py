"""The least arena for given blocks, where they do not pack into their live bytes: a ceiling that comes down.

Blocks are packed with room to spare; then the ceiling comes down by a part of the distance to the live bytes, and the
blocks that reach above it look for other places (`schedule.ejection`). What was hard to place is known by then. The
next try begins below the best height so far, with blocks placed in another order.

Blocks that live long come first: the maps between stages in tiles lie side by side at the bottom, where they leave no
holes, and what comes and goes with every row shares what is above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isqrt

from tinycompile.schedule.allocate import Packing
from tinycompile.schedule.blocks import Block
from tinycompile.schedule.ejection import Conflicts, Ejection, conflicts, lifetime
from tinycompile.watch import Watch

ROOM = 8  # the first ceiling is above the live bytes by this part of them
STEP = 7, 8  # of the distance to the live bytes that the next ceiling keeps
LAST_STEP = 15, 16  # in the last tries: what two thirds of them could not do is hard
LONG = 20  # a block that lives this part of all times is a long one
LEVELS = 10  # of contention
TRIES = 6
LATE_MOVES = 2_000


def lowered(
    blocks: Sequence[Block], live_bytes: Sequence[int], bound_bytes: int, moves: int, watch: Watch
) -> Packing | None:
    """The least packing that tries of `moves` ejections each find, None where none is near `bound_bytes`. `watch` ends
    it; if it has before, one short try is made all the same, since a first fit alone is far from the bound."""
    known = conflicts(blocks)
    best: Packing | None = None
    for k, (growth, order) in enumerate(_tries(blocks, live_bytes, known)):
        late = watch.over()
        if late and k:
            break
        search, left = Ejection(blocks, order, known, growth), LATE_MOVES if late else moves
        step = STEP if 3 * k < 2 * TRIES else LAST_STEP
        height = bound_bytes + (bound_bytes // ROOM if best is None else _kept(best.arena_bytes - bound_bytes, step))
        while (spent := search.fill(height, left, _never if late else watch.over)) is not None:
            left -= spent
            best = Packing(tuple(search.bases.tolist()), search.height(), "ejection below a falling ceiling")
            watch.found(best.arena_bytes, bound_bytes)
            if best.arena_bytes <= bound_bytes:
                return best
            height = bound_bytes + _kept(best.arena_bytes - bound_bytes, step)
            search.lower(height)
    return best


def _never() -> bool:
    return False


def _kept(distance: int, step: tuple[int, int]) -> int:
    return distance * step[0] // step[1]


def _tries(
    blocks: Sequence[Block], live_bytes: Sequence[int], known: Conflicts
) -> list[tuple[list[int] | None, list[int]]]:
    """How weights grow, and which blocks to place first."""
    peak, times = max(live_bytes), len(live_bytes)
    contention = [max(max(live_bytes[r.first : r.last + 1]) for r in b.outline) for b in blocks]
    spans, firsts = [lifetime(b) for b in blocks], [b.outline[0].first for b in blocks]
    sizes, neighbours = [b.size for b in blocks], [len(others) for others, _, _ in known]

    def level(k: int) -> int:
        """Of the time that a block lives: each is four times the one before."""
        return (spans[k].bit_length() + 1) // 2

    def ordered(key: Callable[[int], tuple[int, ...]]) -> list[int]:
        return sorted(range(len(blocks)), key=key)

    longest = ordered(lambda k: (-(spans[k] * LONG > times), -contention[k], firsts[k], k))
    levels = ordered(lambda k: (-level(k), firsts[k], k))
    busiest = ordered(lambda k: (-contention[k], -sizes[k], k))
    mixed = ordered(lambda k: (-(contention[k] * LEVELS // peak), -level(k), firsts[k], k))
    areas = [isqrt(size * span) + 1 for size, span in zip(sizes, spans, strict=True)]
    by_size = [n * (isqrt(size) + 1) for n, size in zip(neighbours, sizes, strict=True)]
    return [
        (neighbours, longest),
        (None, levels),
        (by_size, busiest),
        (neighbours, mixed),
        (areas, levels),
        (None, busiest),
    ]
