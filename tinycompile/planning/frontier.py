"""The frontier of bytes against recompute: for every peak of live bytes, the least that must be computed twice.

A network is a chain of cuts (tensors that everything passes through). Between two cuts rows stream; the segment may be
in tiles of columns, and its inverted bottlenecks may be fused: with a ring of the pixels that they expand, or expanding
rows anew for every output row or every few. What each such choice costs comes from one run over its rows
(`schedule.segments`), and a shortest path over the cuts gives, for every number of bytes, the choices of least
recompute. These are estimates: `choose` makes real plans of the points that matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from tinycompile.ir.graph import Graph, Op
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.types import Region
from tinycompile.ops.base import Need, whole
from tinycompile.ops.registry import operator
from tinycompile.passes.fuse_bottlenecks import bottlenecks, fuse_bottlenecks
from tinycompile.passes.tile_stage import Stage, cut_node, grid, stage_ops, tile_regions
from tinycompile.planning.recompute import Recompute
from tinycompile.schedule.assembly import network_macs
from tinycompile.schedule.row_model import build_row_model
from tinycompile.schedule.segments import ENTRY, Segments
from tinycompile.schedule.storage import analyse_storage
from tinycompile.watch import Watch

TILES = (2, 3, 4, 5, 6, 8, 10)  # columns of tiles that are tried
ROWS = (2, 3, 4, 5, 6, 8, 10)  # made in one step by bottlenecks that expand rows again
MOST_ALIVE = 4  # a segment whose own rows need this many times the bytes is not tried in tiles
WORST_TILED = 3  # a segment in tiles is left out where it would take this many times its own work


@dataclass(frozen=True)
class Point:
    """An estimate of the frontier: peak of live bytes, MACs executed over those of the network, and how."""

    peak_bytes: int
    recompute: float
    how: Recompute


@dataclass(frozen=True)
class _Choice:
    """One way to make cut `end` from cut `begin` (tensor names; None: the network inputs)."""

    begin: str | None
    end: str
    peak_bytes: int
    macs: int
    how: Recompute


@dataclass(frozen=True)
class _Limits:
    """Peak of live bytes of a choice, and the MACs that it may execute beyond those of the network."""

    peak_bytes: int
    more_macs: float


def frontier(
    graph: Graph,
    input_mode: InputMode,
    ceiling_bytes: int,
    max_recompute: float,
    watch: Watch | None = None,
    output_mode: OutputMode = OutputMode.RESIDENT,
) -> list[Point]:
    """Points of falling bytes and rising recompute; of what was looked at before `watch` ended it.

    `graph`: with reductions as running sums, so that maps are consumed row by row. `ceiling_bytes`: a peak that is
    reached with nothing computed twice; what needs more is of no interest.
    """
    base = max(network_macs(graph), 1)
    limits = _Limits(ceiling_bytes, (max_recompute - 1 + 1e-9) * base)
    choices = list(_choices(graph, input_mode, output_mode, limits, watch or Watch()))
    if not choices:
        return []
    by_end: dict[str, list[_Choice]] = {}
    for choice in choices:
        by_end.setdefault(choice.end, []).append(choice)
    order = [None, *dict.fromkeys(c.end for c in choices)]
    points: list[Point] = []
    limit = ceiling_bytes
    while (found := _cheapest(order, by_end, limit)) is not None:
        peak = max(c.peak_bytes for c in found)
        recompute = sum(c.macs for c in found) / base
        if recompute > max_recompute + 1e-9:
            break
        if points and recompute <= points[-1].recompute:
            points.pop()
        again = frozenset[tuple[str, int]]().union(*(c.how.again for c in found))
        kept = frozenset[str]().union(*(c.how.kept for c in found))
        stages = tuple(s for c in found for s in c.how.stages)
        points.append(Point(peak, recompute, Recompute(again, stages, kept)))
        limit = peak - 1
    return points


def _cheapest(order: Sequence[str | None], by_end: dict[str, list[_Choice]], limit: int) -> list[_Choice] | None:
    """The choices of least MACs that lead from the input to the last cut, all within `limit` bytes."""
    best: dict[str | None, tuple[int, _Choice | None]] = {None: (0, None)}
    for cut in order[1:]:
        assert cut is not None
        options = [(best[c.begin][0] + c.macs, c) for c in by_end[cut] if c.peak_bytes <= limit and c.begin in best]
        if options:
            best[cut] = min(options, key=lambda o: (o[0], o[1].peak_bytes))
    at: str | None = order[-1]
    if at not in best:
        return None
    path: list[_Choice] = []
    while at is not None:
        step = best[at][1]
        assert step is not None
        path.append(step)
        at = step.begin
    return path[::-1]


def _choices(
    graph: Graph, input_mode: InputMode, output_mode: OutputMode, limits: _Limits, watch: Watch
) -> Iterable[_Choice]:
    """Every choice within `limits`, in the order of the cuts."""
    found_blocks = bottlenecks(graph)
    blocks = [b.name for b in found_blocks]
    once = _macs(graph)
    unfused = {b.name: sum(once[name] for name in (*b.inside, b.name)) for b in found_blocks}
    position = {op.outputs[0]: k for k, op in enumerate(graph.ops)}
    everyone = frozenset(blocks)
    fused = [Recompute(), Recompute(kept=everyone)]
    macs = _macs(fuse_bottlenecks(graph, dict.fromkeys(blocks, 1)))
    more = list(accumulate(macs[name] - unfused[name] for name in blocks))
    for k in range(len(blocks), 0, -1):
        if k < len(blocks) and more[k - 1] > limits.more_macs:
            continue  # it would be for what begins with all of these
        again, rest = frozenset((name, 1) for name in blocks[:k]), everyone.difference(blocks[:k])
        fused += [Recompute(again), Recompute(again, kept=rest)]
    height = {name: graph.tensors[name].form.rows for name in blocks}
    for rows in (*ROWS, max(height.values(), default=1)):
        fused.append(Recompute(frozenset((name, min(rows, height[name])) for name in blocks)))
    seen: set[tuple[str | None, str, Recompute]] = set()
    found: list[_Choice] = []
    cuts = _Cuts()
    variants = dict.fromkeys(fused)
    made: list[_Variant] = []
    for k, how in enumerate(variants, 1):
        if watch.over():
            break
        watch.phase(f"which parts to fuse, cut or compute twice, {k} of {len(variants)}")
        variant = _Variant(graph, how, input_mode, output_mode, unfused, cuts)
        found += variant.choices(limits, seen, position, entry=True)
        made.append(variant)
    for k, variant in enumerate(made if found else (), 1):  # nothing is reached that cannot be begun
        if watch.over():
            break
        watch.phase(f"how to go on, {k} of {len(made)}")
        found += variant.choices(limits, seen, position, entry=False)
    return sorted(_undominated(found), key=lambda c: position[c.end])


def _undominated(choices: Iterable[_Choice]) -> Iterable[_Choice]:
    """Of the choices between the same two cuts, those that no other beats in bytes and MACs."""
    between: dict[tuple[str | None, str], list[_Choice]] = {}
    for choice in choices:
        between.setdefault((choice.begin, choice.end), []).append(choice)
    for group in between.values():
        least = None
        for choice in sorted(group, key=lambda c: (c.peak_bytes, c.macs)):
            if least is None or choice.macs < least:
                least = choice.macs
                yield choice


class _Cuts:
    """Operators cut to rectangles of their outputs. Variants of a network share most of its operators."""

    def __init__(self) -> None:
        self.ops: dict[int, Op] = {}  # keeps them, so that no other gets their identity
        self.known_needs: dict[tuple[int, Region], dict[str, Region] | None] = {}
        self.known_macs: dict[tuple[int, Region], int] = {}
        self.alike: dict[tuple[object, ...], int] = {}

    def needs(self, graph: Graph, op: Op, out: Region) -> dict[str, Region] | None:
        """The rectangles of its inputs, and `out` itself; None when the operator cannot be cut so."""
        key = id(self.ops.setdefault(id(op), op)), out
        if key not in self.known_needs:
            self.known_needs[key] = tile_regions(graph, (op,), op.outputs[0], out)
        return self.known_needs[key]

    def macs(self, graph: Graph, op: Op, out: Region) -> int:
        """MACs of an operator that makes rectangle `out` of its output."""
        key = id(self.ops.setdefault(id(op), op)), out
        if key not in self.known_macs:
            self.known_macs[key] = self._macs(graph, op, out)
        return self.known_macs[key]

    def _macs(self, graph: Graph, op: Op, out: Region) -> int:
        node = graph.node(op)
        if out == whole(node.out):
            return operator(op.kind).macs(node)
        needs = operator(op.kind).in_region(node, out)
        shape = (None if n is None else replace(n, region=_at_origin(n)) for n in needs)
        key = (id(op), out.rows, out.cols, *shape)
        if key not in self.alike:
            self.alike[key] = operator(op.kind).macs(cut_node(graph, op, out))
        return self.alike[key]


class _Variant:
    """The network with some bottlenecks fused, and the choices that its segments offer."""

    def __init__(
        self,
        network: Graph,
        how: Recompute,
        input_mode: InputMode,
        output_mode: OutputMode,
        unfused: Mapping[str, int],
        cuts: _Cuts,
    ) -> None:
        apart = frozenset() if input_mode is InputMode.RESIDENT else frozenset(network.inputs)
        graph = fuse_bottlenecks(network, dict(how.again), how.kept)
        self.graph, self.how, self.mode = graph, how, input_mode
        storage = analyse_storage(graph, apart)
        self.segments = Segments(build_row_model(graph, storage, input_mode, output_mode=output_mode))
        self.cuts = cuts
        self.needed: dict[tuple[str, Region], tuple[dict[str, Region], set[str]]] = {}
        self.macs = _macs(graph)
        self.more_macs = {name: self.macs[name] - macs for name, macs in unfused.items()}

    def choices(
        self, limits: _Limits, seen: set[tuple[str | None, str, Recompute]], position: dict[str, int], *, entry: bool
    ) -> Iterable[_Choice]:
        """Those that begin with the network input (`entry`), or all others."""
        segments, how = self.segments, self.how
        for begin in (ENTRY,) if entry else segments.cuts:
            name = None if begin == ENTRY else segments.tensor(begin)
            after = -1 if name is None else position[name]
            for end in segments.cuts:
                end_name = segments.tensor(end)
                if end <= begin or max(segments.nbytes(end), segments.nbytes(begin)) > limits.peak_bytes:
                    continue
                blocks = frozenset(b for b in self.more_macs if after < position[b] <= position[end_name])
                again = frozenset((block, rows) for block, rows in how.again if block in blocks)
                within = Recompute(again, (), how.kept & blocks)
                # Behind the first cut all bottlenecks of a segment are treated alike: others are made of several.
                alike = len(blocks) in (len(again), len(within.kept)) or not within
                if (name, end_name, within) in seen or (begin != ENTRY and not alike):
                    continue
                if len(blocks) != 1 and any(rows > 1 for _, rows in again):
                    continue  # rows made together wait for others: worth it from one whole map to the next
                seen.add((name, end_name, within))
                more = sum(self.more_macs[block] for block in blocks)
                if more <= limits.more_macs:
                    yield from self._between(begin, end, within, _Limits(limits.peak_bytes, limits.more_macs - more))

    def _between(self, begin: int, end: int, how: Recompute, limits: _Limits) -> Iterable[_Choice]:
        segments, graph = self.segments, self.graph
        end_name = segments.tensor(end)
        begins = graph.inputs if begin == ENTRY else (segments.tensor(begin),)
        form = graph.tensors[end_name].form
        again = begin != ENTRY or self.mode is not InputMode.STREAMED  # rows that are pushed are there once
        tiled = again and form.width > 1 and len(graph.tensors[end_name].shape) == 4
        profile = segments.profile(begin, end, limits.peak_bytes * (MOST_ALIVE if tiled else 1))
        if profile is None:
            return
        name = None if begin == ENTRY else begins[0]
        peak = segments.whole_peak(profile)
        made_by = (segments.model.makers[m].op for m in range(begin + 1, end + 1))
        own = sum(self.macs[graph.ops[k].outputs[0]] for k in made_by if k is not None)
        if peak <= limits.peak_bytes:
            yield _Choice(name, end_name, peak, own, how)
        ceiling = min(peak - 1, limits.peak_bytes)  # tiles compute no less: they are for less bytes
        ops = stage_ops(graph, begins, end_name) if tiled else None
        if ops is None:
            return
        once = sum(self.macs[op.outputs[0]] for op in ops)
        for count in (n for n in TILES if n <= form.width):
            across = grid(form.rows, form.width, 1, count)
            before = graph.tensors[end_name].nbytes * (form.width - across[-1].cols) // form.width
            if segments.nbytes(begin) + before > ceiling:
                return  # there while the last tile but one is made; more with more tiles
            # Tiles of equal width that touch no edge of the map are alike.
            alike = [(k == 0, k == count - 1, r.cols) for k, r in enumerate(across)]
            cut = {kind: self._regions(ops, end_name, across[alike.index(kind)]) for kind in dict.fromkeys(alike)}
            regions = {
                kind: {op.outputs[0]: c[op.outputs[0]] for op in ops} for kind, c in cut.items() if c is not None
            }
            if len(regions) < len(cut):
                return
            row_bytes = {kind: {n: _row_bytes(graph, n, r) for n, r in c.items()} for kind, c in regions.items()}
            tiles = [row_bytes[kind] for kind in alike]
            peak = segments.tiled_peak(begin, end, profile, tiles)
            if peak > ceiling:
                continue
            work_of = {
                kind: sum(self.cuts.macs(graph, op, c[op.outputs[0]]) for op in ops) for kind, c in regions.items()
            }
            work = sum(work_of[kind] for kind in alike)
            if work - once > min(limits.more_macs, (WORST_TILED - 1) * once):
                return  # and so would more tiles
            stage = Stage(begins, end_name, 1, count)
            yield _Choice(name, end_name, peak, own - once + work, replace(how, stages=(stage,)))

    def _regions(self, ops: Sequence[Op], end: str, tile: Region) -> dict[str, Region] | None:
        """What a tile needs of each tensor of a stage; None when an operator cannot be cut to it. A stage that begins
        earlier needs the same of what it shares with this one, and begins with what is known."""
        needed, cut = self.needed.setdefault((end, tile), ({end: tile}, set()))
        for op in reversed(ops):
            if op.outputs[0] in cut:
                continue
            more = self.cuts.needs(self.graph, op, needed[op.outputs[0]])
            if more is None:
                return None
            cut.add(op.outputs[0])
            for name, region in more.items():
                needed[name] = region if name not in needed else needed[name].around(region)
        return needed


def _macs(graph: Graph) -> dict[str, int]:
    """MACs by the tensor that they make."""
    return {node.out.name: operator(node.op.kind).macs(node) for node in graph.nodes()}


def _at_origin(need: Need) -> Region:
    return Region(0, need.region.rows, 0, need.region.cols)


def _row_bytes(graph: Graph, name: str, region: Region) -> int:
    tensor = graph.tensors[name]
    return region.cols * tensor.form.channels * tensor.dtype.itemsize
