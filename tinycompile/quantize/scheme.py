"""Which operators compute in int8, which tensors are stored so, and which of those share a scale.

The forms are those that `passes.fuse_qdq` makes integers of. An operator that has no int8 kernel stays float, and so
does one that only moves or combines values between such: it would cost a rounding and gain nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from tinycompile.ir.graph import Graph, Node, Op, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.registry import operator
from tinycompile.passes.fuse_qdq import BINARY, COPYING, LAYERS, REQUANTISING
from tinycompile.passes.rewriter import MOVES

# Operators whose outputs have a known range, and the scale that LiteRT's kernels want for it.
FIXED = {
    "softmax": Quant((1 / 256,), (-128,)),
    "logistic": Quant((1 / 256,), (-128,)),
    "tanh": Quant((1 / 128,), (0,)),
}
# Their output holds values of their inputs. Of a concatenation, too, the output has the coarsest scale in any case.
SHARING = (*COPYING, *MOVES, "concat")
KINDS = frozenset((*LAYERS, *BINARY, *REQUANTISING, *COPYING, *MOVES, "clip"))
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


def uniform(tensor: Tensor) -> bool:
    """Whether a constant is one value throughout, which fuse_qdq stores exactly."""
    return tensor.data is not None and bool(np.all(tensor.data == tensor.data.flat[0]))


def make_scheme(graph: Graph, floats: Collection[str] = ()) -> Scheme:
    """The scheme of a prepared graph; operators whose outputs are in `floats` stay float by the caller's wish."""
    reasons: dict[str, str] = {}
    for node in graph.nodes():
        why = "kept float to gain accuracy" if node.out.name in floats else _no_integer_form(node)
        if why is not None:
            reasons[node.out.name] = why
    _drop_islands(graph, reasons)
    integer = frozenset(op.outputs[0] for op in graph.ops if op.outputs[0] not in reasons)
    return Scheme(integer, _stored(graph, integer), reasons)


def _no_integer_form(node: Node) -> str | None:
    """Why fuse_qdq would make no integer operator of the float `node`, None when it would."""
    kind = node.op.kind
    tensors = [t for t in (*node.inputs, node.out) if t is not None]
    if kind not in KINDS or any(t.dtype != DType.FLOAT32 for t in tensors):
        return f"{_function(node)} has no int8 kernel"
    if getattr(node.attrs, "beta", 1.0) != 1.0:
        return "softmax of scaled values has no int8 form in ONNX"
    if any(t.is_const for t in tensors) and kind not in (*LAYERS, *BINARY):
        return f"{kind} of a constant has no int8 kernel"
    twin = Node(node.op, tuple(_twin(node, k) for k in range(len(node.inputs))), (_int8(node.out),))
    return operator(kind).unsupported(twin)


def _function(node: Node) -> str:
    return str(getattr(node.attrs, "function", node.op.kind))


def _int8(tensor: Tensor) -> Tensor:
    data = None if tensor.data is None else np.zeros(tensor.shape, dtype=np.int8)
    return replace(tensor, dtype=DType.INT8, quant=_UNIT, data=data)


def _twin(node: Node, k: int) -> Tensor | None:
    """Input `k` as the integer operator would have it."""
    tensor = node.inputs[k]
    if tensor is None or k < 2 or node.op.kind not in LAYERS or tensor.data is None:
        return None if tensor is None else _int8(tensor)
    return replace(tensor, dtype=DType.INT32, data=np.zeros(tensor.shape, dtype=np.int32))


def _drop_islands(graph: Graph, reasons: dict[str, str]) -> None:
    """Adds the operators that are no layers and have no integer neighbour."""
    producers, consumers = graph.producers(), graph.consumers()

    def alone(op: Op) -> bool:
        makers = [producers[i] for i in op.inputs if i in producers]
        around = [o.outputs[0] for o in (*makers, *consumers[op.outputs[0]])]
        return bool(around) and all(o in reasons for o in around)

    changed = True
    while changed:
        lonely = [op for op in graph.ops if op.outputs[0] not in reasons and op.kind not in LAYERS and alone(op)]
        reasons.update({op.outputs[0]: "it stands between float operators" for op in lonely})
        changed = bool(lonely)


def clipped_later(graph: Graph, integer: Collection[str]) -> set[str]:
    """Outputs of integer operators that only an integer clip reads: it becomes their clamp, and they are not stored."""
    consumers, result = graph.consumers(), set()
    for op in graph.ops:
        out = op.outputs[0]
        readers = consumers[out]
        if out in integer and op.kind not in SHARING and out not in graph.outputs and len(readers) == 1:
            if readers[0].kind == "clip" and readers[0].outputs[0] in integer:
                result.add(out)
    return result


def _stored(graph: Graph, integer: frozenset[str]) -> dict[str, str]:
    """Tensors that int8 operators make or read -> one for each scale."""
    hidden = clipped_later(graph, integer)
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
        named = [n for n in (*op.inputs, *op.outputs) if n and not graph.tensors[n].is_const and n not in hidden]
        for name in named:
            find(name)
        if op.kind in SHARING:
            for name in op.inputs:
                parent[find(name)] = find(op.outputs[0])
    return {name: find(name) for name in parent}
