"""Which operators compute in integers, which tensors are stored as int8 or int16, and which of those share a scale.

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
from tinycompile.passes.fuse_qdq import BINARY, COPYING, LAYERS, NOT_INT16, PLACING, REQUANTISING
from tinycompile.passes.move_integers import ORDERED
from tinycompile.passes.rewriter import MOVES
from tinycompile.quantize.functions import Functions

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
KINDS = frozenset((*LAYERS, *BINARY, *REQUANTISING, *COPYING, *MOVES, *ORDERED, "clip"))
INT8_ALONE = (*NOT_INT16, *ORDERED, "put")
PLACES = DType.INT64  # of what is read or written; made in the order of values, which int8 keeps
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


def make_scheme(graph: Graph, floats: Collection[str] = (), wide: Collection[str] | None = ()) -> Scheme:
    """The scheme of a prepared graph; operators whose outputs are in `floats` stay float by the caller's wish, tensors
    in `wide` (None: all) and those that share their scales are int16."""
    candidates = [node for node in graph.nodes() if any(t.dtype == DType.FLOAT32 for t in _tensors(node))]
    none = {node.out.name: why for node in candidates if (why := _no_integer_form(node, DType.INT8)) is not None}
    reasons = {node.out.name: "kept float to gain accuracy" for node in candidates if node.out.name in floats}
    while True:
        functions = _functions(graph, none, reasons)
        _drop_islands(graph, functions, reasons)
        integer = frozenset(node.out.name for node in candidates if node.out.name not in reasons)
        stored = _stored(graph, integer, functions.inner)
        roots = frozenset(root for name, root in stored.items() if wide is None or name in wide)
        scheme = Scheme(integer, stored, roots, reasons)
        more = _without_int16_kernel(graph, scheme, functions)
        if not more:
            return scheme
        reasons |= more


def _functions(graph: Graph, none: dict[str, str], reasons: dict[str, str]) -> Functions:
    """What are functions of one value, when operators without an integer form (`none`) that are in no function stay
    float; they are added to `reasons`."""
    while True:
        functions = Functions(graph, reasons)
        more = {name: why for name, why in none.items() if name not in functions.of and name not in reasons}
        # What is float already is the better for a function in float, too: a variance in int8 has no root.
        more |= {name: none[name] for name, x in functions.of.items() if x in {**reasons, **more} and name in none}
        if not more:
            return functions
        reasons |= more


def is_wide(op: Op, scheme: Scheme) -> bool:
    """Whether an integer operator reads or makes int16, and so computes in it."""
    return any(scheme.stored.get(name) in scheme.wide for name in (*op.inputs, *op.outputs))


def _without_int16_kernel(graph: Graph, scheme: Scheme, functions: Functions) -> dict[str, str]:
    """Operators that would compute in int16 and cannot -> why."""
    reasons = {}
    for node in graph.nodes():
        if node.out.name not in scheme.integer or not is_wide(node.op, scheme):
            continue
        together = functions.together(node.op)
        why = "a table of int16 values would be too large" if len(together) > 1 else None
        why = why or _no_integer_form(node, DType.INT16)
        if why is not None:
            reasons.update(dict.fromkeys(together, why))
    return reasons


def _no_integer_form(node: Node, dtype: DType) -> str | None:
    """Why fuse_qdq would make no operator in `dtype` of the float `node`, None when it would."""
    kind, tensors = node.op.kind, _tensors(node)
    missing = kind not in KINDS or (dtype == DType.INT16 and kind in INT8_ALONE)
    if missing or any(t.dtype != DType.FLOAT32 for t in tensors if t.dtype != PLACES):
        return f"{_function(node)} has no {dtype.value} kernel"
    if getattr(node.attrs, "beta", 1.0) != 1.0:
        return "softmax of scaled values has no int8 form in ONNX"
    if isinstance(node.attrs, PutAttrs) and node.attrs.combination not in PLACING:
        return f"{kind} that combines values has no int8 kernel"
    fixed = [t for t in tensors if t.is_const and t.dtype != PLACES and not (kind == "put" and is_uniform(t))]
    if fixed and kind not in (*LAYERS, *BINARY):
        return f"{kind} of a constant has no int8 kernel"
    twin = Node(node.op, tuple(_twin(node, k, dtype) for k in range(len(node.inputs))), (_typed(node.out, dtype),))
    return operator(kind).unsupported(twin)


def _tensors(node: Node) -> list[Tensor]:
    return [t for t in (*node.inputs, node.out) if t is not None]


def _function(node: Node) -> str:
    return str(getattr(node.attrs, "function", node.op.kind))


def _typed(tensor: Tensor, dtype: DType) -> Tensor:
    if tensor.dtype != DType.FLOAT32:
        return tensor
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
    """Tensors that integer operators make or read, but for those within a table -> one for each scale."""
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
