"""Graph: what to compute. Frozen; a pass returns a new one.

Invariants (checked by ``ir.verify.verify_graph``): tensor names are unique; every op input is a graph input, a
constant, or the output of an earlier op (ops are in topological order); every tensor has one producer; shapes are
static, positive and bounded; the dtype and shape of each op's outputs are what its operator module infers. Activations
are row-major, maps NHWC with N = 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.quant import NARROW_BITS, Quant
from tinycompile.ir.types import DType, RowForm, row_form

Array = NDArray[Any]


@dataclass(frozen=True)
class Attrs:
    """Base of the per-operator attribute dataclasses."""


@dataclass(frozen=True)
class SourceLoc:
    """Where an op came from: the file format's operator name(s) and the node's own name or index. `note`: what of it is
    not as the file says, for the report."""

    kind: str
    node: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.kind} '{self.node}'"


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named value. `data` is set for constants (then ``data.shape == shape`` and ``data.dtype == dtype.numpy``)."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    quant: Quant | None = None
    data: Array | None = None

    @property
    def elems(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values; two of 4 bits share one."""
        narrow = self.quant is not None and self.quant.bits == NARROW_BITS
        return (self.elems + 1) // 2 if narrow else self.elems * self.dtype.itemsize

    @cached_property
    def form(self) -> RowForm:
        return row_form(self.shape)

    @property
    def row_bytes(self) -> int:
        return self.form.row_elems * self.dtype.itemsize

    @property
    def is_const(self) -> bool:
        return self.data is not None


@dataclass(frozen=True)
class Op:
    """One operator. `inputs` may hold "" for an absent optional input; constants are inputs like any other."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Attrs
    source: SourceLoc


@dataclass(frozen=True, eq=False)
class Node:
    """An op with its tensors resolved: what operator modules work on."""

    op: Op
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]

    @property
    def attrs(self) -> Any:
        """The op's attributes; each operator module knows its own class."""
        return self.op.attrs

    @property
    def out(self) -> Tensor:
        return self.outputs[0]

    def tensor(self, index: int) -> Tensor:
        """Input `index`, which must be present."""
        t = self.inputs[index]
        if t is None:
            raise ValueError(f"{self.op.kind}: input {index} is absent")
        return t

    def const(self, index: int) -> Array:
        """Data of the constant input `index`."""
        data = self.tensor(index).data
        if data is None:
            raise ValueError(f"{self.op.kind}: input {index} is not constant")
        return data

    @property
    def activations(self) -> tuple[int, ...]:
        """Indices of the inputs that are computed at run time."""
        return tuple(i for i, t in enumerate(self.inputs) if t is not None and not t.is_const)


@dataclass(frozen=True, eq=False)
class State:
    """What a network keeps between inferences: its `input` is what its `output` was in the one before, `initial` in the
    first (of the source file's type; None: zeros)."""

    input: str
    output: str
    initial: Array | None = None


@dataclass(frozen=True, eq=False)
class Graph:
    """`inputs` and `outputs` are tensor names, in the order of the source file; those of `states` are among them."""

    name: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source_format: str = field(default="")
    states: tuple[State, ...] = ()

    def node(self, op: Op) -> Node:
        return Node(
            op,
            tuple(self.tensors[i] if i else None for i in op.inputs),
            tuple(self.tensors[o] for o in op.outputs),
        )

    def nodes(self) -> list[Node]:
        return [self.node(op) for op in self.ops]

    def producers(self) -> dict[str, Op]:
        """Tensor name -> the op that makes it."""
        return {o: op for op in self.ops for o in op.outputs}

    def consumers(self) -> dict[str, list[Op]]:
        """Tensor name -> the ops that read it (an op that reads it twice is listed once)."""
        result: dict[str, list[Op]] = {name: [] for name in self.tensors}
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                if name:
                    result[name].append(op)
        return result

    def rebuild(
        self,
        ops: Sequence[Op],
        new_tensors: Iterable[Tensor] = (),
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> Graph:
        """A graph of `ops` with `new_tensors` added or replaced, and tensors that nothing uses any more dropped."""
        tensors = {**self.tensors, **{t.name: t for t in new_tensors}}
        ins = tuple(self.inputs if inputs is None else inputs)
        outs = tuple(self.outputs if outputs is None else outputs)
        used = {*ins, *outs} | {n for op in ops for n in (*op.inputs, *op.outputs) if n}
        return replace(
            self, ops=tuple(ops), tensors={n: t for n, t in tensors.items() if n in used}, inputs=ins, outputs=outs
        )


def const_tensor(name: str, data: Array, quant: Quant | None = None) -> Tensor:
    """A constant tensor of `data`'s own shape and type."""
    data = np.ascontiguousarray(data).reshape(np.shape(data))  # a scalar stays one
    return Tensor(name, data.shape, DType(data.dtype.name), quant, data)
