"""``tinycompile build``."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from tinycompile.commands import options
from tinycompile.commands.measured import with_compiled_sizes
from tinycompile.commands.progress import ended_by_interrupt, working
from tinycompile.commands.quantizing import QuantizeRequest, quantize_options, quantized_file
from tinycompile.errors import UsageError, one_line
from tinycompile.output_folder import write_folder
from tinycompile.pipeline import build_model
from tinycompile.report.quantization import QuantizationReport, print_quantization, render_page, to_json
from tinycompile.report.summary import Report
from tinycompile.report.text import print_report
from tinycompile.target import Target, load_target


def _firmware(report: Report, name: str, target: Target) -> dict[str, str]:
    """The firmware project for a real board; UsageError when the board has another core or is only emulated."""
    from tinycompile.board import load_board
    from tinycompile.emulate.firmware import firmware_project

    board = load_board(name)
    if board.target != target.name or board.flash_command is None:
        raise UsageError(
            f"no firmware project for {board.name}: {'it is emulated' if not board.flash_command else board.target}",
            "--board",
            f"choose a real board with a {target.name} (`tinycompile boards`), or give --target {board.target}",
        )
    return firmware_project(report.plan.interface, target, board, report.stack.value)


@click.command()
@click.argument("model")
@options.target_option
@options.budget_options
@options.goal_options
@options.time_limit_option
@options.model_options
@click.option("--quantize", "quantized", is_flag=True, help="Make int8 of a float MODEL first; needs --calibration.")
@quantize_options
@click.option("-o", "--output", default="out", show_default=True, metavar="DIR", help="Folder for the generated files.")
@click.option("--board", metavar="BOARD", help="Also write a bare-metal project for a board, under DIR/firmware.")
@click.option("--force", is_flag=True, help="Write into a folder that is not an earlier build.")
@click.option("--no-compile", is_flag=True, help="Do not compile with the target's compiler to measure the code size.")
@options.json_option
def build(
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
    quantized: bool,
    request: QuantizeRequest,
    output: str,
    board: str | None,
    force: bool,
    no_compile: bool,
    as_json: bool,
) -> None:
    """Compile MODEL (.tflite or .onnx) to C99 in DIR, and print where every byte goes.

    \b
    tinycompile build model.tflite --target cortex-m7 --sram 320k -o out/
    tinycompile build model.onnx --io quantized --json
    tinycompile build model.tflite --minimize sram --input external -o out/
    tinycompile build model.tflite --input streamed --results streamed -o out/
    tinycompile build model.tflite --target cortex-m7 --board nucleo-h743zi2 -o out/
    tinycompile build float.onnx --quantize --calibration samples.npz -o out/

    Nothing is written when the model cannot be compiled or does not fit.
    """
    chosen = load_target(target)
    budgets = options.budgets(sram, flash)
    goal = wanted.goal(sram)
    how, dump = options.import_options(io, name, shapes, states, dynamic_range), options.dumper(dump_after)
    if request.calibration is not None and not quantized:
        raise UsageError("samples, and nothing to calibrate", "--calibration", "give --quantize too, or leave it out")
    path, files = options.model_path(model), dict[str, str | bytes]()
    with working(f"compiling {one_line(model, 60)}") as tell, tempfile.TemporaryDirectory() as folder:
        watch = options.watch(time_limit, tell)
        cost: QuantizationReport | None = None
        if quantized:
            data, cost = quantized_file(path, request, how.shapes, chosen, budgets, tell)
            path, how = Path(folder) / f"{path.stem}_int8.onnx", replace(how, shapes=None)
            path.write_bytes(data)
            files = {path.name: data, "quantization.html": render_page(cost)}
        with ended_by_interrupt(watch):
            built = build_model(path, chosen, budgets, how, dump, goal, watch)
        report = built.report if no_compile else with_compiled_sizes(built.report, built.files, chosen)
    report.check_fits()
    files |= built.files
    if board is not None:
        files |= _firmware(report, board, chosen)
    files |= report.files(files)
    write_folder(Path(output), files, force)
    if as_json:
        lost = {} if cost is None else {"quantization": to_json(cost)}
        click.echo(json.dumps({**report.to_json(), **lost, "output": output}))
    else:
        if cost is not None:
            click.echo(print_quantization(cost))
        print_report(report)
        click.echo(f"written to {output}: {len(files)} files; open {Path(output) / 'report.html'} for the picture")
