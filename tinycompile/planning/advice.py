"""Where recompute comes from, layer by layer, and what a smaller window there would save.

MCUNetV2 (Lin et al., NeurIPS 2021, "network redistribution") moves receptive field out of the stage that runs in
patches: every window there widens the halos of all layers before it. For each layer this says how much is computed
twice, and how much less it would be, over all layers, if its window were two rows and columns smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tinycompile.ir.graph import Graph, Op
from tinycompile.ir.plan import Recomputed
from tinycompile.ir.types import Region
from tinycompile.ops.base import Need, whole
from tinycompile.ops.registry import operator
from tinycompile.passes.fuse_bottlenecks import bottlenecks, fuse_bottlenecks
from tinycompile.passes.tile_stage import Stage, grid, stage_ops
from tinycompile.planning.recompute import Recompute, rewrite


def recomputed_layers(graph: Graph, how: Recompute) -> tuple[Recomputed, ...]:
    """The layers that `how` computes in part twice, or whose windows make others be, in their order. A fused bottleneck
    is one layer."""
    own = {n.out.name: operator(n.op.kind).macs(n) for n in graph.nodes()}
    fused = fuse_bottlenecks(graph, dict(how.again), how.kept)
    for block in bottlenecks(graph):
        if block.name in how.kept.union(name for name, _ in how.again):
            parts = (block.expand, block.depthwise, block.project)
            own[block.name] = sum(own[op.outputs[0]] for op in parts)
    work = {n.out.name: operator(n.op.kind).macs(n) for n in fused.nodes()}
    again = rewrite(graph, how)
    executed = dict.fromkeys(work, 0)
    for node in again.graph.nodes():
        name = again.part_of.get(node.out.name, node.out.name)
        executed[name] = executed.get(name, 0) + operator(node.op.kind).macs(node)
    saved: dict[str, int] = {}
    for stage in how.stages:
        ops = stage_ops(fused, stage.begin, stage.end)
        assert ops is not None
        total = _executed(fused, stage, ops, work, None)
        for op in ops:
            if _window(fused, op) > 1:
                saved[op.outputs[0]] = max(total - _executed(fused, stage, ops, work, op), 0)
    source = {op.outputs[0]: str(op.source) for op in fused.ops}
    return tuple(
        Recomputed(source[name], own[name], macs - own[name], saved.get(name, 0))
        for name, macs in executed.items()
        if name in own and (macs > own[name] or saved.get(name))  # a crop of the network input is no layer
    )


def _executed(graph: Graph, stage: Stage, ops: Sequence[Op], work: Mapping[str, int], smaller: Op | None) -> int:
    """MACs of a stage in tiles, the window of layer `smaller` less two rows and columns."""
    form = graph.tensors[stage.end].form
    total = 0
    for tile in grid(form.rows, form.width, stage.rows, stage.columns):
        needed = {stage.end: tile}
        for op in reversed(ops):
            node, out = graph.node(op), needed[op.outputs[0]]
            area = node.out.form.rows * node.out.form.width
            total += work[op.outputs[0]] * out.rows * out.cols // area
            for k, need in enumerate(operator(op.kind).in_region(node, out)):
                if need is not None and k in node.activations:
                    name = node.tensor(k).name
                    region = _shrunk(need, whole(node.tensor(k))) if op == smaller else need.region
                    known = needed.get(name)
                    needed[name] = region if known is None else known.around(region)
    return total


def _window(graph: Graph, op: Op) -> int:
    """Rows or columns of the input, whichever is more, that one pixel in the middle of the output needs."""
    node = graph.node(op)
    y, x = node.out.form.rows // 2, node.out.form.width // 2
    needs = operator(op.kind).in_region(node, Region(y, y + 1, x, x + 1))
    return max((max(n.region.rows, n.region.cols) for n in needs if n is not None), default=1)


def _shrunk(need: Need, whole_input: Region) -> Region:
    """A needed rectangle less a row or column on each side that does not lie at the edge of the input."""
    r = need.region
    y0, y1 = r.y0 + (r.y0 > 0), r.y1 - (r.y1 < whole_input.y1)
    x0, x1 = r.x0 + (r.x0 > 0), r.x1 - (r.x1 < whole_input.x1)
    return replace(r, y0=y0, y1=max(y1, y0 + 1), x0=x0, x1=max(x1, x0 + 1))
