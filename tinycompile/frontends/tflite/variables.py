"""Variables: what a model reads, assigns and keeps for the next inference becomes an input and an output.

Of resource variables, ``VAR_HANDLE`` names one, ``READ_VARIABLE`` and ``ASSIGN_VARIABLE`` use it, ``CALL_ONCE`` runs a
subgraph that assigns the values that they begin with. The first value read is a new input of the graph, the last value
assigned a new output; a value read behind an assignment is the one assigned.

Variable tensors are inputs of operators that change them (`UPDATED`), which get an output for each. They begin with
zeros.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from tinycompile.errors import MalformedModelError, UnsupportedError
from tinycompile.frontends.tflite.reader import CORRUPT, SourceModel, SourceOp
from tinycompile.ir.graph import Array

KINDS = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")
Variable = tuple[str, str]  # container and shared name
UPDATED = {"SVDF": (4,), "UNIDIRECTIONAL_SEQUENCE_LSTM": (18, 19), "UNIDIRECTIONAL_SEQUENCE_RNN": (4,)}
"""Operators that change variable tensors: positions of these among the inputs, in the order of the outputs made of
them, which come behind the others."""


@dataclass(frozen=True, eq=False)
class SourceState:
    """Tensor numbers of what a variable is before an inference and behind it, and its value before the first (None:
    zeros, of integers the zero point)."""

    input: int
    output: int
    initial: Array | None = None


def without_variables(model: SourceModel, path: Path) -> tuple[SourceModel, tuple[SourceState, ...]]:
    """The model with its variables as inputs and outputs, the last of each. Raises UnsupportedError for a variable that
    is read before anything is assigned to it, MalformedModelError for operators that make no sense."""
    if not any(op.builtin in KINDS or op.builtin in UPDATED for op in model.ops):
        return model, ()
    return _Resolver(model, path).result()


class _Resolver:
    def __init__(self, model: SourceModel, path: Path) -> None:
        self.model, self.path = model, path
        self.begins: dict[Variable, Array] = {}
        self.first: dict[Variable, int] = {}  # the tensor that a variable is read into before it is assigned
        self.now: dict[Variable, int] = {}
        self.same: dict[int, int] = {}  # tensors that are others, read again
        self.tensors = list(model.tensors)
        self.uses = Counter(i for part in (model.inputs, model.outputs, *(o.inputs for o in model.ops)) for i in part)
        self.states: list[SourceState] = []
        self.ops: list[SourceOp] = []

    def malformed(self, op: SourceOp) -> MalformedModelError:
        return MalformedModelError(
            f"operator {op.index} ({op.builtin}) does not fit the variables of the model",
            str(self.path),
            "export the model again; the file is damaged",
        )

    def result(self) -> tuple[SourceModel, tuple[SourceState, ...]]:
        handles: dict[int, Variable] = {}
        for op in self.model.ops:
            if op.builtin == "CALL_ONCE":
                self.initialise(op)
            elif op.builtin == "VAR_HANDLE":
                handles[self.one(op, op.outputs)] = self.named(op)
            elif op.builtin == "READ_VARIABLE":
                self.read(op, self.variable(op, handles), self.one(op, op.outputs))
            elif op.builtin == "ASSIGN_VARIABLE":
                if len(op.inputs) != 2 or op.inputs[1] < 0:
                    raise self.malformed(op)
                self.now[self.variable(op, handles)] = self.same.get(op.inputs[1], op.inputs[1])
            else:
                inputs = tuple(self.same.get(i, i) for i in op.inputs)
                self.ops.append(replace(op, inputs=inputs, outputs=(*op.outputs, *self.updated(op))))
        return self.rewritten()

    def updated(self, op: SourceOp) -> list[int]:
        """The new tensors for the variable ones that an operator changes, which nothing else may use."""
        made = []
        for position in UPDATED.get(op.builtin, ()):
            tensor = op.inputs[position] if position < len(op.inputs) else -1
            if tensor < 0 or not self.tensors[tensor].is_variable:
                continue
            if self.uses[tensor] > 1:
                raise UnsupportedError(
                    f"operator {op.index} ({op.builtin}) changes a variable tensor that something else uses",
                    str(self.path),
                    "give each operator a state of its own, and no output of the network is one",
                )
            kept = replace(self.tensors[tensor], is_variable=False)
            self.tensors[tensor] = kept
            self.states.append(SourceState(tensor, len(self.tensors)))
            made.append(len(self.tensors))
            self.tensors.append(replace(kept, name=f"{kept.name}/next"))
        return made

    def rewritten(self) -> tuple[SourceModel, tuple[SourceState, ...]]:
        tensors, states = self.tensors, self.states
        for variable, tensor in self.first.items():
            value = self.begins[variable]
            if value.shape != tensors[tensor].shape or tensors[tensor].dtype is None:
                raise MalformedModelError(
                    f"variable '{variable[1]}' begins with a value of shape {list(value.shape)}, and is read as "
                    f"{list(tensors[tensor].shape)}",
                    str(self.path),
                    "export the model again",
                )
            if self.now[variable] == tensor:  # nothing ever changes it
                tensors[tensor] = replace(tensors[tensor], data=value)
            else:
                states.append(SourceState(tensor, self.now[variable], value))
        inputs = (*self.model.inputs, *(s.input for s in states))
        outputs = (*(self.same.get(i, i) for i in self.model.outputs), *(s.output for s in states))
        rewritten = replace(self.model, tensors=tuple(tensors), ops=tuple(self.ops), inputs=inputs, outputs=outputs)
        return rewritten, tuple(states)

    def read(self, op: SourceOp, variable: Variable, out: int) -> None:
        if variable in self.now:
            self.same[out] = self.now[variable]
            return
        if variable not in self.begins:
            raise UnsupportedError(
                f"operator {op.index} (READ_VARIABLE) reads variable '{variable[1]}' before anything is assigned to it",
                str(self.path),
                "give the variable an initial value in the model",
            )
        self.first[variable] = self.now[variable] = out

    def initialise(self, op: SourceOp) -> None:
        """Takes the values that the subgraph of a ``CALL_ONCE`` assigns: constants only."""
        try:
            index = int(op.options("CallOnceOptions").InitSubgraphIndex())
        except CORRUPT:
            raise self.malformed(op) from None
        graph = self.model.subgraphs.get(index)
        if graph is None:
            raise self.malformed(op)
        handles: dict[int, Variable] = {}
        for inner in graph.ops:
            if inner.builtin == "VAR_HANDLE":
                handles[self.one(inner, inner.outputs)] = self.named(inner)
                continue
            value = graph.tensors[inner.inputs[1]].data if len(inner.inputs) == 2 and inner.inputs[1] >= 0 else None
            if inner.builtin != "ASSIGN_VARIABLE" or value is None:
                raise UnsupportedError(
                    f"variables that begin with values made by {inner.builtin}", str(self.path), "make them constants"
                )
            self.begins[self.variable(inner, handles)] = value

    def variable(self, op: SourceOp, handles: dict[int, Variable]) -> Variable:
        variable = handles.get(op.inputs[0]) if op.inputs else None
        if variable is None:
            raise self.malformed(op)
        return variable

    def one(self, op: SourceOp, tensors: tuple[int, ...]) -> int:
        if len(tensors) != 1:
            raise self.malformed(op)
        return tensors[0]

    def named(self, op: SourceOp) -> Variable:
        try:
            found = op.options("VarHandleOptions")
            names = found.Container() or b"", found.SharedName() or b""
        except CORRUPT:
            raise self.malformed(op) from None
        container, name = (n[:200].decode("utf-8", "backslashreplace") for n in names)
        return container, name
