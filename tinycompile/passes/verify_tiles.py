"""`verify_tiles`: the proof that a network in tiles computes what the network does.

Every new tensor claims to be a rectangle of a tensor of the graph before. A crop must cut just that rectangle, a concat
must put rectangles side by side without gaps, and any other operator must be the one that makes the original tensor,
with its constants, reading just the rectangles that `Operator.in_region` asks for and padding as it says. What an
operator computes is a function of these alone. Nothing here knows how tiles were chosen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from tinycompile.errors import InternalError, one_line
from tinycompile.ir.graph import Graph, Node, Op
from tinycompile.ir.types import Region
from tinycompile.ops.base import whole
from tinycompile.ops.concat import Concat
from tinycompile.ops.registry import operator
from tinycompile.passes.tile_stage import TiledGraph

Place = tuple[str, Region]


def verify_tiles(before: Graph, tiled: TiledGraph) -> None:
    """Raises InternalError, naming the operator, unless `tiled` computes the outputs of `before`."""
    producers = before.producers()
    after = tiled.graph
    if after.inputs != before.inputs or after.outputs != before.outputs:
        raise InternalError("inputs or outputs changed", "tiles", "report this bug")

    def place(name: str) -> Place:
        if name in tiled.regions:
            return tiled.regions[name]
        return name, whole(before.tensors[name])

    for op in after.ops:
        if op.outputs[0] not in tiled.regions:
            if producers.get(op.outputs[0]) != op:
                _fail(op, "it is neither new nor as it was")
            continue
        _check(before, after.node(op), [place(i) if i else ("", _NOTHING) for i in op.inputs], place(op.outputs[0]))
    for name in before.outputs:
        if place(name) != (name, whole(before.tensors[name])):
            raise InternalError(f"output '{one_line(name, 80)}' is not whole", "tiles", "report this bug")


_NOTHING = Region(0, 0, 0, 0)


def _check(before: Graph, node: Node, inputs: list[Place], out: Place) -> None:
    oper, op = operator(node.op.kind), node.op
    of, region = out
    source = before.tensors[of]
    if (node.out.dtype, node.out.quant, node.out.form.channels) != (source.dtype, source.quant, source.form.channels):
        _fail(op, "its output is of another kind than the tensor that it is part of")
    if (node.out.form.rows, node.out.form.width) != (region.rows, region.cols):
        _fail(op, "its output is not as large as the rectangle that it stands for")
    cut = oper.rectangle(node)
    if cut is not None:
        held_of, held = inputs[0]
        if held_of != of or _shifted(cut, held) != region:
            _fail(op, "it cuts another rectangle")
        return
    if isinstance(oper, Concat) and all(name == of for name, _ in inputs):
        needs = oper.in_region(node, whole(node.out))
        x, y = region.x0, region.y0
        for need, (_, part) in zip(needs, inputs, strict=True):
            if need is None or (part.y0, part.x0) != (y, x):
                _fail(op, "its parts do not lie side by side")
            x, y = (part.x1, y) if part.rows == region.rows else (x, part.y1)
        if (x, y) not in ((region.x1, region.y0), (region.x0, region.y1)):
            _fail(op, "its parts do not fill the rectangle")
        return
    _check_same(before, node, inputs, of, region)


def _check_same(before: Graph, node: Node, inputs: list[Place], of: str, region: Region) -> None:
    oper, op = operator(node.op.kind), node.op
    original = before.producers().get(of)
    if original is None or original.kind != op.kind or len(original.inputs) != len(op.inputs):
        _fail(op, "another operator makes the tensor that it makes part of")
    was = before.node(original)
    wanted, own = oper.in_region(was, region), oper.in_region(node, whole(node.out))
    for k, (need, mine) in enumerate(zip(wanted, own, strict=True)):
        given = node.inputs[k]
        if given is None or given.is_const or need is None:
            if original.inputs[k] != op.inputs[k] or mine is not None:
                _fail(op, f"input {k} is another one")
            continue
        if inputs[k] != (original.inputs[k], need.region):
            _fail(op, f"input {k} is another rectangle than it needs")
        if mine is None or mine.region != whole(given):
            _fail(op, f"it does not read all of input {k}")
        if (mine.top, mine.bottom, mine.left, mine.right) != (need.top, need.bottom, need.left, need.right):
            _fail(op, f"input {k} is padded otherwise")
    # All but the padding, which is compared above, and what moves with it must be as it was.
    uncut = oper.tile(was, wanted)
    if op.attrs != (uncut if region != whole(was.out) else original.attrs) or not _same_kind(original, op):
        _fail(op, "its attributes are others")


def _same_kind(original: Op, op: Op) -> bool:
    return replace(original, name=op.name, inputs=op.inputs, outputs=op.outputs, attrs=op.attrs) == op


def _shifted(cut: Region, held: Region) -> Region:
    return Region(cut.y0 + held.y0, cut.y1 + held.y0, cut.x0 + held.x0, cut.x1 + held.x0)


def _fail(op: Op, what: str) -> NoReturn:
    where = f"tiles: {op.kind} '{one_line(op.name, 80)}'"
    raise InternalError(what, where, "report this bug with the model file")
