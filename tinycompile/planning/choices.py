"""Ways to make one cut of a network from an earlier one, and what each costs: the edges of `planning.frontier`.

Of a segment in tiles all but the last are made first. What is there then (`Half`) is a place on the way like a cut:
from it the last tile is made, and rows may stream on from it, through what is behind, to a later cut or into the first
tile of another segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, product

from tinycompile.ir.graph import Graph, Op
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.types import Region
from tinycompile.passes.fuse_bottlenecks import FusedBottlenecks
from tinycompile.passes.tile_stage import Stage, grid, stage_ops
from tinycompile.planning.operator_cuts import OperatorCuts, macs_by_tensor
from tinycompile.planning.recompute import Recompute
from tinycompile.schedule.row_model import build_row_model
from tinycompile.schedule.segments import ENTRY, Profile, Segments, Tiling
from tinycompile.schedule.stages import cuts
from tinycompile.schedule.storage import analyse_storage
from tinycompile.watch import Watch

TILES = (2, 3, 4, 5, 6, 8, 10)  # columns of tiles that are tried
ROWS = (2, 3, 4, 5, 6, 8, 10)  # made in one step by bottlenecks that expand rows again
FEW_CUTS = 8  # of networks with no more, every choice is looked at
FEW_BLOCKS = 3  # bottlenecks that are fused in every combination, there
NEVER = 1 << 62
MOST_ALIVE = 4  # a segment whose own rows need this many times the bytes is not tried in tiles
WORST_TILED = 3  # a segment in tiles is left out where it would take this many times its own work


@dataclass(frozen=True)
class Half:
    """A segment in tiles of which all but the last are made, with what is fused in it."""

    stage: Stage
    how: Recompute


Node = str | Half | None  # a cut by its tensor, None: the network inputs


@dataclass(frozen=True)
class Choice:
    """One way to come from `begin` to `end`. `macs`: of the whole segment in tiles where `end` is half of one.
    `measured`: the peak is what an order needs, and no estimate."""

    begin: Node
    end: Node
    peak_bytes: int
    macs: int
    how: Recompute
    measured: bool = False


class Choices:
    """Every choice that stays within `ceiling` bytes and executes at most `more_macs` beyond those of the network.
    `few`: they are all looked at, and are to be measured."""

    def __init__(
        self,
        graph: Graph,
        input_mode: InputMode,
        output_mode: OutputMode,
        ceiling: int,
        more_macs: float,
        watch: Watch,
    ) -> None:
        self.graph, self.input_mode, self.output_mode = graph, input_mode, output_mode
        self.ceiling, self.more_macs, self.watch = ceiling, more_macs, watch
        once = macs_by_tensor(graph)
        # By the bottlenecks' names: the MACs of what each consists of.
        self.fused = FusedBottlenecks(graph)
        self.blocks = {b.name: sum(once[n] for n in (*b.inside, b.name)) for b in self.fused.blocks.values()}
        self.position = {op.outputs[0]: k for k, op in enumerate(graph.ops)}
        self.seen: set[tuple[Node, Node, Recompute]] = set()
        self.cutter = OperatorCuts()
        apart = frozenset() if input_mode is InputMode.RESIDENT else frozenset(graph.inputs)
        model = build_row_model(graph, analyse_storage(graph, apart), input_mode, output_mode=output_mode)
        self.few = len(cuts(model)) <= FEW_CUTS

    def all(self) -> list[Choice]:
        """In the order of where they lead."""
        found: list[Choice] = []
        variants = self._fused()
        made: list[_Variant] = []
        for k, how in enumerate(variants, 1):
            if self.watch.over():
                break
            self.watch.phase(f"which parts to fuse, cut or compute twice, {k} of {len(variants)}")
            variant = _Variant(self, how)
            found += variant.choices(entry=True)
            made.append(variant)
        for k, variant in enumerate(made if found else (), 1):  # nothing is reached that cannot be begun
            if self.watch.over():
                break
            self.watch.phase(f"how to go on, {k} of {len(made)}")
            found += variant.choices(entry=False)
        return sorted(found if self.few else _undominated(found), key=lambda c: self._place(c.end))

    def _place(self, node: Node) -> tuple[int, int]:
        if isinstance(node, Half):
            return self.position[node.stage.end], 0
        return (-1 if node is None else self.position[node]), 1

    def _fused(self) -> list[Recompute]:
        """Which bottlenecks are fused, and how."""
        blocks, everyone = list(self.blocks), frozenset(self.blocks)
        fused = [Recompute(), Recompute(kept=everyone)]
        macs = macs_by_tensor(self.fused.graph(dict.fromkeys(blocks, 1)))
        more = list(accumulate(macs[name] - self.blocks[name] for name in blocks))
        for k in range(len(blocks), 0, -1):
            if k < len(blocks) and more[k - 1] > self.more_macs:
                continue  # it would be for what begins with all of these
            again, rest = frozenset((name, 1) for name in blocks[:k]), everyone.difference(blocks[:k])
            fused += [Recompute(again), Recompute(again, kept=rest)]
        if self.few and len(blocks) <= FEW_BLOCKS:
            for ways in product(("apart", "kept", "again"), repeat=len(blocks)):
                chosen = dict(zip(blocks, ways, strict=True))
                again = frozenset((name, 1) for name in blocks if chosen[name] == "again")
                fused.append(Recompute(again, kept=frozenset(name for name in blocks if chosen[name] == "kept")))
        height = {name: self.graph.tensors[name].form.rows for name in blocks}
        for rows in (*ROWS, max(height.values(), default=1)):
            fused.append(Recompute(frozenset((name, min(rows, height[name])) for name in blocks)))
        return list(dict.fromkeys(fused))


def _undominated(choices: Iterable[Choice]) -> Iterable[Choice]:
    """Of the choices between the same two places, those that no other beats in bytes and MACs."""
    between: dict[tuple[Node, Node], list[Choice]] = {}
    for choice in choices:
        between.setdefault((choice.begin, choice.end), []).append(choice)
    for group in between.values():
        least = None
        for choice in sorted(group, key=lambda c: (c.peak_bytes, c.macs)):
            if least is None or choice.macs < least:
                least = choice.macs
                yield choice


@dataclass(frozen=True)
class _Tiled:
    """A segment in tiles: what is fused in it, MACs, and the peak of its tiles between the first and the last."""

    half: Half
    tiling: Tiling
    macs: int
    between: int


class _Variant:
    """The network with some bottlenecks fused, and the choices that its segments offer."""

    def __init__(self, choices: Choices, how: Recompute) -> None:
        self.all, self.how, self.few = choices, how, choices.few
        apart = frozenset() if choices.input_mode is InputMode.RESIDENT else frozenset(choices.graph.inputs)
        graph = choices.fused.graph(dict(how.again), how.kept)
        self.graph = graph
        model = build_row_model(
            graph, analyse_storage(graph, apart), choices.input_mode, output_mode=choices.output_mode
        )
        self.segments = Segments(model)
        self.cutter = choices.cutter
        self.needed: dict[tuple[str, Region], tuple[dict[str, Region], set[str]]] = {}
        self.macs = macs_by_tensor(graph)
        self.more_macs = {name: self.macs[name] - macs for name, macs in choices.blocks.items()}
        self.profiles: dict[tuple[int, int], Profile | None] = {}
        self.within: dict[tuple[int, int], Recompute] = {}
        self.tiled: dict[tuple[int, int], list[_Tiled]] = {}
        self.outputs = [m for m, maker in enumerate(model.makers) if model.values[maker.value].is_output]
        fits = (self.segments.nbytes(c) <= choices.ceiling for c in self.segments.cuts)
        # A map in tiles need not be held whole: rows stream on from it.
        self.cuts = [c for c, ok in zip(self.segments.cuts, fits, strict=True) if ok or self.few]

    def choices(self, *, entry: bool) -> Iterable[Choice]:
        """Those that begin with the network input (`entry`), or all others."""
        if self.segments.nbytes(ENTRY) > self.all.ceiling:
            return
        for begin in (ENTRY,) if entry else self.cuts:
            if not self.few:  # rows stream into no tiles: those from earlier cuts are looked at no more
                self.profiles.clear()
                self.tiled.clear()
            for end in (c for c in self.cuts if c > begin):
                fresh = self._new(self._name(begin), self.segments.tensor(end), self._within(begin, end))
                if not self._worth(begin, end) or not (fresh or self.few) or self._spare(begin, end) < 0:
                    continue
                if fresh:
                    yield from self._whole(begin, end)
                for tiled in self._tiled(begin, end):
                    yield from self._through(tiled)

    def _name(self, cut: int) -> str | None:
        return None if cut == ENTRY else self.segments.tensor(cut)

    def _within(self, begin: int, end: int) -> Recompute:
        """What is fused between two cuts."""
        if (begin, end) not in self.within:
            self.within[begin, end] = self._fused_within(begin, end)
        return self.within[begin, end]

    def _fused_within(self, begin: int, end: int) -> Recompute:
        position = self.all.position
        first = -1 if begin == ENTRY else position[self.segments.tensor(begin)]
        last = position[self.segments.tensor(end)] if end != ENTRY else -1
        blocks = frozenset(b for b in self.all.blocks if first < position[b] <= last)
        again = frozenset((block, rows) for block, rows in self.how.again if block in blocks)
        return Recompute(again, (), self.how.kept & blocks)

    def _worth(self, begin: int, end: int) -> bool:
        """Whether what is fused between two cuts belongs together: else the same is made of several choices, or is
        not worth looking at in a network of many."""
        how = self._within(begin, end)
        position, first = self.all.position, self._name(begin)
        after, until = -1 if first is None else position[first], position[self.segments.tensor(end)]
        count = sum(after < position[b] <= until for b in self.all.blocks)
        # Behind the first cut all bottlenecks of a segment are treated alike: others are made of several.
        alike = count in (len(how.again), len(how.kept)) or not how
        if begin != ENTRY and not alike and not self.few:
            return False
        # Rows made together wait for others: worth it from one whole map to the next.
        return count == 1 or all(rows == 1 for _, rows in how.again)

    def _spare(self, begin: int, end: int) -> float:
        """MACs that may be executed between two cuts beyond those of what is fused there."""
        how = self._within(begin, end)
        return self.all.more_macs - sum(self.more_macs[b] for b in (*how.kept, *(b for b, _ in how.again)))

    def _new(self, begin: Node, end: Node, how: Recompute) -> bool:
        known = (begin, end, how) in self.all.seen
        self.all.seen.add((begin, end, how))
        return not known

    def _profile(self, begin: int, end: int) -> Profile | None:
        if (begin, end) not in self.profiles:
            cut_up = self.graph.tensors[self.segments.tensor(end)].form.width > 1
            ceiling = self.all.ceiling * (1 << 20 if self.few else MOST_ALIVE if cut_up else 1)
            self.profiles[begin, end] = self.segments.profile(begin, end, ceiling)
        return self.profiles[begin, end]

    def _own(self, begin: int, end: int) -> int:
        """MACs of what lies between two cuts."""
        made_by = (self.segments.model.makers[m].op for m in range(begin + 1, end + 1))
        return sum(self.macs[self.graph.ops[k].outputs[0]] for k in made_by if k is not None)

    def _whole(self, begin: int, end: int) -> Iterable[Choice]:
        profile = self._profile(begin, end)
        if profile is not None:
            peak = self.segments.peak(profile)
            if peak <= self.all.ceiling:
                own, how = self._own(begin, end), self._within(begin, end)
                yield Choice(self._name(begin), self._name(end), peak, own, how)

    def _tiled(self, begin: int, end: int) -> list[_Tiled]:
        """The segment in each number of tiles."""
        if (begin, end) not in self.tiled:
            self.tiled[begin, end] = list(self._in_tiles(begin, end))
        return self.tiled[begin, end]

    def _in_tiles(self, begin: int, end: int) -> Iterable[_Tiled]:
        segments, graph = self.segments, self.graph
        end_name, how = segments.tensor(end), self._within(begin, end)
        begins = graph.inputs if begin == ENTRY else (segments.tensor(begin),)
        form = graph.tensors[end_name].form
        pushed = begin == ENTRY and self.all.input_mode is InputMode.STREAMED  # such rows are there once
        if pushed or form.width == 1 or len(graph.tensors[end_name].shape) != 4:
            return
        profile, ops = self._profile(begin, end), stage_ops(graph, begins, end_name)
        if profile is None or ops is None:
            return
        once = sum(self.macs[op.outputs[0]] for op in ops)
        # What needs no less than the segment that is not in tiles is of use only for what streams on behind it.
        limit = NEVER if self.few else min(self.all.ceiling, segments.peak(profile) - 1)
        for count in (n for n in TILES if n <= form.width):
            across = grid(form.rows, form.width, 1, count)
            there = segments.nbytes(end) * (form.width - across[-1].cols) // form.width
            if segments.nbytes(begin) + there > self.all.ceiling:
                return  # before the last tile is begun
            if segments.nbytes(begin) + profile.own_bytes * across[-2].cols // form.width > limit:
                continue  # rows in tiles are at least as wide as their part of the map
            # Tiles of equal width that touch no edge of the map are alike, but for narrow ones near to it.
            alike = [(k == 0, k == count - 1, r.cols, k if self.few else 0) for k, r in enumerate(across)]
            regions = {kind: self._regions(ops, end_name, across[alike.index(kind)]) for kind in dict.fromkeys(alike)}
            cut = {kind: [(op, r[op.outputs[0]]) for op in ops] for kind, r in regions.items() if r is not None}
            if len(cut) < len(regions):
                continue
            tile = {k: {op.outputs[0]: self.cutter.held(graph, op, r) for op, r in c} for k, c in cut.items()}
            tiling = Tiling(begin, end, tuple(tile[kind] for kind in alike))
            between = segments.between(profile, tiling)
            if between > self.all.ceiling or max(between, segments.peak(profile, None, tiling)) > limit:
                continue
            work_of = {kind: sum(self.cutter.macs(graph, op, r) for op, r in c) for kind, c in cut.items()}
            work = sum(work_of[kind] for kind in alike)
            if work - once > self._spare(begin, end):
                continue
            if work > WORST_TILED * once and not self.few:
                return
            half = Half(Stage(begins, end_name, 1, count), how)
            yield _Tiled(half, tiling, self._own(begin, end) - once + work, between)

    def _through(self, tiled: _Tiled) -> Iterable[Choice]:
        """The choices that lead to a segment in tiles, and on from there. In a network of many, rows stream on only
        where the last tile needs most, as far as that helps, and into the first tile not at all."""
        begin, end = tiled.tiling.begin, tiled.tiling.end
        into = list(self._into(tiled, begin))
        if not into and not self.few:
            return
        on = list(self._on(tiled, end))
        yield from (*into, *on)
        for start in (c for c in (ENTRY, *self.cuts) if c < begin and self.few):
            if not self._outputs_between(start, begin):
                yield from self._into(tiled, start)
        for stop in (c for c in self.cuts if c > end):
            if not self.few and (not on or on[-1].peak_bytes <= into[0].peak_bytes or not self._worth(begin, stop)):
                break
            before, on = on, list(self._on(tiled, stop))
            yield from on
            if not self.few and on and on[0].peak_bytes >= before[0].peak_bytes:
                break

    def _into(self, tiled: _Tiled, start: int, leaving: _Tiled | None = None) -> Iterable[Choice]:
        begin, end = tiled.tiling.begin, tiled.tiling.end
        source = self._name(start) if leaving is None else leaving.half
        after = start if leaving is None else leaving.tiling.end
        stage = replace(self._within(after, end), stages=(tiled.half.stage,))
        profile = self._profile(start, end)
        if profile is None or not self._new(source, tiled.half, stage):
            return
        peak = self.segments.peak(profile, None if leaving is None else leaving.tiling, tiled.tiling)
        peak = max(peak, tiled.between)
        if peak <= self.all.ceiling:
            yield Choice(source, tiled.half, peak, self._own(after, begin) + tiled.macs, stage)

    def _on(self, tiled: _Tiled, stop: int) -> Iterable[Choice]:
        begin, end = tiled.tiling.begin, tiled.tiling.end
        how = self._within(end, stop)
        profile = self._profile(begin, stop)
        # A joined row lies as its tiles do where it is the only one: then it depends on them what the next step may be
        # written over.
        single = self.few and stop == end < self.cuts[-1] and self.graph.tensors[tiled.half.stage.end].form.rows == 1
        if profile is not None and not single and self._new(tiled.half, self._name(stop), how):
            peak = self.segments.peak(profile, tiled.tiling)
            if peak <= self.all.ceiling:
                yield Choice(tiled.half, self._name(stop), peak, self._own(end, stop), how)
        if not self.few or self._outputs_between(begin, stop):
            return
        for later in (c for c in self.cuts if c > stop):
            for other in self._tiled(stop, later):
                yield from self._into(other, begin, tiled)

    def _outputs_between(self, begin: int, end: int) -> bool:
        """Whether rows of network outputs are made between two cuts that a tile does not wait for: they come behind the
        next cut, so that what is behind a tile would depend on how it was reached."""
        return any(begin < m < end for m in self.outputs)

    def _regions(self, ops: Sequence[Op], end: str, tile: Region) -> dict[str, Region] | None:
        """What a tile needs of each tensor of a stage; None when an operator cannot be cut to it. A stage that begins
        earlier needs the same of what it shares with this one, and begins with what is known."""
        needed, cut = self.needed.setdefault((end, tile), ({end: tile}, set()))
        for op in reversed(ops):
            if op.outputs[0] in cut:
                continue
            more = self.cutter.needs(self.graph, op, needed[op.outputs[0]])
            if more is None:
                return None
            cut.add(op.outputs[0])
            for name, region in more.items():
                needed[name] = region if name not in needed else needed[name].around(region)
        return needed
