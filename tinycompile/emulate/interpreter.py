"""The Plan on one NumPy byte arena, with the operators' references: finds planner bugs without any C.

Reads and writes go through the plan's row addresses, so a wrong address, order or overlap gives a wrong result here, as
it would on the chip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinycompile.ir.graph import Array, Graph, Node, Tensor
from tinycompile.ir.plan import Plan, Step
from tinycompile.ir.types import Region
from tinycompile.ops.base import Operator, whole
from tinycompile.ops.registry import operator

Observer = Callable[[Node, Array], None]


class _Arena:
    def __init__(self, plan: Plan, fill: int) -> None:
        self.plan = plan
        self.bytes = np.full(plan.arena_bytes, fill, dtype=np.uint8)

    def read(self, tensor: Tensor, region: Region) -> Array:
        """A copy of a region, (rows, cols, channels)."""
        offsets = self.plan.placements[tensor.name].offsets[region.y0 : region.y1]
        pixel = tensor.form.channels * tensor.dtype.itemsize
        rows = [self.bytes[o + region.x0 * pixel : o + region.x1 * pixel] for o in offsets]
        data = np.stack(rows) if rows else np.empty((0, region.cols * pixel), dtype=np.uint8)
        return data.view(tensor.dtype.numpy).reshape(region.rows, region.cols, tensor.form.channels)

    def write(self, tensor: Tensor, region: Region, values: Array) -> None:
        """Rows in ascending order."""
        data = np.ascontiguousarray(values, dtype=tensor.dtype.numpy).reshape(region.rows, -1).view(np.uint8)
        pixel = tensor.form.channels * tensor.dtype.itemsize
        for row, offset in zip(data, self.plan.placements[tensor.name].offsets[region.y0 : region.y1], strict=True):
            self.bytes[offset + region.x0 * pixel : offset + region.x1 * pixel] = row

    def overlap(self, node: Node) -> bool:
        """Whether the output shares bytes with a run-time input."""

        def extent(tensor: Tensor) -> tuple[int, int]:
            placement = self.plan.placements[tensor.name]
            return min(placement.offsets), max(placement.offsets) + placement.row_bytes

        low, high = extent(node.out)
        return any(extent(node.tensor(i))[0] < high and low < extent(node.tensor(i))[1] for i in node.activations)


def _compute(arena: _Arena, node: Node, oper: Operator, region: Region) -> Array:
    inputs = [
        None if need is None or tensor is None or tensor.is_const else arena.read(tensor, need.region)
        for tensor, need in zip(node.inputs, oper.in_region(node, region), strict=True)
    ]
    return oper.compute(node, region, inputs)


def _run_step(arena: _Arena, step: Step, node: Node, observe: Observer | None) -> None:
    oper = operator(node.op.kind)
    region = step.region
    if step.merge or not arena.overlap(node):
        regions = [region]  # nothing the step writes can be read by it later: all rows at once
    else:
        regions = [Region(y, y + 1, region.x0, region.x1) for y in range(region.y0, region.y1)]
    for part in regions:
        arena.write(node.out, part, _compute(arena, node, oper, part))
    if observe is not None and region == whole(node.out):
        observe(node, arena.read(node.out, region).reshape(node.out.shape))


def run_plan(plan: Plan, inputs: Sequence[Array], fill: int = 0xA5, observe: Observer | None = None) -> list[Array]:
    """Outputs of one inference; inputs in the order and shapes of ``plan.graph.inputs``.

    The arena starts filled with `fill`. `observe(node, value)` sees each whole tensor right after its step.
    Raises ValueError or IndexError when the plan leaves its arena.
    """
    arena = _Arena(plan, fill)
    for name, value in zip(plan.graph.inputs, inputs, strict=True):
        tensor = plan.tensor(name)
        form = tensor.form
        arena.write(tensor, whole(tensor), np.asarray(value).reshape(form.rows, form.width, form.channels))
    for step in plan.steps:
        _run_step(arena, step, plan.graph.node(plan.ops[step.op]), observe)
    return [arena.read(plan.tensor(n), whole(plan.tensor(n))).reshape(plan.tensor(n).shape) for n in plan.graph.outputs]


def run_graph(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every tensor's value, operator by operator, with no plan: the definition of correct."""
    values = {n: np.asarray(v).reshape(graph.tensors[n].shape) for n, v in zip(graph.inputs, inputs, strict=True)}
    for node in graph.nodes():
        given = [None if t is None or t.is_const else values[t.name] for t in node.inputs]
        values[node.out.name] = operator(node.op.kind).reference(node, given)
    return values
