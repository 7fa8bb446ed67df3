"""Plan: every decision made. Frozen; codegen and the emulators read nothing else.

A plan is a row program. Each `Step` computes rows [y0, y1) of one op in ascending order, each `Push` takes rows of a
streamed network input from the caller, each `Pop` gives it a row of a streamed network output; `Placement` gives the
arena offset of every row of every run-time tensor. Whole buffers, rings, outputs that overlap the input they eat, and
views are what these offsets describe, not separate mechanisms. ``schedule.verify_plan`` replays the steps over a byte
map and knows nothing of how the plan was made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tinycompile.ir.graph import Graph, Op, Tensor
from tinycompile.ir.interface import InputMode, Interface, OutputMode
from tinycompile.ir.types import Region


@dataclass(frozen=True)
class Placement:
    """Byte offset of each row of a tensor: in the arena, or in the caller's memory of network input `external`.

    Rows that nobody reads are never made; their offsets say nothing.
    """

    offsets: tuple[int, ...]
    row_bytes: int
    external: int | None = None

    @staticmethod
    def contiguous(base: int, rows: int, row_bytes: int) -> Placement:
        return Placement(tuple(base + row_bytes * r for r in range(rows)), row_bytes)

    @property
    def affine(self) -> tuple[int, int] | None:
        """(base, stride) when row r lies at ``base + stride * r`` for all rows, else None."""
        if len(self.offsets) == 1:
            return self.offsets[0], self.row_bytes
        stride = self.offsets[1] - self.offsets[0]
        base = self.offsets[0]
        if all(o == base + stride * r for r, o in enumerate(self.offsets)):
            return base, stride
        return None

    def contiguous_rows(self, y0: int, y1: int) -> bool:
        """Whether rows [y0, y1) are adjacent in memory, in order."""
        return all(self.offsets[y + 1] == self.offsets[y] + self.row_bytes for y in range(y0, y1 - 1))


@dataclass(frozen=True)
class Step:
    """Compute `region` of op `op` (an index into ``Plan.ops``), row by row in ascending order.

    `merge`: one kernel call makes all rows: the op's grain is FLAT and the rows are adjacent in memory on both sides,
    or its grain is WHOLE.
    """

    op: int
    region: Region
    merge: bool = False


@dataclass(frozen=True)
class Push:
    """The caller gives row `row` of network input `tensor` (input mode "streamed")."""

    tensor: str
    row: int


@dataclass(frozen=True)
class Pop:
    """The caller takes row `row` of network output `tensor` (output mode "streamed"); its bytes are free then."""

    tensor: str
    row: int


@dataclass(frozen=True)
class Life:
    """Rows [y0, y1) of `tensor` keep arena bytes [low, high) from step `first` to step `last`, both included."""

    tensor: str
    y0: int
    y1: int
    low: int
    high: int
    first: int
    last: int


@dataclass(frozen=True)
class ModelBound:
    """No plan of the model that executes at most `max_recompute` times its multiply-accumulates (infinite: any number)
    needs less than `nbytes` of arena, whatever it cuts, tiles and fuses. `method`: how that is known."""

    nbytes: int
    max_recompute: float
    method: str

    @property
    def limit(self) -> str:
        """The limit of recompute, in words."""
        return f"at recompute <= {self.max_recompute:.6g}" if math.isfinite(self.max_recompute) else "at any recompute"


@dataclass(frozen=True)
class Certificate:
    """What is proven about ``arena_bytes``.

    `schedule_bound_bytes`: live bytes at the peak of this plan's own order, which no packing can beat.
    `lower_bound_bytes`: no order in `space` ("whole buffers", "row steps") needs less; `optimal` when the arena equals
    it. `model`: the bound of the model, where one was asked for.
    """

    lower_bound_bytes: int
    schedule_bound_bytes: int
    optimal: bool
    space: str
    method: str
    model: ModelBound | None = None


@dataclass(frozen=True)
class Recomputed:
    """A layer that is computed in part twice: its own MACs, those executed beyond them, and how many fewer would be
    executed, over all layers, with a window there that is two rows and columns smaller."""

    source: str
    macs: int
    extra_macs: int
    saved_macs: int


@dataclass(frozen=True, eq=False)
class Plan:
    """`ops` are ``graph.ops`` in execution order, views left out of `steps` but present in `placements`.

    `variants[k]` is the kernel variant of op k, `scratch[k]` where its scratch lies for each row of its output (None
    when it wants none). `lives` says when which bytes are in use, for reports; `live_bytes[i]` is how many are at step
    i. `peak_step` is the index of the step with the most live bytes. `network_macs`: multiply-accumulates of the
    network as it was given; `graph` may compute some of it twice, which `recomputed` lists.
    """

    graph: Graph
    target: str
    ops: tuple[Op, ...]
    steps: tuple[Step | Push | Pop, ...]
    placements: Mapping[str, Placement]
    variants: tuple[str, ...]
    scratch: tuple[Placement | None, ...]
    arena_bytes: int
    arena_align: int
    input_mode: InputMode
    certificate: Certificate
    lives: tuple[Life, ...]
    live_bytes: tuple[int, ...]
    interface: Interface
    network_macs: int
    recomputed: tuple[Recomputed, ...] = ()
    output_mode: OutputMode = OutputMode.RESIDENT

    @property
    def peak_step(self) -> int:
        return max(range(len(self.live_bytes)), key=lambda i: (self.live_bytes[i], -i)) if self.live_bytes else 0

    @property
    def computed(self) -> tuple[Step, ...]:
        """The steps without pushes and pops."""
        return tuple(s for s in self.steps if isinstance(s, Step))

    @property
    def row_program(self) -> bool:
        """Whether some operator makes its rows in more than one step, or rows are pushed or popped."""
        return len({s.op for s in self.computed}) < len(self.steps)

    def live_at(self, step: int) -> tuple[str, ...]:
        """Tensors that hold bytes at a step."""
        return tuple(dict.fromkeys(life.tensor for life in self.lives if life.first <= step <= life.last))

    def tensor(self, name: str) -> Tensor:
        return self.graph.tensors[name]
