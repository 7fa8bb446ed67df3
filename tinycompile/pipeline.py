"""The whole compiler on one screen: import -> verify -> passes -> verify -> plan -> verify -> emit.

The phase packages never import one another; they meet here. Everything returned is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinycompile.ir.graph import Array, Graph
from tinycompile.ir.plan import Plan
from tinycompile.planning.goal import Goal
from tinycompile.report.summary import Budgets, Report
from tinycompile.target import Target
from tinycompile.watch import Watch

Dump = Callable[[str, str], None]


@dataclass(frozen=True)
class ImportOptions:
    """How a model file becomes a graph.

    `io`: "model" keeps the file's own input and output types; "quantized" drops the outer quantise/dequantise
    operators. `shapes`: input name -> static shape, for files with symbolic dimensions. `frozen_inputs`: input name ->
    value. `name`: C prefix instead of the file's stem. `states`: input name -> the output that it is in the next call.
    `dynamic_range`: "float" computes float layers with integer weights in float; "refuse".
    """

    io: str = "model"
    shapes: Mapping[str, tuple[int, ...]] | None = None
    frozen_inputs: Mapping[str, Array] | None = None
    name: str | None = None
    states: Mapping[str, str] | None = None
    dynamic_range: str = "refuse"


@dataclass(frozen=True)
class Build:
    """What one build made: the plan, its report, and the files written (relative name -> text)."""

    plan: Plan
    report: Report
    files: Mapping[str, str]


def import_model(model: Path, options: ImportOptions, dump: Dump | None = None) -> Graph:
    """Read a `.tflite` or `.onnx` file and lower it to integer operators that all have kernels.

    `dump(stage, text)` is called with the stable text form after the import and after every pass.
    Raises ModelError for anything wrong with the file.
    """
    from tinycompile.frontends import load_model
    from tinycompile.ir.printer import print_graph
    from tinycompile.ir.states import with_states
    from tinycompile.passes import PASSES
    from tinycompile.passes.lowering_check import check_supported
    from tinycompile.passes.quantized_io import quantized_io
    from tinycompile.passes.run_passes import run_passes

    graph = load_model(model, options.shapes, options.frozen_inputs, options.dynamic_range)
    graph = with_states(graph, options.states or {})
    passes = (
        ("import", lambda g: g),
        *PASSES,
        *((("quantized_io", quantized_io),) if options.io == "quantized" else ()),
    )
    graph = run_passes(graph, passes, None if dump is None else lambda name, made: dump(name, print_graph(made)))
    check_supported(graph)
    return graph


def plan_model(
    model: Path,
    target: Target,
    options: ImportOptions | None = None,
    dump: Dump | None = None,
    goal: Goal | None = None,
    watch: Watch | None = None,
) -> Plan:
    """Import `model` and decide order, views, in-place use and addresses for `target`; the plan is verified. When
    `watch` ends the search, the best plan until then."""
    from tinycompile.frontends.naming import c_prefix
    from tinycompile.ir.printer import print_plan
    from tinycompile.planning.choose import choose_plan
    from tinycompile.schedule import verify_plan

    options = options or ImportOptions()
    graph = import_model(model, options, dump)
    plan = choose_plan(graph, target, c_prefix(options.name or model.stem), goal or Goal(), watch)
    verify_plan(plan)
    if dump is not None:
        dump("plan", print_plan(plan))
    return plan


def build_model(
    model: Path,
    target: Target,
    budgets: Budgets,
    options: ImportOptions | None = None,
    dump: Dump | None = None,
    goal: Goal | None = None,
    watch: Watch | None = None,
) -> Build:
    """Everything that a build writes, as text. Raises DoesNotFitError when `budgets` or the target's memory are
    exceeded."""
    from tinycompile.codegen.c import emit_c
    from tinycompile.report.summary import summarize

    plan = plan_model(model, target, options, dump, goal or Goal(sram_bytes=budgets.sram_bytes), watch)
    emission = emit_c(plan)
    report = summarize(plan, target, budgets, emission)
    report.check_fits()
    return Build(plan, report, {**emission.files, **report.files(emission.files)})
