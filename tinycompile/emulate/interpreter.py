"""The interpreter: executes a Plan on one NumPy byte arena of exactly ``arena_bytes``, and a Graph without any arena.

Every value passes through the arena's bytes at the plan's offsets, so a plan that overwrites a byte too early gives a
wrong result here as it would in C. Rows of a step are computed at once only where that cannot hide such an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import InternalError, UsageError, one_line
from tinycompile.ir.graph import Array, Graph, Node, Tensor
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.plan import Plan, Pop, Push, Step
from tinycompile.ir.states import initial_values, state_outputs
from tinycompile.ir.types import Region
from tinycompile.ops.base import Need, Operator, whole
from tinycompile.ops.evaluate import evaluate, node_result
from tinycompile.ops.registry import operator

Bytes = NDArray[np.uint8]


class _Arena:
    """The arena, and beside it the caller's memory of each network input."""

    def __init__(self, plan: Plan, inputs: Sequence[Array], fill: int) -> None:
        self.plan = plan
        self.bytes: Bytes = np.full(plan.arena_bytes, fill, dtype=np.uint8)
        self.given = dict(zip(plan.graph.inputs, inputs, strict=True))
        self.external = [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in inputs]
        for memory in self.external:
            memory.flags.writeable = False
        self.popped: dict[str, list[Array]] = {}

    def _span(self, low: int, size: int, what: str, external: int | None = None) -> Bytes:
        memory, memory_name = (self.bytes, "arena") if external is None else (self.external[external], "input")
        if low < 0 or low + size > memory.size:
            raise InternalError(
                f"bytes [{low}, {low + size}) are outside the {memory_name} of {memory.size}", what, "report this bug"
            )
        return memory[low : low + size]

    def push(self, name: str, y0: int, y1: int) -> None:
        """Rows of a network input from the caller into their places."""
        tensor = self.plan.tensor(name)
        self.write(tensor, Region(y0, y1, 0, tensor.form.width), _as_rows(tensor, self.given[name])[y0:y1])

    def pop(self, name: str, y: int) -> None:
        """Row `y` of a network output to the caller, who takes rows as they come."""
        tensor = self.plan.tensor(name)
        self.popped.setdefault(name, []).append(self.read(tensor, Region(y, y + 1, 0, tensor.form.width)))

    def _rows(self, tensor: Tensor, y0: int, y1: int) -> list[Bytes]:
        """The arena's bytes of rows [y0, y1): one span when they are adjacent, else one per row."""
        place = self.plan.placements[tensor.name]
        where = f"tensor '{one_line(tensor.name, 80)}'"
        if place.contiguous_rows(y0, y1):
            return [self._span(place.offsets[y0], (y1 - y0) * tensor.row_bytes, where, place.external)]
        return [self._span(place.offsets[y], tensor.row_bytes, where, place.external) for y in range(y0, y1)]

    def read(self, tensor: Tensor, region: Region) -> Array:
        """A copy of a region, (rows, cols, channels)."""
        form = tensor.form
        if region.rows == 0:
            return np.empty((0, region.cols, form.channels), dtype=tensor.dtype.numpy)
        data = np.concatenate(self._rows(tensor, region.y0, region.y1))
        rows = data.view(tensor.dtype.numpy).reshape(region.rows, form.width, form.channels)
        return np.ascontiguousarray(rows[:, region.x0 : region.x1])

    def write(self, tensor: Tensor, region: Region, value: Array) -> None:
        data = np.ascontiguousarray(value, dtype=tensor.dtype.numpy)
        form = tensor.form
        if data.shape != (region.rows, region.cols, form.channels):
            raise InternalError(
                f"a region of shape {list(data.shape)} instead of {[region.rows, region.cols, form.channels]}",
                f"tensor '{one_line(tensor.name, 80)}'",
                "report this bug",
            )
        raw = data.view(np.uint8).reshape(region.rows, -1)
        if region.cols == form.width:
            spans = self._rows(tensor, region.y0, region.y1)
            for span, rows in zip(spans, raw.reshape(len(spans), -1), strict=True):
                span[:] = rows
            return
        pixel = form.channels * tensor.dtype.itemsize
        for k, row in enumerate(raw):
            (span,) = self._rows(tensor, region.y0 + k, region.y0 + k + 1)
            span[region.x0 * pixel : region.x1 * pixel] = row

    def scratch(self, offset: int | None, size: int, what: str) -> Bytes:
        """The bytes of scratch, none where none is wanted."""
        return self._span(-1 if offset is None else offset, size, what) if size else self.bytes[:0]


def _bounds(plan: Plan, tensor: Tensor, region: Region) -> tuple[int, int]:
    offsets = plan.placements[tensor.name].offsets[region.y0 : region.y1]
    return min(offsets), max(offsets) + tensor.row_bytes


def _at_once(plan: Plan, node: Node, oper: Operator, step: Step, needs: Sequence[Need | None]) -> bool:
    """Whether all rows of a step can be computed before any is written: its output overlaps none of its inputs, or one
    call makes all rows and the operator allows the overlap."""
    low, high = _bounds(plan, node.out, step.region)
    for k, need in enumerate(needs):
        if need is None or need.region.rows == 0 or plan.placements[node.tensor(k).name].external is not None:
            continue
        start, end = _bounds(plan, node.tensor(k), need.region)
        if low < end and start < high and not (step.merge and k in oper.in_place(node) and low <= start):
            return False
    return True


def _run_step(arena: _Arena, step: Step | Push | Pop) -> None:
    plan = arena.plan
    if isinstance(step, Pop):
        arena.pop(step.tensor, step.row)
        return
    if isinstance(step, Push):
        arena.push(step.tensor, step.row, step.row + 1)
        return
    node = plan.graph.node(plan.ops[step.op])
    oper, region = operator(node.op.kind), step.region
    scratch, scratch_bytes = plan.scratch[step.op], oper.scratch_bytes(node)
    pieces = [region]
    carries, keeps = oper.carries(node), oper.keeps(node)
    by_row = carries or keeps or (scratch_bytes > 0 and not step.merge)
    if by_row or not _at_once(plan, node, oper, step, oper.in_region(node, region)):
        each = oper.step_rows(node)
        starts = range(region.y0, region.y1, each)
        pieces = [Region(y, min(y + each, region.y1), region.x0, region.x1) for y in starts]
    for piece in pieces:
        at = None if scratch is None else scratch.offsets[piece.y0]
        own = arena.scratch(at, scratch_bytes, str(node.op.source))
        if not keeps:
            # As a kernel that uses it would, with anything; before each row, so that one which it overwrites is lost.
            own[:] = 0x5A
        needs = oper.step_region(node, piece.y0) if keeps else oper.in_region(node, piece)
        inputs = [None if n is None else arena.read(node.tensor(k), n.region) for k, n in enumerate(needs)]
        if keeps:
            made = oper.advance_kept(node, piece.y0, inputs, own)
        elif carries and piece.y0 > 0:
            before = arena.read(node.out, Region(piece.y0 - 1, piece.y0, piece.x0, piece.x1))
            made = oper.advance(node, piece, inputs, before)
        else:
            made = oper.compute(node, piece, inputs)
        arena.write(node.out, piece, made)


def _given(tensors: Sequence[Tensor], inputs: Sequence[Array]) -> list[Array]:
    """The caller's arrays in the network inputs' shapes; raises UsageError when they do not fit."""
    if len(inputs) != len(tensors):
        raise UsageError(
            f"{len(inputs)} arrays for {len(tensors)} network inputs", "inputs", "give one array per input"
        )
    result = []
    for tensor, array in zip(tensors, inputs, strict=True):
        if array.dtype != tensor.dtype.numpy or array.size != tensor.elems:
            raise UsageError(
                f"an array of {array.dtype} {list(array.shape)} for {tensor.dtype.value} {list(tensor.shape)}",
                f"network input '{one_line(tensor.name, 80)}'",
                "give an array of the input's type and shape",
            )
        result.append(array.reshape(tensor.shape))
    return result


def _as_rows(tensor: Tensor, array: Array) -> Array:
    form = tensor.form
    return array.reshape(form.rows, form.width, form.channels)


def _start(plan: Plan, inputs: Sequence[Array], fill: int) -> _Arena:
    tensors = [plan.tensor(name) for name in plan.graph.inputs]
    arena = _Arena(plan, [a.copy() for a in _given(tensors, inputs)], fill)
    if plan.input_mode is InputMode.RESIDENT:
        for tensor in tensors:
            arena.push(tensor.name, 0, tensor.form.rows)
    return arena


def run_plan(plan: Plan, inputs: Sequence[Array], fill: int = 0xA5) -> list[Array]:
    """The network outputs, in their own shapes, of one inference in an arena that is `fill` in every byte at the start:
    as they lie there at the end, or the rows that were popped, one behind the other.

    `inputs`: one array per network input, of its dtype and number of elements. Raises UsageError when they do not fit,
    InternalError when the plan leaves the arena.
    """
    arena = _start(plan, inputs, fill)
    for step in plan.steps:
        _run_step(arena, step)
    tensors = [plan.tensor(name) for name in plan.graph.outputs]
    if plan.output_mode is OutputMode.STREAMED:
        return [np.concatenate(arena.popped[t.name]).reshape(t.shape) for t in tensors]
    return [arena.read(t, whole(t)).reshape(t.shape) for t in tensors]


def run_samples(plan: Plan, inputs: Sequence[Array]) -> list[Array]:
    """Per network output an array (samples, *shape): one inference after the other, each with the states of the one
    before. `inputs`: the same per network input; both without states."""
    graph = plan.graph
    kept = dict(zip((s.input for s in graph.states), initial_values(graph), strict=True))
    hidden = state_outputs(graph)
    seen = [name for name in graph.inputs if name not in kept]
    results: list[list[Array]] = [[] for _ in graph.outputs]
    for k in range(len(inputs[0]) if inputs else 1):
        given = {**kept, **{name: a[k] for name, a in zip(seen, inputs, strict=True)}}
        made = run_plan(plan, [given[name] for name in graph.inputs])
        kept = {s.input: made[at] for s, at in zip(graph.states, hidden, strict=True)}
        for result, value in zip(results, made, strict=True):
            result.append(value)
    return [np.stack(result) for at, result in enumerate(results) if at not in hidden]


def run_plan_layers(plan: Plan, inputs: Sequence[Array], fill: int = 0xA5) -> dict[str, Array]:
    """As `run_plan`, but the value of every run-time tensor as its steps left it, by tensor name.

    Rows that the plan never makes, because nobody reads them, are taken from the operator's reference.
    """
    arena = _start(plan, inputs, fill)
    tensors = [plan.tensor(name) for name in plan.graph.inputs]
    values: dict[str, Any] = {t.name: a.copy() for t, a in zip(tensors, _given(tensors, inputs), strict=True)}
    made: dict[str, list[tuple[Region, Array]]] = {}
    for step in plan.steps:
        _run_step(arena, step)
        if isinstance(step, Step):
            out = plan.tensor(plan.ops[step.op].outputs[0])
            made.setdefault(out.name, []).append((step.region, arena.read(out, step.region)))
    for op in plan.ops:
        node = plan.graph.node(op)
        pieces = made.get(node.out.name, [])
        if sum(r.rows * r.cols for r, _ in pieces) == node.out.form.rows * node.out.form.width:
            values[node.out.name] = np.empty(node.out.shape, dtype=node.out.dtype.numpy)
        else:
            values[node.out.name] = node_result(node, values).copy()
        for r, piece in pieces:
            _as_rows(node.out, values[node.out.name])[r.y0 : r.y1, r.x0 : r.x1] = piece
    return values


def run_graph(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every run-time tensor of `graph` by the operators' references, by name: no arena, no plan."""
    tensors = [graph.tensors[name] for name in graph.inputs]
    return evaluate(graph, dict(zip(graph.inputs, _given(tensors, inputs), strict=True)))
