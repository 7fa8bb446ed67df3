"""`verify_plan`: the proof that a plan is right, independent of the planner.

The plan's steps are replayed, call by call, over a map of the arena in which every byte knows which byte of which
tensor it holds. The first read that would find anything else is named. Nothing here knows of rings, in-place steps
or whole buffers; only of reads, writes and offsets, so any placement of rows and any interleaving of steps can be
checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import one_line
from tinycompile.ir.graph import Node, Tensor
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.plan import Placement, Plan, Pop, Push, Step
from tinycompile.ir.types import Region
from tinycompile.ops.base import SCRATCH_ALIGN, Grain, Need, Operator, window_tensor
from tinycompile.ops.registry import operator
from tinycompile.schedule.plan_tags import Tags, fail, root_tags

_EMPTY = -1
_KEPT = 1 << 60  # tags of scratch that is kept are above those of tensors: number of the operator << 40 | row and byte


@dataclass(frozen=True)
class _Call:
    """One kernel call: the output rows it makes, and where messages say it is."""

    step: int
    node: Node
    oper: Operator
    region: Region
    merged: bool
    variant: str

    def fail(self, what: str) -> NoReturn:
        fail(
            what,
            f"step {self.step} ({self.node.op.kind} '{one_line(self.node.op.name, 80)}'), {_rows(self.region)}",
        )


@dataclass
class _Replay:
    """The arena as it is after the calls so far, and the caller's memory of external inputs, which never changes."""

    plan: Plan
    arena: Tags
    tags: dict[str, Tags]
    external: list[Tags] = field(default_factory=list)
    done: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    pushed: dict[str, int] = field(default_factory=dict)
    popped: dict[str, int] = field(default_factory=dict)
    whole_windows: dict[int, list[Tensor]] = field(default_factory=dict)
    kept_rows: dict[str, int] = field(default_factory=dict)

    def row(self, tensor: Tensor, y: int, x0: int, x1: int) -> tuple[int, int, Tags]:
        """First byte, end, and expected tags of columns [x0, x1) of a row."""
        pixel = tensor.form.channels * tensor.dtype.itemsize
        start = y * tensor.row_bytes
        low = self.plan.placements[tensor.name].offsets[y]
        return low + x0 * pixel, low + x1 * pixel, self.tags[tensor.name][start + x0 * pixel : start + x1 * pixel]

    def memory(self, tensor: Tensor) -> Tags:
        """The memory that a tensor lies in."""
        external = self.plan.placements[tensor.name].external
        return self.arena if external is None else self.external[external]

    def write(self, tensor: Tensor, region: Region) -> None:
        for y in range(region.y0, region.y1):
            low, high, tags = self.row(tensor, y, region.x0, region.x1)
            self.arena[low:high] = tags

    def damage(self, tensor: Tensor, region: Region) -> str | None:
        """The first byte of `region` that the arena does not hold, in words."""
        memory = self.memory(tensor)
        for y in range(region.y0, region.y1):
            low, high, tags = self.row(tensor, y, region.x0, region.x1)
            wrong = memory[low:high] != tags
            if wrong.any():
                at = int(np.argmax(wrong))
                held = self.held(int(memory[low + at]))
                return f"row {y} of '{one_line(tensor.name, 80)}' is not intact: arena byte {low + at} holds {held}"
        return None

    def held(self, tag: int) -> str:
        if tag == _EMPTY:
            return "nothing"
        if tag >= _KEPT:
            return "scratch that is kept"
        for name, tags in self.tags.items():
            if tags[0] <= tag <= tags[-1]:
                tensor = self.plan.tensor(name)
                return f"row {(tag - int(tags[0])) // tensor.row_bytes} of '{one_line(name, 80)}'"
        return "another tensor"

    def spans(self, tensor: Tensor, region: Region) -> list[tuple[int, int]]:
        """Byte ranges of a region in the arena, one per run of rows that are adjacent in memory."""
        result: list[tuple[int, int]] = []
        if self.plan.placements[tensor.name].external is not None:
            return result
        for y in range(region.y0, region.y1):
            low, high, _ = self.row(tensor, y, region.x0, region.x1)
            if result and result[-1][1] == low:
                result[-1] = (result[-1][0], high)
            else:
                result.append((low, high))
        return result


def verify_plan(plan: Plan) -> None:
    """Raises InternalError, naming step, operator, row and byte, unless executing `plan` computes its graph.

    Checked: all rows lie in the arena, aligned; every call finds every byte it reads; output and scratch overwrite
    nothing that the call reads (an output that eats its input only where the operator allows that); scratch that is
    kept is found as the row before left it, its rows made in order; merged calls and whole-tensor kernels have adjacent
    rows; no pixel is computed twice; rows of a streamed input are pushed in order; the outputs are intact at the end,
    or every row of them when it is popped, in order and once. A row that is never computed is found by the first read.
    """
    _check_tables(plan)
    replay = _Replay(plan, np.full(plan.arena_bytes, _EMPTY, dtype=np.int64), root_tags(plan))
    _enter(replay)
    for index, step in enumerate(plan.steps):
        if isinstance(step, Push):
            _replay_push(replay, index, step)
        elif isinstance(step, Pop):
            _replay_pop(replay, index, step)
        else:
            _replay_step(replay, index, step)
    for name in plan.graph.outputs:
        if plan.output_mode is OutputMode.STREAMED:
            if (row := replay.popped.get(name, 0)) < plan.tensor(name).form.rows:
                fail(f"row {row} of output '{one_line(name, 80)}' is never popped", "end of the plan")
        elif (damage := replay.damage(plan.tensor(name), _whole(plan.tensor(name)))) is not None:
            fail(f"a network output is lost: {damage}", "end of the plan")


def _enter(replay: _Replay) -> None:
    """What the caller has filled before step 0."""
    plan = replay.plan
    inputs = [plan.tensor(name) for name in plan.graph.inputs]
    if plan.input_mode is InputMode.EXTERNAL:
        replay.external += [replay.tags[tensor.name] for tensor in inputs]
    elif plan.input_mode is InputMode.RESIDENT:
        for tensor in inputs:
            replay.write(tensor, _whole(tensor))
    else:
        return
    for tensor in inputs:
        if (damage := replay.damage(tensor, _whole(tensor))) is not None:
            fail(f"network inputs overlap: {damage}", "before step 0")


def _replay_push(replay: _Replay, index: int, step: Push) -> None:
    plan = replay.plan
    where = f"step {index} (push of row {step.row} of '{one_line(step.tensor, 80)}')"
    if plan.input_mode is not InputMode.STREAMED or step.tensor not in plan.graph.inputs:
        fail("only rows of a streamed network input are pushed", where)
    tensor = plan.tensor(step.tensor)
    row = replay.pushed.get(step.tensor, 0)
    if step.row != row or row >= tensor.form.rows:
        fail(f"rows are pushed in order, each once: row {row} of {tensor.form.rows} is next", where)
    replay.pushed[step.tensor] = row + 1
    replay.write(tensor, Region(row, row + 1, 0, tensor.form.width))


def _replay_pop(replay: _Replay, index: int, step: Pop) -> None:
    plan = replay.plan
    where = f"step {index} (pop of row {step.row} of '{one_line(step.tensor, 80)}')"
    if plan.output_mode is not OutputMode.STREAMED or step.tensor not in plan.graph.outputs:
        fail("only rows of a streamed network output are popped", where)
    tensor = plan.tensor(step.tensor)
    row = replay.popped.get(step.tensor, 0)
    if step.row != row or row >= tensor.form.rows:
        fail(f"rows are popped in order, each once: row {row} of {tensor.form.rows} is next", where)
    replay.popped[step.tensor] = row + 1
    if (damage := replay.damage(tensor, Region(row, row + 1, 0, tensor.form.width))) is not None:
        fail(damage, where)


def _check_tables(plan: Plan) -> None:
    """Shapes of the plan's tables, and every row inside the arena on its own alignment."""
    where = "tables of the plan"
    if plan.interface.input_mode is not plan.input_mode:
        fail("the interface's input mode is not the plan's", where)
    if plan.interface.output_mode is not plan.output_mode:
        fail("the interface's output mode is not the plan's", where)
    if sorted(op.outputs for op in plan.ops) != sorted(op.outputs for op in plan.graph.ops):
        fail("the plan's operators are not the graph's", where)
    if len(plan.variants) != len(plan.ops) or len(plan.scratch) != len(plan.ops):
        fail("one variant and place of scratch per operator is needed", where)
    if not all(0 <= step.op < len(plan.ops) for step in plan.computed):
        fail("a step names an operator that does not exist", where)
    if len(plan.live_bytes) != len(plan.steps):
        fail("one figure of live bytes per step is needed", where)
    if plan.interface.arena_bytes < plan.arena_bytes or plan.interface.arena_align != plan.arena_align:
        fail("the interface's arena is not the plan's", where)
    for name, tensor in plan.graph.tensors.items():
        if tensor.is_const:
            continue
        place = plan.placements.get(name)
        at = f"tensor '{one_line(name, 80)}'"
        if place is None or place.row_bytes != tensor.row_bytes or len(place.offsets) != tensor.form.rows:
            fail("the placement does not have one offset per row", at)
        item = tensor.dtype.itemsize
        if plan.arena_align % item:
            fail(f"elements of {item} bytes in an arena aligned to {plan.arena_align}", at)
        size, memory = plan.arena_bytes, "an arena"
        if place.external is not None:
            if plan.input_mode is not InputMode.EXTERNAL or not 0 <= place.external < len(plan.graph.inputs):
                fail("only external inputs lie in the caller's memory", at)
            size, memory = plan.tensor(plan.graph.inputs[place.external]).nbytes, "an input"
        for y, low in enumerate(place.offsets):
            if low < 0 or low + tensor.row_bytes > size:
                fail(f"row {y} at bytes [{low}, {low + tensor.row_bytes}) of {memory} of {size}", at)
            if low % item:
                fail(f"row {y} at byte {low} is not aligned to {item}", at)


def _replay_step(replay: _Replay, index: int, step: Step) -> None:
    plan = replay.plan
    node = plan.graph.node(plan.ops[step.op])
    oper, region, form = operator(node.op.kind), step.region, node.out.form
    variant = plan.variants[step.op]
    first = _Call(index, node, oper, region, step.merge, variant)
    if not (0 <= region.y0 < region.y1 <= form.rows and 0 <= region.x0 < region.x1 <= form.width):
        first.fail("the region is empty or outside the output")
    grain = oper.grain(node)
    if grain is Grain.WHOLE and (not step.merge or region != _whole(node.out)):
        first.fail("the kernel makes the whole output in one call")
    if step.merge and grain is Grain.ROW:
        first.fail("the kernel makes one row per call")
    if step.merge and region.rows > 1 and region.cols != form.width:
        first.fail("merged rows must be whole rows")
    if plan.placements[node.out.name].external is not None:
        first.fail("a step writes to the caller's memory")
    _check_adjacent(replay, step.op, first)
    made = replay.done.setdefault(node.out.name, np.zeros((form.rows, form.width), dtype=np.bool_))
    if made[region.y0 : region.y1, region.x0 : region.x1].any():
        first.fail("the region is computed a second time")
    made[region.y0 : region.y1, region.x0 : region.x1] = True
    if step.merge:
        _replay_call(replay, first, _scratch_at(plan, step.op, region.y0))
        return
    each = oper.step_rows(node)
    if region.y0 % each or (region.y1 % each and region.y1 < form.rows):
        first.fail(f"the kernel makes {each} rows per call")
    for y in range(region.y0, region.y1, each):
        rows = Region(y, min(y + each, region.y1), region.x0, region.x1)
        _replay_call(replay, _Call(index, node, oper, rows, False, variant), _scratch_at(plan, step.op, y))


def _scratch_at(plan: Plan, op: int, y: int) -> int | None:
    """Where the scratch of the call that makes row `y` (or rows from there on) lies."""
    place = plan.scratch[op]
    return None if place is None or y >= len(place.offsets) else place.offsets[y]


def _check_adjacent(replay: _Replay, op: int, call: _Call) -> None:
    """Rows that a kernel reaches from one pointer are adjacent in memory."""
    plan = replay.plan

    def adjacent(tensor: Tensor, y0: int, y1: int) -> None:
        place: Placement = plan.placements[tensor.name]
        if not place.contiguous_rows(y0, y1):
            call.fail(f"rows {y0}..{y1 - 1} of '{one_line(tensor.name, 80)}' are not adjacent in memory")

    node = call.node
    if call.merged:
        adjacent(node.out, call.region.y0, call.region.y1)
        for k, need in enumerate(call.oper.in_region(node, call.region)):
            if need is not None:
                adjacent(node.tensor(k), need.region.y0, need.region.y1)
    if op not in replay.whole_windows:
        region = call.region if call.merged else Region(call.region.y0, call.region.y0 + 1, 0, node.out.form.width)
        calls = call.oper.calls(node, region, plan.variants[op])
        replay.whole_windows[op] = [window_tensor(node, w) for kernel in calls for w in kernel.inputs if w.whole]
    for tensor in replay.whole_windows[op]:
        adjacent(tensor, 0, tensor.form.rows)


def _replay_call(replay: _Replay, call: _Call, scratch: int | None) -> None:
    node, oper = call.node, call.oper
    keeps = oper.keeps(node)
    asked = oper.step_region(node, call.region.y0) if keeps else oper.in_region(node, call.region)
    needs = [
        (k, node.tensor(k), need)
        for k, need in enumerate(asked)
        if need is not None and need.region.y0 < need.region.y1 and need.region.x0 < need.region.x1
    ]
    for _, tensor, need in needs:
        if (damage := replay.damage(tensor, need.region)) is not None:
            call.fail(damage)
    if oper.carries(node) and call.region.y0 > 0:
        before = Region(call.region.y0 - 1, call.region.y0, call.region.x0, call.region.x1)
        if (damage := replay.damage(node.out, before)) is not None:
            call.fail(damage)
        _check_carried(replay, call, before)
    writes = replay.spans(node.out, call.region)
    allowed = oper.in_place(node)
    over_window = [variant.name for variant in oper.over_window(node)]
    for k, tensor, need in needs:
        if call.variant in over_window:
            _check_over_window(replay, call, k, tensor, need)
        elif k not in allowed:
            _forbid(call, writes, replay.spans(tensor, need.region), f"input {k} of the same call", "the output")
        else:
            _check_in_place(replay, call, k, tensor, need)
    wanted = oper.scratch_bytes(node)
    if wanted:
        if scratch is None or scratch < 0 or scratch + wanted > replay.plan.arena_bytes:
            call.fail(f"{wanted} bytes of scratch at {scratch} do not lie in the arena")
        if scratch % SCRATCH_ALIGN:
            call.fail(f"scratch at {scratch} is not aligned to {SCRATCH_ALIGN}")
        span = [(scratch, scratch + wanted)]
        for k, tensor, need in needs:
            _forbid(call, span, replay.spans(tensor, need.region), f"input {k}", "scratch")
        _forbid(call, span, writes, "the output", "scratch")
        replay.arena[scratch : scratch + wanted] = _keep(replay, call, scratch, wanted) if keeps else _EMPTY
    _forbid_among(call, writes)
    replay.write(node.out, call.region)


def _keep(replay: _Replay, call: _Call, scratch: int, size: int) -> Tags:
    """The tags of scratch that this call keeps, which finds there what the row before has kept."""
    name, y = call.node.out.name, call.region.y0
    due = replay.kept_rows.setdefault(name, 0)
    if y != due:
        call.fail(f"rows of an operator that keeps scratch are made in order, and row {due} is due")
    if call.region.cols != call.node.out.form.width:
        call.fail("rows of an operator that keeps scratch are made whole")
    replay.kept_rows[name] = y + 1
    number = list(replay.kept_rows).index(name)
    tags: Tags = _KEPT + (number << 40) + y * size + np.arange(size, dtype=np.int64)
    wrong = replay.arena[scratch : scratch + size] != tags - size
    if y > 0 and wrong.any():
        at = scratch + int(np.argmax(wrong))
        held = replay.held(int(replay.arena[at]))
        call.fail(f"scratch as row {y - 1} has kept it is not intact: arena byte {at} holds {held}")
    return tags


def _check_in_place(replay: _Replay, call: _Call, k: int, tensor: Tensor, need: Need) -> None:
    """An output may overlap an input of its call only if each row starts at or below the row it is made from."""
    writes, reads = replay.spans(call.node.out, call.region), replay.spans(tensor, need.region)
    if len(writes) != 1 or len(reads) != 1 or need.region.rows != call.region.rows:
        _forbid(call, writes, reads, f"input {k} of the same call", "the output")
        return
    (low, high), (start, end) = writes[0], reads[0]
    more = call.region.rows - 1
    last_low, last_start = low + more * call.node.out.row_bytes, start + more * tensor.row_bytes
    if low < end and start < high and (low > start or last_low > last_start):
        call.fail(f"the output at bytes [{low}, {high}) overwrites input {k} at [{start}, {end}) before it is read")


def _check_over_window(replay: _Replay, call: _Call, k: int, tensor: Tensor, need: Need) -> None:
    """An output row may overlap one row that its call reads, from the same byte on and no further; of several rows,
    each the one of its number."""
    made = range(call.region.y0, call.region.y1)
    for j, row in enumerate(made):
        (write,) = replay.spans(call.node.out, Region(row, row + 1, call.region.x0, call.region.x1))
        for i, y in enumerate(range(need.region.y0, need.region.y1)):
            held = replay.spans(tensor, Region(y, y + 1, 0, tensor.form.width))
            eaten = [(low, high) for low, high in held if low == write[0] and write[1] <= high]
            if not eaten or call.region.cols != call.node.out.form.width or (len(made) > 1 and i != j):
                part = Region(y, y + 1, need.region.x0, need.region.x1)
                _forbid(call, [write], replay.spans(tensor, part), f"input {k} of the same call", "the output")


def _check_carried(replay: _Replay, call: _Call, before: Region) -> None:
    """A row may be written over the row that it carries on from only at the very same place."""
    writes, reads = replay.spans(call.node.out, call.region), replay.spans(call.node.out, before)
    if writes != reads:
        _forbid(call, writes, reads, "the row before", "the output")


def _forbid(call: _Call, writes: list[tuple[int, int]], reads: list[tuple[int, int]], of: str, by: str) -> None:
    for low, high in writes:
        for start, end in reads:
            if low < end and start < high:
                call.fail(f"{by} at bytes [{low}, {high}) overwrites {of} at [{start}, {end})")


def _forbid_among(call: _Call, writes: list[tuple[int, int]]) -> None:
    ordered = sorted(writes)
    for (low, high), (start, end) in pairwise(ordered):
        if start < high:
            call.fail(f"output rows at bytes [{low}, {high}) and [{start}, {end}) overlap")


def _whole(tensor: Tensor) -> Region:
    return Region(0, tensor.form.rows, 0, tensor.form.width)


def _rows(region: Region) -> str:
    if region.rows == 1:
        return f"row {region.y0}"
    return f"rows {region.y0}..{region.y1 - 1}"
