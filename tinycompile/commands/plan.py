"""``tinycompile plan``."""

from __future__ import annotations

import json

import click

from tinycompile.codegen.c import emit_c
from tinycompile.commands import options
from tinycompile.commands.progress import working
from tinycompile.errors import one_line
from tinycompile.pipeline import plan_model
from tinycompile.report.summary import summarize
from tinycompile.report.text import print_report
from tinycompile.target import load_target


@click.command()
@click.argument("model")
@options.target_option
@options.budget_options
@options.goal_options
@options.model_options
@options.json_option
def plan(
    model: str,
    target: str,
    sram: str | None,
    flash: str | None,
    input_mode: str,
    minimize: str,
    effort: int,
    io: str,
    name: str | None,
    shapes: tuple[str, ...],
    dump_after: str | None,
    as_json: bool,
) -> None:
    """The memory plan of MODEL and its report, without writing code.

    \b
    tinycompile plan model.tflite --target cortex-m4 --sram 64k
    tinycompile plan model.onnx --json
    tinycompile plan model.tflite --minimize sram --input streamed

    Exit code 4 when it does not fit; the report is printed all the same.
    """
    chosen = load_target(target)
    budgets = options.budgets(sram, flash)
    goal = options.goal(input_mode, minimize, effort, sram)
    how, dump = options.import_options(io, name, shapes), options.dumper(dump_after)
    with working(f"planning {one_line(model, 60)}"):
        made = plan_model(options.model_path(model), chosen, how, dump, goal)
        report = summarize(made, chosen, budgets, emit_c(made))
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        print_report(report)
    report.check_fits()
