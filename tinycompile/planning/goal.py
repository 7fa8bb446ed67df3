"""What a plan is to be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinycompile.ir.interface import InputMode, OutputMode


@dataclass(frozen=True)
class Patches:
    """A grid of `rows` x `columns` tiles that a person asks for, over the operators from the network input to tensor
    `stage_end` (None: as far as it saves bytes)."""

    rows: int
    columns: int
    stage_end: str | None = None


@dataclass(frozen=True)
class Goal:
    """What the plan is to be: of least arena (`minimize_sram`), or else the fastest that fits.

    `sram_bytes`: arena and stack together; None: what the target has. `effort`: 1 and up, more search.
    `max_recompute`: multiply-accumulates executed over those of the network at most (1.0: nothing twice).
    """

    input_mode: InputMode = InputMode.RESIDENT
    minimize_sram: bool = False
    sram_bytes: int | None = None
    effort: int = 1
    max_recompute: float = math.inf
    patches: Patches | None = None
    output_mode: OutputMode = OutputMode.RESIDENT
