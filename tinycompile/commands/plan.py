"""``tinycompile plan``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from tinycompile.codegen.c import emit_c
from tinycompile.commands import options
from tinycompile.commands.progress import ended_by_interrupt, working
from tinycompile.errors import UsageError, one_line
from tinycompile.ir.interface import OutputMode
from tinycompile.pipeline import ImportOptions, import_model, plan_model
from tinycompile.planning.goal import Goal
from tinycompile.report.summary import summarize
from tinycompile.report.text import print_report
from tinycompile.target import Target, load_target


@click.command()
@click.argument("model")
@options.target_option
@options.budget_options
@options.goal_options
@options.time_limit_option
@options.model_options
@click.option("--pareto", is_flag=True, help="The whole frontier: least SRAM against MACs computed twice.")
@click.option("--plot", metavar="FILE.svg", help="With --pareto: write a plot of it.")
@options.json_option
def plan(
    model: str,
    target: str,
    sram: str | None,
    flash: str | None,
    wanted: options.GoalOptions,
    time_limit: float | None,
    io: str,
    name: str | None,
    shapes: tuple[str, ...],
    states: tuple[str, ...],
    dynamic_range: str,
    dump_after: str | None,
    pareto: bool,
    plot: str | None,
    as_json: bool,
) -> None:
    """The memory plan of MODEL and its report, without writing code.

    \b
    tinycompile plan model.tflite --target cortex-m4 --sram 64k
    tinycompile plan model.onnx --json
    tinycompile plan model.tflite --minimize sram --input streamed
    tinycompile plan model.tflite --minimize sram --max-recompute 1.1
    tinycompile plan model.tflite --minimize sram --effort 3 --time-limit 60
    tinycompile plan model.tflite --input external --pareto --plot frontier.svg

    Exit code 4 when it does not fit; the report is printed all the same.
    """
    chosen = load_target(target)
    budgets = options.budgets(sram, flash)
    goal = wanted.goal(sram)
    how, dump = options.import_options(io, name, shapes, states, dynamic_range), options.dumper(dump_after)
    if pareto or plot is not None:
        if not pareto:
            raise UsageError("a plot of one plan", "--plot", "give --pareto too")
        _pareto(options.model_path(model), chosen, goal, how, time_limit, plot, as_json)
        return
    with working(f"planning {one_line(model, 60)}") as tell:
        watch = options.watch(time_limit, tell)
        with ended_by_interrupt(watch):
            made = plan_model(options.model_path(model), chosen, how, dump, goal, watch)
        report = summarize(made, chosen, budgets, emit_c(made))
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        print_report(report)
    report.check_fits()


def _pareto(
    model: Path,
    target: Target,
    goal: Goal,
    how: ImportOptions,
    time_limit: float | None,
    plot: str | None,
    as_json: bool,
) -> None:
    """The plans of the frontier, verified, as a table or JSON; those found so far on Ctrl-C or when time is over."""
    from tinycompile.frontends.naming import c_prefix
    from tinycompile.planning.choose import Chooser
    from tinycompile.report.frontier import FrontierRow, frontier_row, render_plot, render_table, to_json, undominated
    from tinycompile.schedule import verify_plan

    rows: list[FrontierRow] = []
    with working(f"planning {one_line(str(model), 60)}") as tell:
        watch = options.watch(time_limit, tell)
        graph = import_model(model, how)
        prefix = c_prefix(how.name or model.stem)
        chooser = Chooser(graph, target, prefix, replace(goal, minimize_sram=True), watch)
        with ended_by_interrupt(watch):
            for made in chooser.frontier_plans():
                verify_plan(made)
                rows.append(frontier_row(made, target, emit_c(made)))
    rows = undominated(rows)
    if plot is not None and rows:
        Path(plot).write_text(
            render_plot(rows, f"{model.stem}, input {goal.input_mode.value}{_results(goal)}"), encoding="utf-8"
        )
    if as_json:
        click.echo(json.dumps(to_json(rows, model.stem, target.name, goal.input_mode.value, goal.output_mode.value)))
    else:
        click.echo(render_table(rows), nl=False)


def _results(goal: Goal) -> str:
    return ", results streamed" if goal.output_mode is OutputMode.STREAMED else ""
