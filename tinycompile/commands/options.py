"""Options that several verbs share."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from tinycompile.errors import UsageError
from tinycompile.frontends import DYNAMIC_RANGE, REFUSE
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.pipeline import Dump, ImportOptions
from tinycompile.planning.goal import Goal, Patches
from tinycompile.report.summary import Budgets
from tinycompile.target import parse_bytes
from tinycompile.watch import Watch

F = TypeVar("F", bound=Callable[..., Any])


def shape_option(function: F) -> F:
    return click.option(
        "--shape", "shapes", multiple=True, metavar="NAME=1,3,64,64", help="Static shape of an ONNX input."
    )(function)


def state_option(function: F) -> F:
    return click.option(
        "--state",
        "states",
        multiple=True,
        metavar="INPUT=OUTPUT",
        help="An input that is, in the next inference, what this output was: kept between calls, zeros at first.",
    )(function)


def model_options(function: F) -> F:
    """--io, --name, --shape, --state, --dynamic-range, --dump-after: how the model file is read."""
    for option in (
        click.option(
            "--dump-after",
            "dump_after",
            metavar="PASS",
            help="Print the graph after this pass ('import', a pass, 'plan', or 'all') to stderr.",
        ),
        click.option(
            "--dynamic-range",
            type=click.Choice(DYNAMIC_RANGE),
            default=REFUSE,
            show_default=True,
            help="Float layers with int8 weights (TFLite): refuse them, or compute in float with float32 weights.",
        ),
        state_option,
        shape_option,
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


def time_limit_option(function: F) -> F:
    return click.option(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="Search for a plan this long at most, and take the best until then; so does Ctrl-C.  [default: no limit]",
    )(function)


def watch(time_limit: float | None, tell: Callable[[str], None]) -> Watch:
    """Ends the search after `time_limit` seconds from now; UsageError for a limit that is not above zero."""
    if time_limit is not None and not 0 < time_limit < math.inf:
        raise UsageError(f"{time_limit:g} seconds are no time to search", "--time-limit", "give more than 0, as in 30")
    return Watch(time_limit, tell)


@dataclass(frozen=True)
class GoalOptions:
    """What --input, --results, --minimize and their like were given."""

    input_mode: str
    output_mode: str
    minimize: str
    max_recompute: float | None
    patches: str | None
    stage_end: str | None
    effort: int

    def goal(self, sram: str | None) -> Goal:
        """UsageError for patches that are no grid or come with a limit on recompute, or a stage end without any."""
        if self.stage_end is not None and self.patches is None:
            raise UsageError("a stage ends somewhere only if it is in patches", "--stage-end", "give --patches 2x2 too")
        if self.max_recompute is not None and self.patches is not None:
            raise UsageError(
                "patches say what is computed twice", "--max-recompute with --patches", "give one of the two"
            )
        return Goal(
            InputMode(self.input_mode),
            self.minimize == "sram",
            None if sram is None else parse_bytes(sram),
            self.effort,
            math.inf if self.max_recompute is None else self.max_recompute,
            None if self.patches is None else _patches(self.patches, self.stage_end),
            OutputMode(self.output_mode),
        )


def _patches(text: str, stage_end: str | None) -> Patches:
    grid = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,2})", text)
    if grid is None or text == "1x1":
        raise UsageError(f"'{text}' is no grid", "--patches", "write rows x columns, as in 3x3 or 1x4")
    return Patches(int(grid[1]), int(grid[2]), stage_end)


def gathered_as(function: F, name: str, kind: type[Any]) -> Callable[..., Any]:
    """`function` with the options that are fields of dataclass `kind` as one argument `name`."""

    @functools.wraps(function)
    def gathered(*args: Any, **kwargs: Any) -> Any:
        fields = {f.name: kwargs.pop(f.name) for f in dataclasses.fields(kind)}
        return function(*args, **{name: kind(**fields)}, **kwargs)

    return gathered


def goal_options(function: F) -> F:
    """--input, --results, --minimize and what goes with them: what the plan is to be, for the verb as `wanted`."""
    gathered = gathered_as(function, "wanted", GoalOptions)
    for option in (
        click.option(
            "--effort", type=click.IntRange(1, 5), default=1, show_default=True, help="More search for --minimize."
        ),
        click.option(
            "--stage-end",
            metavar="NODE",
            help="With --patches: the node or tensor that the stage ends with.",
        ),
        click.option(
            "--patches",
            metavar="RxC",
            help="Compute the first stage of the network patch by patch, in a grid of R rows and C columns.",
        ),
        click.option(
            "--max-recompute",
            type=click.FloatRange(min=1.0),
            metavar="F",
            help="Most MACs that may be executed, as a multiple of the network's; 1.0: nothing is computed twice."
            "  [default: no limit]",
        ),
        click.option(
            "--minimize",
            type=click.Choice(["calls", "sram"]),
            default="calls",
            show_default=True,
            help="The fewest kernel calls that fit in the SRAM allowed, or the least SRAM.",
        ),
        click.option(
            "--results",
            "output_mode",
            type=click.Choice([mode.value for mode in OutputMode]),
            default="resident",
            show_default=True,
            help="The outputs lie whole in the arena at the end; or a function of yours gets every row as soon as it is"
            " made, and the arena holds only rows that are not given yet.",
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
        gathered = option(gathered)
    return cast(F, gathered)


def target_option(function: F) -> F:
    return click.option(
        "--target", default="cortex-m7", show_default=True, metavar="CORE", help="See `tinycompile targets`."
    )(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of text.")(function)


def import_options(
    io: str,
    name: str | None,
    shapes: tuple[str, ...],
    states: tuple[str, ...] = (),
    dynamic_range: str = "refuse",
) -> ImportOptions:
    """UsageError for a --shape that is no ``NAME=1,2,3``, or a --state that is no ``INPUT=OUTPUT``."""
    parsed: dict[str, tuple[int, ...]] = {}
    for text in shapes:
        key, _, dims = text.rpartition("=")
        try:
            parsed[key] = tuple(int(d) for d in dims.split(","))
        except ValueError:
            raise UsageError(f"bad shape '{text}'", "--shape", "write it as NAME=1,3,64,64") from None
        if not key:
            raise UsageError(f"bad shape '{text}'", "--shape", "write it as NAME=1,3,64,64")
    pairs: dict[str, str] = {}
    for text in states:
        source, _, output = text.partition("=")
        if not source or not output or source in pairs:
            raise UsageError(f"bad state '{text}'", "--state", "write it as INPUT=OUTPUT, once for each input")
        pairs[source] = output
    return ImportOptions(io=io, shapes=parsed or None, name=name, states=pairs or None, dynamic_range=dynamic_range)


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
