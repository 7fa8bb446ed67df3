"""Which operators compute in int8, which tensors are stored so, and which of those share a scale.

The forms are those that `passes.fuse_qdq` makes integers of. An operator that has no int8 kernel stays float, and so
does one that only moves or combines values between such: it would cost a rounding and gain nothing. Operators that are
a function of one value together store what the last of them makes (`quantize.functions`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from tinycompile.ir.graph import Graph, Node, Op, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.put import PutAttrs
from tinycompile.ops.registry import operator
from tinycompile.passes.function_tables import is_uniform
from tinycompile.passes.fuse_qdq import BINARY, COPYING, LAYERS, PLACING, REQUANTISING
from tinycompile.passes.move_integers import ORDERED
from tinycompile.passes.rewriter import MOVES
from tinycompile.quantize.functions import Functions

# Operators whose outputs have a known range, and the scale that LiteRT's kernels want for it.
FIXED = {
    "softmax": Quant((1 / 256,), (-128,)),
    "logistic": Quant((1 / 256,), (-128,)),
    "tanh": Quant((1 / 128,), (0,)),
}
# Their output holds values of their inputs. Of a concatenation, too, the output has the coarsest scale in any case.
SHARING = (*COPYING, *MOVES, "concat")
KINDS = frozenset((*LAYERS, *BINARY, *REQUANTISING, *COPYING, *MOVES, *ORDERED, "clip"))
PLACES = DType.INT64  # of what is read or written; made in the order of values, which int8 keeps
_UNIT = Quant((1.0,), (0,))


@dataclass(frozen=True)
class Scheme:
    """`integer`: operators, by output. `stored`: int8 tensors -> the one that stands for all of the same scale.
    `kept_float`: operators that stay float -> why."""

    integer: frozenset[str]
    stored: dict[str, str]
    kept_float: dict[str, str]

    def groups(self) -> dict[str, list[str]]:
        """The tensors of each scale, by the one that stands for them."""
        result: dict[str, list[str]] = {}
        for name, root in self.stored.items():
            result.setdefault(root, []).append(name)
        return result


def make_scheme(graph: Graph, floats: Collection[str] = ()) -> Scheme:
    """The scheme of a prepared graph; operators whose outputs are in `floats` stay float by the caller's wish."""
    candidates = [node for node in graph.nodes() if any(t.dtype == DType.FLOAT32 for t in _tensors(node))]
    none = {node.out.name: why for node in candidates if (why := _no_integer_form(node)) is not None}
    reasons = {node.out.name: "kept float to gain accuracy" for node in candidates if node.out.name in floats}
    while True:
        functions = Functions(graph, reasons)
        more = {name: why for name, why in none.items() if name not in functions.of and name not in reasons}
        # What is float already is the better for a function in float, too: a variance in int8 has no root.
        more |= {name: none[name] for name, x in functions.of.items() if x in {**reasons, **more} and name in none}
        if not more:
            break
        reasons |= more
    _drop_islands(graph, functions, reasons)
    integer = frozenset(node.out.name for node in candidates if node.out.name not in reasons)
    return Scheme(integer, _stored(graph, integer, functions.inner), reasons)


def _no_integer_form(node: Node) -> str | None:
    """Why fuse_qdq would make no integer operator of the float `node`, None when it would."""
    kind, tensors = node.op.kind, _tensors(node)
    if kind not in KINDS or any(t.dtype != DType.FLOAT32 for t in tensors if t.dtype != PLACES):
        return f"{_function(node)} has no int8 kernel"
    if getattr(node.attrs, "beta", 1.0) != 1.0:
        return "softmax of scaled values has no int8 form in ONNX"
    if isinstance(node.attrs, PutAttrs) and node.attrs.combination not in PLACING:
        return f"{kind} that combines values has no int8 kernel"
    fixed = [t for t in tensors if t.is_const and t.dtype != PLACES and not (kind == "put" and is_uniform(t))]
    if fixed and kind not in (*LAYERS, *BINARY):
        return f"{kind} of a constant has no int8 kernel"
    twin = Node(node.op, tuple(_twin(node, k) for k in range(len(node.inputs))), (_int8(node.out),))
    return operator(kind).unsupported(twin)


def _tensors(node: Node) -> list[Tensor]:
    return [t for t in (*node.inputs, node.out) if t is not None]


def _function(node: Node) -> str:
    return str(getattr(node.attrs, "function", node.op.kind))


def _int8(tensor: Tensor) -> Tensor:
    if tensor.dtype != DType.FLOAT32:
        return tensor
    data = None if tensor.data is None else np.zeros(tensor.shape, dtype=np.int8)
    return replace(tensor, dtype=DType.INT8, quant=_UNIT, data=data)


def _twin(node: Node, k: int) -> Tensor | None:
    """Input `k` as the integer operator would have it."""
    tensor = node.inputs[k]
    if tensor is None or k < 2 or node.op.kind not in LAYERS or tensor.data is None:
        return None if tensor is None else _int8(tensor)
    return replace(tensor, dtype=DType.INT32, data=np.zeros(tensor.shape, dtype=np.int32))


def _drop_islands(graph: Graph, functions: Functions, reasons: dict[str, str]) -> None:
    """Adds the operators that are no layers and have no integer neighbour."""
    producers, consumers = graph.producers(), graph.consumers()

    def alone(op: Op) -> bool:
        own = functions.together(op)
        around = set()
        for name in own:
            floats = [i for i in producers[name].inputs if i in producers and graph.tensors[i].dtype == DType.FLOAT32]
            around |= {*floats, *(reader.outputs[0] for reader in consumers[name])}
        around -= own
        return bool(around) and all(o in reasons for o in around)

    changed = True
    while changed:
        lonely = [op for op in graph.ops if op.outputs[0] not in reasons and op.kind not in LAYERS and alone(op)]
        reasons.update({op.outputs[0]: "it stands between float operators" for op in lonely})
        changed = bool(lonely)


def _clipped_later(graph: Graph, integer: Collection[str], inner: Collection[str]) -> set[str]:
    """Outputs of integer operators that only an integer clip reads: it becomes their clamp, and they are not stored,
    unless the clip is itself a part of a table."""
    consumers, result = graph.consumers(), set()
    for op in graph.ops:
        out = op.outputs[0]
        readers = consumers[out]
        if out in integer and op.kind not in SHARING and out not in graph.outputs and len(readers) == 1:
            if readers[0].kind == "clip" and readers[0].outputs[0] in integer and readers[0].outputs[0] not in inner:
                result.add(out)
    return result


def _stored(graph: Graph, integer: Collection[str], inner: Collection[str]) -> dict[str, str]:
    """Tensors that int8 operators make or read, but for those within a table -> one for each scale."""
    hidden = {*_clipped_later(graph, integer, inner), *inner}
    floats = {n for n, t in graph.tensors.items() if t.dtype == DType.FLOAT32 and not t.is_const} - hidden
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for op in graph.ops:
        if op.outputs[0] not in integer:
            continue
        named = [n for n in (*op.inputs, *op.outputs) if n in floats]
        for name in named:
            find(name)
        if op.kind in SHARING:
            for name in named:
                parent[find(name)] = find(op.outputs[0])
    return {name: find(name) for name in parent}
