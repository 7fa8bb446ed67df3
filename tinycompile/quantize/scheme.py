"""Which operators compute in integers, which tensors are stored as int8 or int16, and which of those share a scale.

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
from tinycompile.passes.fuse_qdq import BINARY, COPYING, LAYERS, NOT_INT16, REQUANTISING
from tinycompile.passes.rewriter import MOVES

# Operators whose outputs have a known range, and the scale that LiteRT's kernels want for it.
_Q15 = Quant((2.0**-15,), (0,))
FIXED = {
    DType.INT8: {
        "softmax": Quant((1 / 256,), (-128,)),
        "logistic": Quant((1 / 256,), (-128,)),
        "tanh": Quant((1 / 128,), (0,)),
    },
    DType.INT16: dict.fromkeys(("logistic", "tanh"), _Q15),
}
# Their output holds values of their inputs. Of a concatenation, too, the output has the coarsest scale in any case.
SHARING = (*COPYING, *MOVES, "concat")
KINDS = frozenset((*LAYERS, *BINARY, *REQUANTISING, *COPYING, *MOVES, "clip"))
_UNIT = Quant((1.0,), (0,))


@dataclass(frozen=True)
class Scheme:
    """`integer`: operators, by output. `stored`: integer tensors -> the one that stands for all of the same scale.
    `wide`: those of int16 among the latter, the others are int8. `kept_float`: operators that stay float -> why."""

    integer: frozenset[str]
    stored: dict[str, str]
    wide: frozenset[str]
    kept_float: dict[str, str]

    def dtype(self, name: str) -> DType:
        """The type that a tensor is stored in."""
        return DType.INT16 if self.stored[name] in self.wide else DType.INT8

    def groups(self) -> dict[str, list[str]]:
        """The tensors of each scale, by the one that stands for them."""
        result: dict[str, list[str]] = {}
        for name, root in self.stored.items():
            result.setdefault(root, []).append(name)
        return result


def uniform(tensor: Tensor) -> bool:
    """Whether a constant is one value throughout, which fuse_qdq stores exactly."""
    return tensor.data is not None and bool(np.all(tensor.data == tensor.data.flat[0]))


def make_scheme(graph: Graph, floats: Collection[str] = (), wide: Collection[str] | None = ()) -> Scheme:
    """The scheme of a prepared graph; operators whose outputs are in `floats` stay float by the caller's wish, tensors
    in `wide` (None: all) and those that share their scales are int16."""
    reasons = {name: "kept float to gain accuracy" for op in graph.ops if (name := op.outputs[0]) in floats}
    for node in graph.nodes():
        why = _no_integer_form(node, DType.INT8)
        if why is not None:
            reasons.setdefault(node.out.name, why)
    while True:
        _drop_islands(graph, reasons)
        integer = frozenset(op.outputs[0] for op in graph.ops if op.outputs[0] not in reasons)
        stored = _stored(graph, integer)
        roots = frozenset(root for name, root in stored.items() if wide is None or name in wide)
        scheme = Scheme(integer, stored, roots, reasons)
        more = _without_int16_kernel(graph, scheme)
        if not more:
            return scheme
        reasons.update(more)


def is_wide(op: Op, scheme: Scheme) -> bool:
    """Whether an integer operator reads or makes int16, and so computes in it."""
    return any(scheme.stored.get(name) in scheme.wide for name in (*op.inputs, *op.outputs))


def _without_int16_kernel(graph: Graph, scheme: Scheme) -> dict[str, str]:
    """Operators that would compute in int16 and cannot -> why."""
    reasons = {}
    for node in graph.nodes():
        if node.out.name in scheme.integer and is_wide(node.op, scheme):
            why = _no_integer_form(node, DType.INT16)
            if why is not None:
                reasons[node.out.name] = why
    return reasons


def _no_integer_form(node: Node, dtype: DType) -> str | None:
    """Why fuse_qdq would make no operator in `dtype` of the float `node`, None when it would."""
    kind = node.op.kind
    tensors = [t for t in (*node.inputs, node.out) if t is not None]
    missing = kind not in KINDS or (dtype == DType.INT16 and kind in NOT_INT16)
    if missing or any(t.dtype != DType.FLOAT32 for t in tensors):
        return f"{_function(node)} has no {dtype.value} kernel"
    if getattr(node.attrs, "beta", 1.0) != 1.0:
        return "softmax of scaled values has no int8 form in ONNX"
    if any(t.is_const for t in tensors) and kind not in (*LAYERS, *BINARY):
        return f"{kind} of a constant has no int8 kernel"
    inputs = tuple(_twin(node, k, dtype) for k in range(len(node.inputs)))
    return operator(kind).unsupported(Node(node.op, inputs, (_typed(node.out, dtype),)))


def _function(node: Node) -> str:
    return str(getattr(node.attrs, "function", node.op.kind))


def _typed(tensor: Tensor, dtype: DType) -> Tensor:
    data = None if tensor.data is None else np.zeros(tensor.shape, dtype=dtype.numpy)
    return replace(tensor, dtype=dtype, quant=_UNIT, data=data)


def _twin(node: Node, k: int, dtype: DType) -> Tensor | None:
    """Input `k` as the integer operator would have it."""
    tensor = node.inputs[k]
    if tensor is None:
        return None
    if node.op.kind not in LAYERS or tensor.data is None:
        return _typed(tensor, dtype)
    return _typed(tensor, DType.INT8 if k == 1 else DType.INT32)


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
    """Tensors that integer operators make or read -> one for each scale."""
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
