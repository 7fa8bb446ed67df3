"""Options that several verbs share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tinycompile.errors import UsageError
from tinycompile.ir.interface import InputMode
from tinycompile.pipeline import Dump, ImportOptions
from tinycompile.planning import Goal
from tinycompile.report.summary import Budgets
from tinycompile.target import parse_bytes

F = TypeVar("F", bound=Callable[..., Any])


def model_options(function: F) -> F:
    """--io, --name, --shape, --dump-after: how the model file is read."""
    for option in (
        click.option(
            "--dump-after",
            "dump_after",
            metavar="PASS",
            help="Print the graph after this pass ('import', a pass, 'plan', or 'all') to stderr.",
        ),
        click.option(
            "--shape", "shapes", multiple=True, metavar="NAME=1,3,64,64", help="Static shape of an ONNX input."
        ),
        click.option("--name", metavar="NAME", help="C prefix of the generated code; default: the file's name."),
        click.option(
            "--io",
            type=click.Choice(["model", "quantized"]),
            default="model",
            show_default=True,
            help="Keep the model's own (float) inputs and outputs, or drop the outer quantise/dequantise operators.",
        ),
    ):
        function = option(function)
    return function


def budget_options(function: F) -> F:
    """--sram and --flash."""
    flash = click.option("--flash", metavar="SIZE", help="Flash allowed for weights and code; default: the target's.")
    sram = click.option("--sram", metavar="SIZE", help="SRAM allowed, stack included: 320k, 64KiB, 1M or bytes.")
    return sram(flash(function))


def goal_options(function: F) -> F:
    """--input, --minimize and --effort: what the plan is to be."""
    for option in (
        click.option(
            "--effort", type=click.IntRange(1, 5), default=1, show_default=True, help="More search for --minimize."
        ),
        click.option(
            "--minimize",
            type=click.Choice(["calls", "sram"]),
            default="calls",
            show_default=True,
            help="The fewest kernel calls that fit in the SRAM allowed, or the least SRAM.",
        ),
        click.option(
            "--input",
            "input_mode",
            type=click.Choice([mode.value for mode in InputMode]),
            default="resident",
            show_default=True,
            help="The input lies in the arena; its rows are pushed one by one; or it is read from the caller's memory.",
        ),
    ):
        function = option(function)
    return function


def goal(input_mode: str, minimize: str, effort: int, sram: str | None) -> Goal:
    return Goal(InputMode(input_mode), minimize == "sram", None if sram is None else parse_bytes(sram), effort)


def target_option(function: F) -> F:
    return click.option(
        "--target", default="cortex-m7", show_default=True, metavar="CORE", help="See `tinycompile targets`."
    )(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of text.")(function)


def import_options(io: str, name: str | None, shapes: tuple[str, ...]) -> ImportOptions:
    """UsageError for a --shape that is no ``NAME=1,2,3``."""
    parsed: dict[str, tuple[int, ...]] = {}
    for text in shapes:
        key, _, dims = text.rpartition("=")
        try:
            parsed[key] = tuple(int(d) for d in dims.split(","))
        except ValueError:
            raise UsageError(f"bad shape '{text}'", "--shape", "write it as NAME=1,3,64,64") from None
        if not key:
            raise UsageError(f"bad shape '{text}'", "--shape", "write it as NAME=1,3,64,64")
    return ImportOptions(io=io, shapes=parsed or None, name=name)


def budgets(sram: str | None, flash: str | None) -> Budgets:
    return Budgets(None if sram is None else parse_bytes(sram), None if flash is None else parse_bytes(flash))


def dumper(dump_after: str | None) -> Dump | None:
    """Prints the stages asked for; UsageError for a stage that does not exist."""
    if dump_after is None:
        return None
    from tinycompile.passes import PASSES

    stages = ("import", *(name for name, _ in PASSES), "quantized_io", "plan", "all")
    if dump_after not in stages:
        raise UsageError(f"no pass '{dump_after}'", "--dump-after", f"one of: {', '.join(stages)}")

    def dump(stage: str, text: str) -> None:
        if dump_after in (stage, "all"):
            print(f"=== after {stage}\n{text}", file=sys.stderr)

    return dump


def model_path(text: str) -> Path:
    """The path as given; whether it is a model is the importer's to say."""
    return Path(text)
