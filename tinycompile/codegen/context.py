"""What the C templates are given: plain data, every name and number already C."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinycompile.ir.interface import Port


@dataclass(frozen=True)
class WeightArray:
    """One flash array; equal contents and types share it. `saved_bytes`: what it would take more with a byte for each
    value."""

    name: str
    c_type: str
    elems: int
    nbytes: int
    body: str
    comment: str
    saved_bytes: int


@dataclass(frozen=True)
class Instance:
    """A kernel with its compile-time constants: ``static void name(params) { kernel(args); }``. `stack_bytes`: of a
    local array ``stack`` among the arguments."""

    name: str
    kernel: str
    params: tuple[str, ...]
    args: tuple[str, ...]
    stack_bytes: int


@dataclass(frozen=True)
class RowPointer:
    """How the rows of one input of a call, or of its output, are addressed inside a step. `c_type`: of a pointer."""

    name: str
    c_type: str
    count: int
    row: str
    """C expression of the row (of `y` and `j`)."""
    address: str
    """C expression of the pointer, of the row variable ``r``."""
    limit: int | None
    """Rows of the tensor when the row may lie outside it, else None."""

    @property
    def uses_row(self) -> bool:
        """Whether ``r`` is asked for: not where every row is inside and all lie in one place."""
        return self.limit is not None or re.search(r"\br\b", self.address) is not None


@dataclass(frozen=True)
class CallText:
    instance: str
    windows: tuple[RowPointer, ...]
    args: tuple[str, ...]


@dataclass(frozen=True)
class StepText:
    """One static function of the generated model. It makes `rows`, each the first one of a call, or any of them where
    `ranged`.

    `external`: the numbers of the network inputs that it reads from the caller's memory.
    """

    index: int
    comment: tuple[str, ...]
    rows: range
    calls: tuple[CallText, ...]
    ranged: bool
    external: tuple[int, ...]


@dataclass(frozen=True)
class PortText:
    """A network input or output in the header."""

    port: Port
    macro: str
    c_type: str
    offset: int | None
    """Arena offset; None where the port has no place in the arena."""
    comment: str


@dataclass(frozen=True)
class GivenText:
    """A network input or output as ``run`` takes it: the C `expression` of the caller's memory, or of a state's.
    `place`: its address in the arena; None where it has none."""

    expression: str
    place: str | None
    nbytes: int
    is_state: bool


@dataclass(frozen=True)
class StateText:
    """A member of the state. `initial`: the flash array that it begins with; None: zeros."""

    port: PortText
    initial: str | None


@dataclass(frozen=True)
class PopText:
    """How rows of an output are given to the caller: the case of the row program, and where row ``y`` lies. `ports`:
    names of the outputs that the tensor is."""

    index: int
    ports: tuple[str, ...]
    address: str


@dataclass(frozen=True)
class ProgramText:
    """The row program: its table, and where the rows of a streamed input go."""

    name: str
    c_type: str
    entries: int
    counter_type: str
    index_type: str
    functions: int
    push: int | None
    push_address: str
    push_bytes: int
    push_elems: int
    push_rows: int
    push_type: str
    pops: tuple[PopText, ...]
