"""Packing of row programs: an address for each row, in as many bytes as are live at the peak where that is found.

The arena has a given height, the live bytes of the order, and one method after another looks for a packing of that
height: first fit, ejection (`schedule.ejection`), CP-SAT on the blocks at the busiest times with ejection for the rest.
When they have had their share of work, a larger arena is lowered (`schedule.lowering`). A row is written over a dying
one only when the peak asks for it, since rigid groups pack badly.

Some orders leave the free bytes in pieces that no packing can join. `pack_orders` may take another order of that peak.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tinycompile.ir.graph import Graph
from tinycompile.schedule.allocate import Fit, Packing, exact, fit, greedy
from tinycompile.schedule.ejection import ASKED, eject
from tinycompile.schedule.lowering import lowered
from tinycompile.schedule.packing_shape import PackingShape, packing_shapes
from tinycompile.schedule.reorder import reordered
from tinycompile.schedule.row_blocks import RowBlocks, build_row_blocks
from tinycompile.schedule.row_model import RowModel
from tinycompile.schedule.storage import Storage
from tinycompile.watch import Watch

SOLVER_LIMIT = 0.3  # of all calls of CP-SAT, in its deterministic time
REORDERINGS = 40
MOVES = 20_000  # ejections in each try
ALL_MOVES = 50_000  # ejections in all tries to meet the live bytes, first fits counted too, at effort 1
MANY_MOVES = 20_000  # the same where there are many blocks
QUICK_MOVES = 5_000  # where there are many tries
FEWEST_MOVES = 1_500  # where the work of an order is to be little
FEW = 100  # blocks: of so few CP-SAT often proves what is least
FEW_LIMIT = 0.05
SMALL = 1200  # blocks: of so few the live bytes are often met
HOT = (0.9, 0.97, 0.75, 0.0)  # parts of the height: blocks that meet a time as busy as that go to CP-SAT
CALL_LIMIT = 0.2  # deterministic time: CP-SAT is lucky early or not at all, so there are several short calls
SEEDS = 2
MAX_EXACT_RECTANGLES = 300  # of more the solver prepares for long before its deterministic time begins
WINDOW = 8  # steps around the busiest one that must fit by themselves
WINDOW_LIMIT = 0.02
LARGE = 2500  # blocks: programs of more of them (networks in tiles) get fewer tries of fewer moves
SPARE = (64, 16, 8, 4)  # parts of the live bytes left over where a larger arena is allowed
LOWERING_MOVES = 4_000  # ejections of each try where the ceiling comes down step by step, at effort 1
MORE = 3  # times as many at each effort more

Found = tuple[RowBlocks, Packing]


class _Patience(Watch):
    """Ends tries to meet the live bytes, all of them together, after so many ejections or when `watch` ends. `solver`:
    what is left for CP-SAT, in its deterministic time."""

    def __init__(self, watch: Watch, effort: int, blocks: int) -> None:
        super().__init__()
        moves = ALL_MOVES if blocks <= SMALL else MANY_MOVES
        self.watch, self.left, self.solver = watch, _more(moves, effort), SOLVER_LIMIT * effort

    def over(self) -> bool:
        self.left -= ASKED  # a search asks once in so many ejections
        return self.left < 0 or self.watch.over()


def _more(moves: int, effort: int) -> int:
    more: int = MORE ** max(effort - 1, 0)
    return moves * more


def pack_orders(
    graph: Graph,
    storage: Storage,
    model: RowModel,
    sequences: Sequence[tuple[int, ...]],
    effort: int = 1,
    watch: Watch | None = None,
) -> tuple[tuple[int, ...], RowBlocks, Packing]:
    """The one of several orders of equal peak that packs best, its blocks and the least packing found. Where none packs
    into its live bytes, others with that peak are tried. `effort`: 0 (what is quick) and up, more search. `watch` may
    end it early, with what it has found or a first fit."""
    watch = watch or Watch()
    watch.phase("addresses")
    variants = [_variants(graph, storage, model, sequence) for sequence in sequences]
    bound = max(variants[0][0].live_bytes)
    patience = _Patience(watch, effort, len(variants[0][0].blocks))
    tries = [list(_tries(rows, bound)) for rows in variants]
    for sequence, some in zip(sequences, tries, strict=True):
        found = _eject(some, bound, 0, patience, effort)
        if found is not None:
            return sequence, *found
    for n, (sequence, rows) in enumerate(zip(sequences, variants, strict=True)):
        fits = [(r, _fit(r, bound)) for r in rows]
        for r, fitted in fits:
            if fitted.bases is not None:
                return sequence, r, Packing(fitted.bases, bound, "CP-SAT")
        impossible = {id(r) for r, fitted in fits if fitted.impossible}
        tries[n] = [(r, shape) for r, shape in tries[n] if id(r) not in impossible]
    many = QUICK_MOVES if len(variants[0][0].blocks) <= SMALL else FEWEST_MOVES
    if effort:  # more is tried where this does not do
        many = QUICK_MOVES // len(sequences)
    for sequence, some in zip(sequences, tries, strict=True):
        found = _eject(some, bound, many, patience, effort)
        if found is not None:
            return sequence, *found
    for sequence, some in zip(sequences, tries, strict=True) if effort else ():
        found = _solve(some, bound, patience)
        found = found or _eject(some, bound, MOVES, patience, effort)
        if found is not None:
            return sequence, *found
    for seed in range(_fewer(REORDERINGS, variants[0][0], effort) if effort else 0):
        if patience.over():
            break
        other = reordered(model, sequences[seed % len(sequences)], bound, seed)
        blocks = _variants(graph, storage, model, other)[0]
        if max(blocks.live_bytes) > bound or _fit(blocks, bound).impossible:
            continue
        found = _eject(list(_tries((blocks,), bound))[:1], bound, QUICK_MOVES, patience)
        if found is not None:
            return other, *found
    pairs = list(zip(sequences, variants, strict=True))[: None if effort else 1]
    moves = _more(LOWERING_MOVES, effort)
    packed = [(sequence, *_least(rows, bound, moves, watch)) for sequence, rows in pairs]
    return min(packed, key=lambda found: found[2].arena_bytes)


def pack_into(
    graph: Graph,
    storage: Storage,
    model: RowModel,
    sequence: tuple[int, ...],
    height: int,
    watch: Watch | None = None,
) -> tuple[RowBlocks, Packing] | None:
    """The blocks of an order in an arena of at most `height` bytes, None where a quick search finds no packing."""
    watch = watch or Watch()
    variants = _variants(graph, storage, model, sequence)
    bound = max(variants[0].live_bytes)
    for part in SPARE:
        if bound + bound // part < height:
            found = _eject(list(_tries(variants, bound + bound // part)), bound + bound // part, 0, watch)
            if found is not None:
                return found
    found = _eject(list(_tries(variants, height)), height, FEWEST_MOVES, watch)
    if found is None:
        return None
    rows, packing = found
    used = max((base + b.size for base, b in zip(packing.bases, rows.blocks, strict=True)), default=0)
    return rows, replace(packing, arena_bytes=used)  # rigid blocks far above the live bytes need not fill the height


def _fit(rows: RowBlocks, height: int) -> Fit:
    """What CP-SAT soon finds of a few blocks; of many, whether those around the busiest step are proven not to fit."""
    if len(rows.blocks) <= FEW:
        return fit(rows.blocks, height, FEW_LIMIT)
    peak = rows.live_bytes.index(max(rows.live_bytes))
    near = [b for b in rows.blocks if any(r.first <= peak + WINDOW and r.last >= peak - WINDOW for r in b.outline)]
    return replace(fit(near, height, WINDOW_LIMIT), bases=None)


def _variants(graph: Graph, storage: Storage, model: RowModel, sequence: tuple[int, ...]) -> list[RowBlocks]:
    """The blocks with rows written over dying ones where the peak needs it, and wherever they can be; least live bytes
    first."""
    everywhere = build_row_blocks(graph, storage, model, sequence)
    bound = max(everywhere.live_bytes)
    nowhere = build_row_blocks(graph, storage, model, sequence, ())
    crowded = {time for time, live in enumerate(nowhere.live_bytes) if live > bound}
    needed = build_row_blocks(graph, storage, model, sequence, crowded) if crowded else nowhere
    return sorted((needed, everywhere), key=lambda rows: max(rows.live_bytes))


def _tries(variants: Sequence[RowBlocks], height: int) -> Iterator[tuple[RowBlocks, PackingShape]]:
    for rows in variants:
        if max(rows.live_bytes) <= height:
            for shape in packing_shapes(rows.blocks, rows.live_bytes, height):
                yield rows, shape


def _fewer(count: int, rows: RowBlocks, effort: int) -> int:
    """`count`, less where there are very many blocks: the work of a try grows with their number."""
    large = LARGE * max(effort, 1)
    return count * large**2 // max(large, len(rows.blocks)) ** 2


def _eject(
    tries: Sequence[tuple[RowBlocks, PackingShape]], height: int, moves: int, watch: Watch, effort: int = 1
) -> Found | None:
    if tries:
        tries, moves = tries[: max(_fewer(len(tries), tries[0][0], effort), 1)], _fewer(moves, tries[0][0], effort)
    for by_time in (True, False):
        for rows, shape in tries:
            if watch.over():
                return None
            found = eject(shape.blocks, shape.height, shape.order(by_time), moves, None, shape.conflicts, watch.over)
            if found is not None:
                return rows, Packing(shape.bases(found), height, "ejection" if moves else "first fit")
    return None


def _solve(tries: Sequence[tuple[RowBlocks, PackingShape]], height: int, patience: _Patience) -> Found | None:
    """CP-SAT on the blocks that meet busy times, ejection for the rest."""
    calls: dict[tuple[int, tuple[int, ...]], None] = {}
    for part in HOT:
        for n, (_, shape) in enumerate(tries):
            hot = tuple(i for i, live in enumerate(shape.contention) if live >= part * height)
            if sum(len(shape.blocks[i].outline) for i in hot) <= MAX_EXACT_RECTANGLES:
                calls[n, hot] = None
    for seed in range(1, SEEDS + 1):
        for n, hot in list(calls):
            if patience.solver <= 0 or patience.over():
                return None
            rows, shape = tries[n]
            result = fit([shape.blocks[i] for i in hot], shape.height, min(CALL_LIMIT, patience.solver), seed)
            patience.solver -= result.spent
            if result.bases is not None:
                start = dict(zip(hot, result.bases, strict=True))
                found = eject(
                    shape.blocks, shape.height, shape.order(True), MOVES, start, shape.conflicts, patience.over
                )
                if found is not None:
                    return rows, Packing(shape.bases(found), height, "CP-SAT and ejection")
            elif result.impossible:
                del calls[n, hot]
    return None


def _least(variants: Sequence[RowBlocks], bound: int, moves: int, watch: Watch) -> Found:
    """Of few blocks the least packing, where it is proven; else the least that lowering the ceiling finds, or the best
    first fit where that finds none at all."""
    rows = variants[0]
    if len(rows.blocks) <= FEW:
        known = exact(rows.blocks, greedy(rows.blocks, bound), bound, CALL_LIMIT)
        if known.least:
            return rows, known
    found = lowered(rows.blocks, rows.live_bytes, bound, moves, watch)
    if found is not None:
        return rows, found
    return min(((r, greedy(r.blocks, bound)) for r in variants), key=lambda found: found[1].arena_bytes)
