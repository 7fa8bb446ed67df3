"""`verify_graph`: the invariants of `Graph`, checked after import and after every pass.

What a model file can cause (shapes, quantisation, sizes) is a ModelError when the stage is "import"; everything else is
a bug of the pass and an InternalError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NoReturn, Protocol

from tinycompile.errors import InternalError, ModelError, QuantError, ShapeError, one_line
from tinycompile.ir.graph import Attrs, Graph, Node, Op, State, Tensor
from tinycompile.ir.quant import NARROW_BITS, is_narrow
from tinycompile.ir.types import DType

IMPORT_STAGE = "import"
MAX_TENSOR_BYTES = 1 << 30
MAX_OPS = 100_000


class OperatorRules(Protocol):
    """What the verifier asks of an operator module."""

    @property
    def attrs_class(self) -> type[Attrs]: ...

    @property
    def scale_free(self) -> bool: ...

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]: ...


class _Checker:
    def __init__(self, graph: Graph, stage: str) -> None:
        self.graph = graph
        self.stage = stage

    def bug(self, what: str, where: str) -> NoReturn:
        raise InternalError(what, f"{where}, after {self.stage}", "report this bug with the model file")

    def model(self, error: type[ModelError], what: str, where: str, fix: str) -> NoReturn:
        if self.stage == IMPORT_STAGE:
            raise error(what, where, fix)
        self.bug(what, where)

    def tensor(self, name: str, tensor: Tensor) -> None:
        where = f"tensor '{one_line(name, 120)}'"
        if tensor.name != name:
            self.bug(f"it is filed under another name than its own '{one_line(tensor.name, 120)}'", where)
        if not all(isinstance(d, int) and d > 0 for d in tensor.shape):
            self.model(ShapeError, f"shape {list(tensor.shape)}", where, "give every dimension a fixed positive size")
        if math.prod(tensor.shape) * tensor.dtype.itemsize > MAX_TENSOR_BYTES:
            self.model(ShapeError, f"shape {list(tensor.shape)} is over 1 GiB", where, "use a smaller input shape")
        if tensor.data is not None and (tensor.data.shape != tensor.shape or tensor.data.dtype != tensor.dtype.numpy):
            self.bug(
                f"data {tensor.data.dtype} {list(tensor.data.shape)} for {tensor.dtype.value} {tensor.shape}", where
            )
        self.quant(tensor, where)

    def quant(self, tensor: Tensor, where: str) -> None:
        q = tensor.quant
        if q is None:
            return
        fix = "export the model again with finite, positive scales"
        count = 1 if q.axis is None else 0
        if q.axis is not None:
            if not 0 <= q.axis < len(tensor.shape):
                self.model(
                    QuantError, f"quantisation along axis {q.axis} of {len(tensor.shape)} dimensions", where, fix
                )
            count = tensor.shape[q.axis]
        if len(q.scale) != count or len(q.zero_point) != count:
            self.model(
                QuantError,
                f"{len(q.scale)} scales and {len(q.zero_point)} zero points for {count} channels",
                where,
                fix,
            )
        if not all(math.isfinite(s) and s > 0 for s in q.scale):
            self.model(QuantError, "a scale that is not finite and positive", where, fix)
        if tensor.dtype.is_integer:
            low, high = tensor.dtype.int_range
            if not all(low <= z <= high for z in q.zero_point):
                self.model(QuantError, f"a zero point outside {tensor.dtype.value}", where, fix)
        if q.bits is not None:
            eight = tensor.dtype in (DType.INT8, DType.UINT8)
            if q.bits != NARROW_BITS or not eight or tensor.data is None or not is_narrow(tensor.data, q):
                self.bug(f"{tensor.dtype.value} values that do not fit in {q.bits} bits", where)

    def structure(self) -> None:
        """Names resolve, ops are in topological order, every tensor has one producer."""
        graph = self.graph
        if len(graph.ops) > MAX_OPS:
            self.model(ShapeError, f"{len(graph.ops)} operators", "graph", f"at most {MAX_OPS} are supported")
        known = {n for n, t in graph.tensors.items() if t.is_const}
        for name in graph.inputs:
            if name not in graph.tensors or name in known:
                self.bug(f"network input '{one_line(name, 120)}' is missing, a constant, or listed twice", "graph")
            known.add(name)
        for op in graph.ops:
            self.links(op, known)
        for name in graph.outputs:
            if name not in known:
                self.bug(f"nothing makes network output '{one_line(name, 120)}'", "graph")
        for state in graph.states:
            self.state(state)
        for name in graph.tensors:
            if name not in known:
                self.bug("nothing makes this tensor", f"tensor '{one_line(name, 120)}'")

    def state(self, state: State) -> None:
        """A state's input and output are ports that hold the same values."""
        graph, where = self.graph, f"state '{one_line(state.input, 120)}'"
        if state.input not in graph.inputs or state.output not in graph.outputs:
            self.bug("its input or output is no port of the network", where)
        a, b = graph.tensors[state.input], graph.tensors[state.output]
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            self.bug(f"{a.dtype.value} {a.shape} in, {b.dtype.value} {b.shape} out", where)
        if a.quant != b.quant:
            # Of float ports that are dropped (`quantized_io`), or of a file whose ports are quantised.
            raise QuantError(
                "its input and its output are quantised with different scales",
                where,
                "keep the float ports (--io model), or export the model with one scale for both",
            )

    def links(self, op: Op, known: set[str]) -> None:
        where = _where(op)
        for name in op.inputs:
            if name and name not in known:
                self.bug(f"input '{one_line(name, 120)}' is not made by an earlier operator", where)
        if not op.outputs:
            self.bug("it has no output", where)
        for name in op.outputs:
            if name not in self.graph.tensors or name in known:
                self.bug(f"output '{one_line(name, 120)}' is missing, made twice, or a constant", where)
            known.add(name)

    def op(self, op: Op, rules: OperatorRules) -> None:
        """Attributes, inferred shape and type, and scales where the arithmetic needs them."""
        node, where = self.graph.node(op), _where(op)
        if not isinstance(op.attrs, rules.attrs_class):
            self.bug(f"attributes {type(op.attrs).__name__} instead of {rules.attrs_class.__name__}", where)
        try:
            shape, dtype = rules.infer(node)
        except ModelError as error:
            if self.stage == IMPORT_STAGE:
                raise
            self.bug(error.what, where)
        if shape != node.out.shape or dtype != node.out.dtype:
            self.model(
                ShapeError,
                f"output {node.out.dtype.value} {list(node.out.shape)}; "
                f"its inputs and attributes give {dtype.value} {list(shape)}",
                where,
                "check this node's shapes in the exported model",
            )
        if not rules.scale_free:
            for tensor in self.scaled(node):
                if tensor.quant is None:
                    self.model(
                        QuantError,
                        f"{tensor.dtype.value} tensor '{one_line(tensor.name, 80)}' has no scale",
                        where,
                        "export the model with quantisation parameters for every int8 tensor",
                    )

    @staticmethod
    def scaled(node: Node) -> list[Tensor]:
        """int8 and uint8 tensors of a node, all of which need a scale where it computes."""
        present = (t for t in (*node.inputs, *node.outputs) if t is not None)
        return [t for t in present if t.dtype in (DType.INT8, DType.UINT8)]


def verify_graph(graph: Graph, stage: str, operators: Mapping[str, OperatorRules]) -> None:
    """Raises when `graph` breaks an invariant; `stage` ("import", or the pass that made it) is in the message.

    `operators`: the registry, kind -> operator module. Ops of kinds not in it are left to the lowering check, which
    reports all of them at once. Raises ModelError for what the file causes (stage "import" only), else InternalError.
    """
    checker = _Checker(graph, stage)
    for name, tensor in graph.tensors.items():
        checker.tensor(name, tensor)
    checker.structure()
    for op in graph.ops:
        rules = operators.get(op.kind)
        if rules is not None:
            checker.op(op, rules)


def _where(op: Op) -> str:
    return f"{op.kind} '{one_line(op.name, 120)}' from {one_line(str(op.source), 120)}"
