"""What code generation gives back: the files as text, and the figures that only it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Emission:
    """`files`: relative name -> text. `weight_bytes`: flash taken by constant arrays (exact, each shared array once),
    `schedule_bytes`: by the tables of row order and row addresses beside them. `narrow_saved_bytes`: what weights of 4
    bits would take more in 8.

    `stack_bytes`: an estimate of what one run uses. `instances`: kernel functions in the model; `steps`: its steps.
    """

    files: Mapping[str, str]
    weight_bytes: int
    schedule_bytes: int
    narrow_saved_bytes: int
    stack_bytes: int
    instances: int
    steps: int
