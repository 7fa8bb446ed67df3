"""Blocks to pack into an arena of given height when some have their place already.

Two kinds of blocks are placed beforehand. One that could live all the time without raising the peak goes to the bottom
for good. A network input that is there from the start goes to the top: it is read from its low end up, so the bytes
that it frees adjoin the free ones below. Either may be wrong, so the shapes without them follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tinycompile.schedule.blocks import Block
from tinycompile.schedule.ejection import Conflicts, conflicts


@dataclass(frozen=True)
class PackingShape:
    """`blocks[i]` is block `index[i]` of all, moved up by `shift[i]` bytes; `height` bytes are left for them.
    `placed`: bases of the others. `contention[i]`: live bytes at the busiest time of `blocks[i]`."""

    blocks: tuple[Block, ...]
    index: tuple[int, ...]
    shift: tuple[int, ...]
    height: int
    placed: dict[int, int]
    contention: tuple[int, ...]

    @cached_property
    def conflicts(self) -> Conflicts:
        return conflicts(self.blocks)

    def bases(self, found: Sequence[int]) -> tuple[int, ...]:
        """The bases of all blocks, from those of `blocks`."""
        at = dict(self.placed)
        at.update({k: base + up for k, base, up in zip(self.index, found, self.shift, strict=True)})
        return tuple(at[k] for k in range(len(at)))

    def order(self, by_time: bool) -> list[int]:
        """The busiest first; among equals the earliest, or the largest."""

        def key(i: int) -> tuple[int, int, int]:
            block = self.blocks[i]
            return -self.contention[i], block.outline[0].first if by_time else -block.size, i

        return sorted(range(len(self.blocks)), key=key)


def packing_shapes(blocks: Sequence[Block], live_bytes: Sequence[int], height: int) -> list[PackingShape]:
    """The shapes to try, each once."""
    lasting, entry = _lasting(blocks, live_bytes, height), _entry(blocks)
    choices = dict.fromkeys(((lasting, entry), ((), entry), (lasting, None), ((), None)))
    return [_shape(blocks, live_bytes, height, *choice) for choice in choices]


def _lasting(blocks: Sequence[Block], live_bytes: Sequence[int], height: int) -> tuple[int, ...]:
    """Blocks that live half of the time and could live all the time."""
    times = len(live_bytes)
    live, found = list(live_bytes), []
    for k, block in enumerate(blocks):
        only = block.outline[0]
        if len(block.outline) > 1 or only.low or 2 * (only.last + 1 - only.first) < times:
            continue
        widened = [n if only.first <= t <= only.last else n + block.size for t, n in enumerate(live)]
        if max(widened) <= height:
            live = widened
            found.append(k)
    return tuple(sorted(found, key=lambda k: (-blocks[k].align, k)))


def _entry(blocks: Sequence[Block]) -> int | None:
    """The largest block that is there from the start and shrinks."""
    shrinking = [k for k, block in enumerate(blocks) if block.outline[0].first == 0 and len(block.outline) > 1]
    return max(shrinking, key=lambda k: (blocks[k].size, -k), default=None)


def _shape(
    blocks: Sequence[Block], live_bytes: Sequence[int], height: int, lasting: tuple[int, ...], entry: int | None
) -> PackingShape:
    placed: dict[int, int] = {}
    floor = 0
    for k in lasting:
        placed[k] = -(-floor // blocks[k].align) * blocks[k].align
        floor = placed[k] + blocks[k].size
    index = tuple(k for k in range(len(blocks)) if k not in placed)
    align = max((blocks[k].align for k in index), default=1)
    floor = -(-floor // align) * align
    left = [blocks[k] for k in index]
    shift = [floor] * len(left)
    if entry is not None:
        i, block = index.index(entry), blocks[entry]
        up = (height - floor - block.size) // block.align * block.align
        if up > 0:
            outline = tuple(replace(r, low=r.low + up, high=r.high + up) for r in block.outline)
            left[i] = replace(block, outline=outline)
            shift[i] += up
    contention = [max(max(live_bytes[r.first : r.last + 1]) for r in block.outline) for block in left]
    return PackingShape(tuple(left), index, tuple(shift), height - floor, placed, tuple(contention))
