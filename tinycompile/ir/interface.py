"""The face of a generated model: what a caller, a test harness or an emulator has to know to run it.

It is written to ``report.json`` (key ``interface``) so that a build folder can be emulated without its model file.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinycompile.ir.types import DType, row_form


class InputMode(enum.Enum):
    """Where the network input lives: in the arena and counted; pushed row by row; or in the caller's memory."""

    RESIDENT = "resident"
    STREAMED = "streamed"
    EXTERNAL = "external"


class OutputMode(enum.Enum):
    """Where network outputs go: whole in the arena and counted; or to the caller, every row as soon as it is made."""

    RESIDENT = "resident"
    STREAMED = "streamed"


@dataclass(frozen=True)
class Port:
    """One network input or output.

    `c_name` is the C parameter (``input``, or ``input_0``...); its accessor is ``<prefix>_<c_name>(arena)`` and its
    length macro ``<PREFIX>_<C_NAME>_LEN`` (elements). `scale`/`zero_point` are set for quantised ports.
    """

    name: str
    c_name: str
    shape: tuple[int, ...]
    dtype: DType
    scale: float | None = None
    zero_point: int | None = None

    @property
    def elems(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.elems * self.dtype.itemsize

    @property
    def rows(self) -> int:
        return row_form(self.shape).rows

    @property
    def row_elems(self) -> int:
        return row_form(self.shape).row_elems

    @property
    def row_bytes(self) -> int:
        return self.row_elems * self.dtype.itemsize


@dataclass(frozen=True)
class StatePort:
    """What is kept between inferences: a member of ``<prefix>_state``, and which of the network's inputs and outputs it
    is, counted with those that the caller sees."""

    port: Port
    input: int
    output: int


@dataclass(frozen=True)
class Interface:
    """Entry point ``void <prefix>_run(<prefix>_arena *arena, const T in..., T out...)`` and its sizes. Where there are
    `states`, ``<prefix>_state *state`` comes behind the arena; `inputs` and `outputs` are without them.

    `arena_bytes` is the exact size of ``<prefix>_arena``'s payload, `arena_align` its alignment in bytes. Inputs have a
    place in the arena, and may be NULL, only where `input_mode` is resident; the same for outputs. Where outputs are
    streamed, ``const <prefix>_sink *sink, void *user`` takes their place: a function for the rows of each.
    """

    prefix: str
    target: str
    arena_bytes: int
    arena_align: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    input_mode: InputMode = InputMode.RESIDENT
    output_mode: OutputMode = OutputMode.RESIDENT
    states: tuple[StatePort, ...] = ()

    @property
    def state_bytes(self) -> int:
        """Size of ``<prefix>_state``, but for padding between members."""
        return sum(s.port.nbytes for s in self.states)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object; `from_json` reads it back."""

        def port(p: Port) -> dict[str, Any]:
            return {
                "name": p.name,
                "c_name": p.c_name,
                "shape": list(p.shape),
                "dtype": p.dtype.value,
                "scale": p.scale,
                "zero_point": p.zero_point,
            }

        return {
            "prefix": self.prefix,
            "target": self.target,
            "arena_bytes": self.arena_bytes,
            "arena_align": self.arena_align,
            "input_mode": self.input_mode.value,
            "output_mode": self.output_mode.value,
            "inputs": [port(p) for p in self.inputs],
            "outputs": [port(p) for p in self.outputs],
            "states": [{"port": port(s.port), "input": s.input, "output": s.output} for s in self.states],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Interface:
        """Raises KeyError, TypeError or ValueError when `data` is not what `to_json` writes."""

        def port(p: Mapping[str, Any]) -> Port:
            return Port(
                p["name"],
                p["c_name"],
                tuple(int(d) for d in p["shape"]),
                DType(p["dtype"]),
                p["scale"],
                p["zero_point"],
            )

        return Interface(
            data["prefix"],
            data["target"],
            int(data["arena_bytes"]),
            int(data["arena_align"]),
            tuple(port(p) for p in data["inputs"]),
            tuple(port(p) for p in data["outputs"]),
            InputMode(data["input_mode"]),
            OutputMode(data["output_mode"]),
            tuple(StatePort(port(s["port"]), int(s["input"]), int(s["output"])) for s in data["states"]),
        )
