"""The plan, replayed over a byte map: an independent check that shares no code with the planner.

Every byte of the arena carries which byte of which tensor it holds. Each kernel call must find every byte it reads, and
may not destroy what it still reads. The only knowledge used is what operators declare: the input region of an output
region, which inputs may be overwritten in place, and what is a view. Any placement goes: whole buffers, rings, overlaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from tinycompile.errors import InternalError
from tinycompile.ir.graph import Node, Tensor
from tinycompile.ir.plan import Placement, Plan, Step
from tinycompile.ir.types import Region
from tinycompile.ops.base import Grain, Operator
from tinycompile.ops.concat import Concat
from tinycompile.ops.registry import operator

NOTHING = -1


def _fail(what: str, where: str) -> NoReturn:
    raise InternalError(f"plan check: {what}", where, "this is a bug in tinycompile: please report it with the model")


@dataclass(frozen=True)
class _Bytes:
    """Bytes [start, start + size) of the arena, holding bytes [first, first + size) of root tensor `root`."""

    start: int
    size: int
    root: int
    first: int


class _Replay:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.owner = np.full(plan.arena_bytes, NOTHING, dtype=np.int32)
        self.index = np.zeros(plan.arena_bytes, dtype=np.int64)
        self.roots = self.find_roots()
        self.ids = {name: k for k, name in enumerate(sorted({r for r, _ in self.roots.values()}))}
        self.names = {k: name for name, k in self.ids.items()}

    # --- what the plan must say about every tensor -------------------------------------------------------------------

    def find_roots(self) -> dict[str, tuple[str, int]]:
        """Tensor -> (root tensor, byte offset), through ops that have no step; checks that these are views."""
        plan = self.plan
        stepped = {s.op for s in plan.steps}
        roots = {n: (n, 0) for n, t in plan.graph.tensors.items() if not t.is_const}
        nodes = [plan.graph.node(op) for op in plan.ops]
        # A concat's inputs are made before it, so their root is known only once the concat has been seen.
        for i, node in reversed(list(enumerate(nodes))):
            if i in stepped:
                continue
            oper = operator(node.op.kind)
            if isinstance(oper, Concat):
                offsets = oper.row_view_offsets(node)
                if offsets is None:
                    _fail("an op has no step and is no view", str(node.op.source))
                root, base = roots[node.out.name]
                for name, offset in zip(node.op.inputs, offsets, strict=True):
                    roots[name] = root, base + offset
        for i, node in enumerate(nodes):
            if i in stepped or node.op.kind == Concat.kind:
                continue
            source = operator(node.op.kind).view(node)
            if source is None:
                _fail("an op has no step and is no view", str(node.op.source))
            name = node.op.inputs[source]
            if name not in roots:
                _fail("a view of a constant", str(node.op.source))
            mine, its = roots[node.out.name], roots[name]
            if mine != (node.out.name, 0):  # the output already lies inside a concat: so does what it views
                roots[name] = mine
            else:
                roots[node.out.name] = its
        return roots

    def check_placements(self) -> None:
        plan = self.plan
        for name in self.roots:
            tensor, placement = plan.tensor(name), plan.placements.get(name)
            if placement is None:
                _fail(f"tensor '{name}' has no place", name)
            if len(placement.offsets) != tensor.form.rows or placement.row_bytes != tensor.row_bytes:
                _fail(f"tensor '{name}' has {len(placement.offsets)} rows placed, needs {tensor.form.rows}", name)
            for row, offset in enumerate(placement.offsets):
                if offset < 0 or offset + placement.row_bytes > plan.arena_bytes:
                    _fail(f"row {row} at {offset} leaves the arena of {plan.arena_bytes} bytes", name)
                if offset % tensor.dtype.itemsize:
                    _fail(f"row {row} at {offset} is not aligned for {tensor.dtype.value}", name)
        for name, (root, base) in self.roots.items():
            if name != root:
                self.check_alias(name, root, base)

    def check_alias(self, name: str, root: str, base: int) -> None:
        """A view's bytes must be the very addresses of the root's bytes."""
        mine = self.addresses(self.plan.placements[name])
        its = self.addresses(self.plan.placements[root])[base : base + len(mine)]
        if not np.array_equal(mine, its):
            _fail(f"view '{name}' does not lie on the bytes of '{root}'", name)

    @staticmethod
    def addresses(placement: Placement) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        offsets = np.array(placement.offsets, dtype=np.int64)
        result: np.ndarray[tuple[int], np.dtype[np.int64]] = (
            offsets[:, None] + np.arange(placement.row_bytes, dtype=np.int64)
        ).reshape(-1)
        return result

    # --- bytes ---------------------------------------------------------------------------------------------------------

    def spans(self, tensor: Tensor, region: Region) -> list[_Bytes]:
        """The arena bytes of a region, a span per row."""
        placement = self.plan.placements[tensor.name]
        root, base = self.roots[tensor.name]
        pixel = tensor.form.channels * tensor.dtype.itemsize
        size = region.cols * pixel
        return [
            _Bytes(
                placement.offsets[y] + region.x0 * pixel,
                size,
                self.ids[root],
                base + y * tensor.row_bytes + region.x0 * pixel,
            )
            for y in range(region.y0, region.y1)
        ]

    def read(self, span: _Bytes, what: str, where: str) -> None:
        part = slice(span.start, span.start + span.size)
        good = (self.owner[part] == span.root) & (self.index[part] == np.arange(span.first, span.first + span.size))
        if not good.all():
            at = int(np.argmin(good))
            found = int(self.owner[span.start + at])
            held = "nothing" if found == NOTHING else f"byte {int(self.index[span.start + at])} of '{self.names[found]}'"
            _fail(
                f"{what} reads byte {span.first + at} of '{self.names[span.root]}' at {span.start + at}, which holds {held}",
                where,
            )

    def write(self, span: _Bytes) -> None:
        part = slice(span.start, span.start + span.size)
        self.owner[part] = span.root
        self.index[part] = np.arange(span.first, span.first + span.size)

    # --- steps ---------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        plan = self.plan
        self.check_placements()
        for name in plan.graph.inputs:
            tensor = plan.tensor(name)
            for span in self.spans(tensor, Region(0, tensor.form.rows, 0, tensor.form.width)):
                if (self.owner[span.start : span.start + span.size] != NOTHING).any():
                    _fail(f"input '{name}' overlaps another input", name)
                self.write(span)
        covered = {s.op: np.zeros((0, 0), dtype=bool) for s in plan.steps}
        for number, step in enumerate(plan.steps):
            node = plan.graph.node(plan.ops[step.op])
            form = node.out.form
            if not covered[step.op].size:
                covered[step.op] = np.zeros((form.rows, form.width), dtype=bool)
            r = step.region
            if not (0 <= r.y0 < r.y1 <= form.rows and 0 <= r.x0 < r.x1 <= form.width):
                _fail(f"step {number} computes a region outside its output", str(node.op.source))
            covered[step.op][r.y0 : r.y1, r.x0 : r.x1] = True
            self.step(number, step, node)
        for op, done in covered.items():
            if not done.all():
                _fail("an op never computes some of its output", str(plan.ops[op].source))
        for name in plan.graph.outputs:
            tensor = plan.tensor(name)
            for span in self.spans(tensor, Region(0, tensor.form.rows, 0, tensor.form.width)):
                self.read(span, "the caller", f"output '{name}'")

    def step(self, number: int, step: Step, node: Node) -> None:
        oper = operator(node.op.kind)
        where = f"step {number}, {node.op.source}"
        grain = oper.grain(node)
        region = step.region
        if grain is Grain.WHOLE and not (step.merge and region.rows == node.out.form.rows):
            _fail("an op that makes its whole output at once is cut into rows", where)
        if step.merge and grain is Grain.ROW:
            _fail("rows are merged into one call for an op that makes one row a call", where)
        if step.merge:
            self.check_contiguous(node, oper, grain, region, where)
            self.call(step, node, oper, region, where)
            return
        for y in range(region.y0, region.y1):
            self.call(step, node, oper, Region(y, y + 1, region.x0, region.x1), f"{where}, row {y}")

    def check_contiguous(self, node: Node, oper: Operator, grain: Grain, region: Region, where: str) -> None:
        """A merged call sees one long row on both sides; a whole one sees contiguous tensors."""
        for i in (*node.activations, None):
            tensor = node.out if i is None else node.tensor(i)
            rows = (0, tensor.form.rows) if grain is Grain.WHOLE else (region.y0, region.y1)
            if tensor.form.rows != node.out.form.rows:
                rows = (0, tensor.form.rows)
            if not self.plan.placements[tensor.name].contiguous_rows(*rows):
                _fail(f"rows of '{tensor.name}' are not adjacent, but one call takes them all", where)
        if grain is Grain.FLAT and region.cols != node.out.form.width:
            _fail("rows are merged although they are not computed whole", where)

    def call(self, step: Step, node: Node, oper: Operator, region: Region, where: str) -> None:
        reads: list[tuple[int, _Bytes]] = []
        for i, need in enumerate(oper.in_region(node, region)):
            tensor = node.inputs[i]
            if need is None or tensor is None or tensor.is_const:
                continue
            for span in self.spans(tensor, need.region):
                self.read(span, "the kernel", where)
                reads.append((i, span))
        writes = self.spans(node.out, region)
        allowed = oper.in_place(node)
        first_write = min(w.start for w in writes)
        for i, read in reads:
            for w in writes:
                if w.start < read.start + read.size and read.start < w.start + w.size:
                    first_read = min(r.start for k, r in reads if k == i)
                    if i not in allowed or (first_write if step.merge else w.start) > first_read:
                        name = node.tensor(i).name
                        _fail(f"the output row overwrites '{name}' at {w.start} while the kernel reads it", where)
        offset = self.plan.scratch[step.op]
        size = oper.scratch_bytes(node)
        if size:
            self.scratch(offset, size, [s for _, s in reads] + writes, where)
        for span in writes:
            self.write(span)

    def scratch(self, offset: int | None, size: int, busy: list[_Bytes], where: str) -> None:
        if offset is None or offset < 0 or offset + size > self.plan.arena_bytes or offset % 4:
            _fail(f"{size} bytes of scratch at {offset} are not in the arena", where)
        if any(s.start < offset + size and offset < s.start + s.size for s in busy):
            _fail("scratch overlaps what the kernel reads or writes", where)
        self.owner[offset : offset + size] = NOTHING


def verify_plan(plan: Plan) -> None:
    """Replay `plan`; InternalError names the step, operator, row and byte of the first thing that is wrong."""
    _Replay(plan).run()
