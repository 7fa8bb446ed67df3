"""Storage groups: run-time tensors that are the same bytes because one is a view of the other.

A reshape's output is its input's bytes; a concat's inputs may be written straight into its output. Everything after this
module (order, lifetimes, packing) works on groups, and sees views no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Graph, Node
from tinycompile.ops.base import Operator
from tinycompile.ops.concat import Concat
from tinycompile.ops.registry import operator


@dataclass(frozen=True)
class Group:
    """`members`: tensor name -> byte offset inside the group. `align_bytes` is the strictest of its members'."""

    size_bytes: int
    align_bytes: int
    members: Mapping[str, int]


@dataclass(frozen=True)
class Work:
    """One op that does something at run time, in terms of groups (indices into `Storage.groups`).

    `in_place`: groups that the output may be written over while the op reads them, when they die at this op.
    """

    node: Node
    operator: Operator
    reads: tuple[int, ...]
    writes: int
    in_place: tuple[int, ...]
    scratch_bytes: int


@dataclass(frozen=True)
class Storage:
    """`works` in the graph's own order; `views` are the ops that need no step."""

    groups: tuple[Group, ...]
    works: tuple[Work, ...]
    views: tuple[Node, ...]
    inputs: frozenset[int]
    outputs: frozenset[int]
    group_of: Mapping[str, int]


class _Places:
    """Union of tensors by (root tensor, byte offset)."""

    def __init__(self) -> None:
        self.place: dict[str, tuple[str, int]] = {}

    def find(self, name: str) -> tuple[str, int]:
        root, offset = self.place.get(name, (name, 0))
        if root == name:
            return name, offset
        above, more = self.find(root)
        self.place[name] = above, offset + more
        return self.place[name]

    def put(self, name: str, root: str, offset: int) -> None:
        """`name` lies at `offset` inside `root`."""
        own, own_offset = self.find(name)
        self.place[own] = root, offset - own_offset


def _concat_inside(graph: Graph, node: Node, places: _Places, taken: set[str]) -> bool:
    """Let the inputs of a concat live inside its output when each is a run of it, made by an op, and in no other concat."""
    oper = operator(node.op.kind)
    offsets = oper.row_view_offsets(node) if isinstance(oper, Concat) else None
    if offsets is None:
        return False
    roots = [places.find(name) for name in node.op.inputs]
    fixed = set(graph.inputs) | taken
    members = {n for n in graph.tensors if places.find(n)[0] in {r for r, _ in roots}}
    if len({r for r, _ in roots}) != len(roots) or members & fixed:
        return False
    if any(graph.tensors[r].nbytes != t.nbytes for (r, _), t in zip(roots, node.inputs, strict=True) if t is not None):
        return False
    for name, offset in zip(node.op.inputs, offsets, strict=True):
        places.put(name, node.out.name, offset)
        taken.add(name)
    return True


def find_storage(graph: Graph, concat_views: bool = True) -> Storage:
    """Groups and works of a lowered graph. Raises UnsupportedError for outputs that are constants."""
    for name in graph.outputs:
        if graph.tensors[name].is_const:
            raise UnsupportedError(
                f"output '{name}' is a constant", graph.name, "remove the output from the model; it needs no computation"
            )
    places, taken = _Places(), set[str]()
    views: list[Node] = []
    nodes: list[Node] = []
    for node in graph.nodes():
        source = operator(node.op.kind).view(node)
        if source is not None:
            places.put(node.out.name, node.op.inputs[source], 0)
            views.append(node)
        elif concat_views and node.op.kind == Concat.kind and _concat_inside(graph, node, places, taken):
            views.append(node)
        else:
            nodes.append(node)
    runtime = [n for n in dict.fromkeys((*graph.inputs, *graph.tensors)) if not graph.tensors[n].is_const]
    members: dict[str, dict[str, int]] = {}
    for name in runtime:
        root, offset = places.find(name)
        members.setdefault(root, {})[name] = offset
    group_of = {name: k for k, names in enumerate(members.values()) for name in names}
    groups = tuple(
        Group(
            max(offset + graph.tensors[n].nbytes for n, offset in names.items()),
            max(graph.tensors[n].dtype.itemsize for n in names),
            names,
        )
        for names in members.values()
    )

    def whole(name: str) -> bool:
        """Whether a tensor is all of its group."""
        return groups[group_of[name]].size_bytes == graph.tensors[name].nbytes

    works = []
    for node in nodes:
        oper = operator(node.op.kind)
        reads = tuple(dict.fromkeys(group_of[node.tensor(i).name] for i in node.activations))
        candidates = [node.tensor(i).name for i in oper.in_place(node)]
        in_place = tuple(
            dict.fromkeys(group_of[n] for n in candidates if n in group_of and whole(n) and whole(node.out.name))
        )
        works.append(Work(node, oper, reads, group_of[node.out.name], in_place, oper.scratch_bytes(node)))
    return Storage(
        groups,
        tuple(works),
        tuple(views),
        frozenset(group_of[n] for n in graph.inputs),
        frozenset(group_of[n] for n in graph.outputs),
        group_of,
    )
