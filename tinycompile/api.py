"""The Python interface: what the command line does, without a command line."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from tinycompile.codegen.c import emit_c
from tinycompile.errors import UsageError
from tinycompile.ir.graph import Array
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.plan import Plan
from tinycompile.output_folder import write_folder
from tinycompile.pipeline import Build, ImportOptions, build_model, plan_model
from tinycompile.planning.goal import Goal
from tinycompile.report.summary import Budgets, Report, summarize
from tinycompile.target import load_target, parse_bytes
from tinycompile.watch import Watch

Size = int | str | None
MOST_SAMPLES = 200  # of data that is named, as of the command line
WEIGHT_TYPES = ("int8", "int4")
MODES = (("input", InputMode), ("results", OutputMode))


def _bytes(size: Size) -> int | None:
    return parse_bytes(size) if isinstance(size, str) else size


def _goal(input_mode: str, output_mode: str, sram_bytes: int | None) -> Goal:
    """UsageError for a mode that does not exist."""
    try:
        return Goal(InputMode(input_mode), sram_bytes=sram_bytes, output_mode=OutputMode(output_mode))
    except ValueError as error:
        modes = [f"{key}: {', '.join(m.value for m in kind)}" for key, kind in MODES]
        raise UsageError(str(error), "input or results", "; ".join(modes)) from None


def build(
    model: str | PathLike[str],
    target: str = "cortex-m7",
    *,
    sram: Size = None,
    flash: Size = None,
    io: str = "model",
    name: str | None = None,
    out: str | PathLike[str] | None = None,
    input: str = "resident",
    results: str = "resident",
    states: Mapping[str, str] | None = None,
    dynamic_range: str = "refuse",
) -> Build:
    """Compile a `.tflite` or `.onnx` file; with `out`, write the files into that folder.

    `sram`, `flash`: bytes, or text such as "320k"; default: the target's. `io`: "model" or "quantized". `input`:
    "resident", "streamed" or "external"; `results`: "resident" or "streamed", as for the command line. `states`: inputs
    that are, in the next inference, what these outputs were. `dynamic_range`: "float" computes float layers with
    integer weights in float; "refuse".
    Raises the classes of ``tinycompile.errors``; nothing is written then.
    """
    budgets = Budgets(_bytes(sram), _bytes(flash))
    options = ImportOptions(io=io, name=name, states=states, dynamic_range=dynamic_range)
    goal = _goal(input, results, budgets.sram_bytes)
    result = build_model(Path(model), load_target(target), budgets, options, goal=goal)
    if out is not None:
        write_folder(Path(out), result.files, force=False)
    return result


def plan(
    model: str | PathLike[str],
    target: str = "cortex-m7",
    *,
    io: str = "model",
    name: str | None = None,
    input: str = "resident",
    results: str = "resident",
    states: Mapping[str, str] | None = None,
    dynamic_range: str = "refuse",
) -> Plan:
    """The verified memory plan of a model; `input`, `results`, `states` and `dynamic_range` as for `build`."""
    options = ImportOptions(io=io, name=name, states=states, dynamic_range=dynamic_range)
    return plan_model(Path(model), load_target(target), options, goal=_goal(input, results, None))


def quantize_model(
    model: str | PathLike[str],
    samples: str | Array | Mapping[str, Array],
    out: str | PathLike[str],
    *,
    weights: str = "int8",
) -> Path:
    """Quantise a float `.onnx` or `.tflite` file to int8 as ``tinycompile quantize`` does; the QDQ ONNX file written.

    `samples`: typical inputs, an array (samples, *shape) for each input by name, or the one array of a network of one
    input; or text that names data as ``--calibration`` does. `weights`: "int8" or "int4". Raises UsageError for data
    that do not fit.
    """
    from tinycompile.quantize.calibration import read_samples, samples_of
    from tinycompile.quantize.quantizer import QuantizeOptions, load_float_model, quantize_graph

    if weights not in WEIGHT_TYPES:
        raise UsageError(f"weights of '{weights}'", "weights", f"one of {', '.join(WEIGHT_TYPES)}")
    graph = load_float_model(Path(model))
    ports = [graph.tensors[name] for name in graph.inputs]
    if isinstance(samples, str):
        given = read_samples(samples, ports, MOST_SAMPLES)
    else:
        given = samples_of(samples if isinstance(samples, Mapping) else {"in_0": samples}, ports, "samples")
    path = Path(out)
    try:
        path.write_bytes(quantize_graph(graph, given, QuantizeOptions(weights=weights), Watch()).data)
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}", str(path), "give a path that can be written") from None
    return path


def report_for(made: Plan, *, sram: Size = None, flash: Size = None) -> Report:
    """The figures of a plan against its target's memory, or against the sizes given."""
    return summarize(made, load_target(made.target), Budgets(_bytes(sram), _bytes(flash)), emit_c(made))
