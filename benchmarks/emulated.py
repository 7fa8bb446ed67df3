"""A model built and run on an emulated core: what the benchmarks of speed share."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinycompile.emulate.target import TargetRun, run_target
from tinycompile.ir.graph import Array
from tinycompile.pipeline import Build, ImportOptions, build_model
from tinycompile.planning.goal import Goal
from tinycompile.report.summary import Budgets
from tinycompile.target import Target


@dataclass(frozen=True, eq=False)
class Measured:
    build: Build
    inputs: list[Array]
    run: TargetRun


def measured(model: Path, target: Target, goal: Goal | None = None, emulator: str | None = None) -> Measured:
    """One inference on random integers, int8 edges; memory is no limit."""
    build = build_model(model, target, Budgets(1 << 40, 1 << 40), ImportOptions(io="quantized"), goal=goal)
    rng, inputs = np.random.default_rng(0), []
    for port in build.plan.interface.inputs:
        low, high = port.dtype.int_range
        inputs.append(rng.integers(low, high + 1, (1, *port.shape)).astype(port.dtype.numpy))
    with tempfile.TemporaryDirectory() as folder:
        for name, text in build.files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        run = run_target(Path(folder), build.plan.interface, target, inputs, emulator=emulator)
    return Measured(build, inputs, run)
