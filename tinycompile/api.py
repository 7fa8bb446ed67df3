"""The Python interface: what the command line does, without a command line."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from tinycompile.codegen.c import emit_c
from tinycompile.ir.plan import Plan
from tinycompile.output_folder import write_folder
from tinycompile.pipeline import Build, ImportOptions, build_model, plan_model
from tinycompile.report.summary import Budgets, Report, summarize
from tinycompile.target import load_target, parse_bytes

Size = int | str | None


def _bytes(size: Size) -> int | None:
    return parse_bytes(size) if isinstance(size, str) else size


def build(
    model: str | PathLike[str],
    target: str = "cortex-m7",
    *,
    sram: Size = None,
    flash: Size = None,
    io: str = "model",
    name: str | None = None,
    out: str | PathLike[str] | None = None,
) -> Build:
    """Compile a `.tflite` or `.onnx` file; with `out`, write the files into that folder.

    `sram`, `flash`: bytes, or text such as "320k"; default: the target's. `io`: "model" or "quantized".
    Raises the classes of ``tinycompile.errors``; nothing is written then.
    """
    budgets = Budgets(_bytes(sram), _bytes(flash))
    result = build_model(Path(model), load_target(target), budgets, ImportOptions(io=io, name=name))
    if out is not None:
        write_folder(Path(out), result.files, force=False)
    return result


def plan(model: str | PathLike[str], target: str = "cortex-m7", *, io: str = "model", name: str | None = None) -> Plan:
    """The verified memory plan of a model."""
    return plan_model(Path(model), load_target(target), ImportOptions(io=io, name=name))


def report_for(made: Plan, *, sram: Size = None, flash: Size = None) -> Report:
    """The figures of a plan against its target's memory, or against the sizes given."""
    return summarize(made, load_target(made.target), Budgets(_bytes(sram), _bytes(flash)), emit_c(made))
