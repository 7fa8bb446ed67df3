"""Tags for `verify_plan`: which byte of which tensor every byte of a plan is.

Tensors that share bytes (through ops without steps: views) form one set, and a byte is tagged with its set and its
position in it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import InternalError, one_line
from tinycompile.ir.plan import Plan
from tinycompile.ops.registry import operator

Tags = NDArray[np.int64]
_ROOT_SHIFT = 40  # tag = root number << 40 | byte index: tensors are bounded far below 2^40 bytes


def fail(what: str, where: str) -> NoReturn:
    raise InternalError(what, f"plan verifier: {where}", "report this bug with the model file")


def _links(plan: Plan) -> list[tuple[str, str, int]]:
    """(part, tensor, byte offset of the part in the tensor) for each view: an op that no step computes."""
    stepped = {step.op for step in plan.computed}
    links = []
    for k, op in enumerate(plan.ops):
        if k in stepped:
            continue
        node, oper, where = plan.graph.node(op), operator(op.kind), f"{op.kind} '{one_line(op.name, 80)}'"
        if oper.rectangle(node) is not None:
            continue
        source = oper.view(node)
        offsets = oper.row_view_offsets(node) if source is None else None
        if source is not None:
            links.append((node.tensor(source).name, node.out.name, 0))
        elif offsets is not None:
            links += [(node.tensor(i).name, node.out.name, offset) for i, offset in enumerate(offsets)]
        else:
            fail("no step computes this operator and it is not a view", where)
        if any(t is not None and t.is_const for t in node.inputs):
            fail("a view of a constant", where)
    return links


def _positions(plan: Plan) -> list[dict[str, int]]:
    """Sets of tensors that share bytes, each tensor with the position of its first byte in the set."""
    near: dict[str, list[tuple[str, int]]] = {name: [] for name, t in plan.graph.tensors.items() if not t.is_const}
    for part, tensor, offset in _links(plan):
        near[tensor].append((part, offset))
        near[part].append((tensor, -offset))
    result: list[dict[str, int]] = []
    seen: set[str] = set()
    for first in near:
        if first in seen:
            continue
        found, todo = {first: 0}, [first]
        while todo:
            name = todo.pop()
            for other, offset in near[name]:
                if found.setdefault(other, found[name] + offset) != found[name] + offset:
                    fail(f"views put '{one_line(other, 80)}' in two places", "tables of the plan")
                if other not in seen:
                    todo.append(other)
                    seen.add(other)
        seen.update(found)
        least = min(found.values())
        result.append({name: at - least for name, at in found.items()})
    return result


def root_tags(plan: Plan) -> dict[str, Tags]:
    """For each run-time tensor, the tag of each of its bytes; no two writers have a tag in common."""
    written = {*plan.graph.inputs, *(n for step in plan.computed for n in plan.ops[step.op].outputs)}
    result = {}
    for root, positions in enumerate(_positions(plan)):
        writers = sorted((at, at + plan.tensor(name).nbytes, name) for name, at in positions.items() if name in written)
        for (_, end, first), (start, _, second) in pairwise(writers):
            if start < end:
                names = f"'{one_line(first, 80)}' and '{one_line(second, 80)}'"
                fail(f"views make {names} the same bytes", "tables of the plan")
        for name, at in positions.items():
            result[name] = (root << _ROOT_SHIFT) + at + np.arange(plan.tensor(name).nbytes, dtype=np.int64)
    for op in plan.ops:
        node = plan.graph.node(op)
        region = operator(op.kind).rectangle(node)
        if region is not None:  # the very bytes of its input, whatever its own place says
            x = node.tensor(0)
            pixels = result[x.name].reshape(x.form.rows, x.form.width, -1)
            result[node.out.name] = pixels[region.y0 : region.y1, region.x0 : region.x1].reshape(-1)
    return result
