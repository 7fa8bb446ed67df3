"""Blocks: sets of values at fixed distances (concat views, in-place steps), as rectangles in time and bytes.

An in-place step puts its output where a dying input begins. Which of several dying inputs it takes changes the packing
and not the live bytes, so the choice is a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from tinycompile.ops.base import SCRATCH_ALIGN
from tinycompile.schedule.liveness import Interval
from tinycompile.schedule.storage import Overlay, Storage


@dataclass(frozen=True)
class Rectangle:
    """Bytes [low, high) of a block in use at times first..last, both included."""

    first: int
    last: int
    low: int
    high: int


@dataclass(frozen=True)
class Block:
    """`offsets`: value -> byte offset from the block's base. `outline`: disjoint rectangles that cover the block.
    `scratch_of`: the op, an index in ``Graph.ops``, whose scratch the block is."""

    offsets: Mapping[int, int]
    outline: tuple[Rectangle, ...]
    align: int
    scratch_of: int | None = None

    @property
    def size(self) -> int:
        return max(r.high for r in self.outline)


@dataclass(frozen=True)
class BlockSet:
    """`choices`: for each step (position in ``Storage.steps``) with in-place choices, how many could be taken.
    `live_bytes[t]`: bytes in use at time t."""

    blocks: tuple[Block, ...]
    choices: Mapping[int, int]
    live_bytes: tuple[int, ...]

    @property
    def bound_bytes(self) -> int:
        """Live bytes at the peak: no packing needs fewer."""
        return max(self.live_bytes)


def build_blocks(
    storage: Storage, sequence: tuple[int, ...], lives: tuple[Interval, ...], preferred: Mapping[int, int]
) -> BlockSet:
    """The blocks of an order. `preferred`: step -> which of its feasible in-place choices to take (default the first;
    a number past the last: none)."""
    members: dict[int, dict[int, int]] = {}
    for group in storage.groups:
        layout = {p.value: p.offset for p in group}
        members.update(dict.fromkeys(layout, layout))
    choices: dict[int, int] = {}
    for position, k in enumerate(sequence):
        step = storage.steps[k]
        feasible = [
            joined
            for o in step.overlays
            if (joined := _overlay(storage, lives, members, o, step.out, position + 1)) is not None
        ]
        if feasible:
            choices[k] = len(feasible)
            wanted = preferred.get(k, 0)
            if wanted < len(feasible):
                members.update(dict.fromkeys(feasible[wanted], feasible[wanted]))
    blocks = []
    for value, layout in members.items():
        if value == min(layout):
            blocks.append(_block(storage, lives, layout))
    for position, k in enumerate(sequence):
        step = storage.steps[k]
        if step.scratch_bytes:
            outline = (Rectangle(position + 1, position + 1, 0, step.scratch_bytes),)
            blocks.append(Block({}, outline, SCRATCH_ALIGN, step.op))
    return BlockSet(tuple(blocks), choices, _live_bytes(blocks, len(sequence) + 1))


def _live_bytes(blocks: list[Block], times: int) -> tuple[int, ...]:
    change = [0] * (times + 1)
    for block in blocks:
        for r in block.outline:
            change[r.first] += r.high - r.low
            change[r.last + 1] -= r.high - r.low
    return tuple(accumulate(change[:times]))


def _overlay(
    storage: Storage,
    lives: tuple[Interval, ...],
    members: Mapping[int, dict[int, int]],
    overlay: Overlay,
    out: int,
    time: int,
) -> dict[int, int] | None:
    """The joined layout with the output on the input, None when that would overwrite bytes in use."""
    if any(storage.values[v].is_output or lives[v][1] > time for v in overlay.dying):
        return None
    inner, outer = members[overlay.start], members[out]
    shift = inner[overlay.start] - outer[out]
    if inner is outer:
        return inner if shift == 0 else None
    moved = {v: offset + shift for v, offset in outer.items()}
    for a, low_a in moved.items():
        for b, low_b in inner.items():
            apart = lives[a][1] < lives[b][0] or lives[b][1] < lives[a][0]
            apart = apart or low_a + storage.values[a].nbytes <= low_b or low_b + storage.values[b].nbytes <= low_a
            if not apart and not (a == out and b in overlay.dying):
                return None
    joined = {**inner, **moved}
    aligned = all((offset - joined[overlay.start]) % storage.values[v].align == 0 for v, offset in joined.items())
    return joined if aligned else None


def _block(storage: Storage, lives: tuple[Interval, ...], layout: Mapping[int, int]) -> Block:
    align = max(storage.values[v].align for v in layout)
    # Every offset keeps its remainder to the alignment, so that an aligned base aligns all values.
    widest = max(layout, key=lambda v: (storage.values[v].align, -v))
    least = min(layout.values())
    origin = least - (least - layout[widest]) % align
    offsets = {v: layout[v] - origin for v in sorted(layout)}
    return Block(offsets, _outline(storage, lives, offsets), align)


def _outline(storage: Storage, lives: tuple[Interval, ...], offsets: Mapping[int, int]) -> tuple[Rectangle, ...]:
    """Disjoint rectangles that cover the members: per stretch of time, the union of their byte ranges."""
    cuts = sorted({lives[v][0] for v in offsets} | {lives[v][1] + 1 for v in offsets})
    open_since: dict[tuple[int, int], int] = {}
    result: list[Rectangle] = []
    for first in cuts:
        live = sorted(
            (o, o + storage.values[v].nbytes) for v, o in offsets.items() if lives[v][0] <= first <= lives[v][1]
        )
        merged: list[list[int]] = []
        for low, high in live:
            if merged and low <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], high)
            else:
                merged.append([low, high])
        ranges = {(low, high) for low, high in merged}
        for closed in [r for r in open_since if r not in ranges]:
            result.append(Rectangle(open_since.pop(closed), first - 1, *closed))
        for opened in sorted(ranges):
            open_since.setdefault(opened, first)
    return tuple(sorted(result, key=lambda r: (r.first, r.low)))
