"""What `quantize` and `build --quantize` share: the options, and a model file quantised and measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import click

from tinycompile.commands.options import F, gathered_as
from tinycompile.errors import UsageError
from tinycompile.ir.graph import Graph
from tinycompile.quantize.ranges import CALIBRATORS
from tinycompile.report.quantization import QuantizationReport, Sizes, weight_bytes
from tinycompile.report.summary import Budgets, summarize
from tinycompile.target import Target
from tinycompile.watch import Watch


@dataclass(frozen=True)
class QuantizeRequest:
    """What the options below were given."""

    calibration: str | None
    evaluation: str | None
    samples: int
    calibrator: str
    rounding: str
    bias_correction: bool
    equalize: bool
    weights: str
    min_sqnr: float | None
    min_top1: float | None
    metric: str | None


def quantize_options(function: F) -> F:
    """--calibration and all that goes with it, for the verb as `request`."""
    gathered = gathered_as(function, "request", QuantizeRequest)
    for option in (
        click.option("--metric", metavar="MODULE:FUNCTION", help="A figure of your own: f(outputs, inputs) -> number."),
        click.option(
            "--min-top1", type=click.FloatRange(0, 1), metavar="SHARE", help="Accuracy budget, as --min-sqnr."
        ),
        click.option(
            "--min-sqnr",
            type=float,
            metavar="DB",
            help="Accuracy budget: the parts that cost most stay float until the outputs are this exact.",
        ),
        click.option(
            "--bias-correction/--no-bias-correction",
            default=True,
            show_default=True,
            help="Take the mean error of a layer's rounded weights out of its bias.",
        ),
        click.option(
            "--equalize/--no-equalize",
            default=True,
            show_default=True,
            help="Make the channels between two layers alike in size first; the float network stays the same.",
        ),
        click.option(
            "--weights",
            type=click.Choice(["auto", "int8", "int4"]),
            default="auto",
            show_default=True,
            help="Width of weights. auto: int8, but int4 in the layers that lose least by it where --flash is less. "
            "With an accuracy budget, those that lose most become int8 again before anything stays float.",
        ),
        click.option(
            "--rounding",
            type=click.Choice(["nearest", "adaptive"]),
            default="adaptive",
            show_default=True,
            help="Each weight to the nearest integer, or to the neighbour that changes the layer's outputs least.",
        ),
        click.option(
            "--calibrator",
            type=click.Choice(list(CALIBRATORS)),
            default="mse",
            show_default=True,
            help="How the range of an activation is found from what it held.",
        ),
        click.option(
            "--samples", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Samples used at most."
        ),
        click.option(
            "--evaluation",
            metavar="DATA",
            help="Samples to measure with.  [default: every fifth of the calibration's, which is then not used there]",
        ),
        click.option(
            "--calibration",
            metavar="DATA",
            help="Typical inputs, as the network sees them: a .npz (an array per input, samples first), .npy, a folder "
            "of such, or module:function that yields dictionaries of arrays.",
        ),
    ):
        gathered = option(gathered)
    return cast(F, gathered)


def quantized_file(
    model: Path,
    request: QuantizeRequest,
    shapes: Mapping[str, tuple[int, ...]] | None,
    target: Target,
    budgets: Budgets,
    tell: Callable[[str], None],
) -> tuple[bytes, QuantizationReport]:
    """The QDQ ONNX file made of a float model, and what it cost. UsageError without calibration data."""
    from tinycompile.codegen.c import emit_c
    from tinycompile.quantize.calibration import load_function, read_samples, split_held_out
    from tinycompile.quantize.measure import measure
    from tinycompile.quantize.mixed import AccuracyBudget, quantize_within
    from tinycompile.quantize.quantizer import QuantizeOptions, load_float_model
    from tinycompile.quantize.widths import Excess
    from tinycompile.schedule import plan_graph

    if request.calibration is None:
        raise UsageError(
            "no samples to calibrate with", "--calibration", "give typical inputs; see tinycompile quantize --help"
        )
    watch = Watch(tell=tell)
    graph = load_float_model(model, shapes)
    ports = [graph.tensors[name] for name in graph.inputs]
    given = read_samples(request.calibration, ports, request.samples)
    held_out = request.evaluation is not None
    if request.evaluation is not None:
        used, judged_by = given, read_samples(request.evaluation, ports, request.samples)
    else:
        used, judged_by = split_held_out(given)
        held_out = len(used) < len(given)
    metric = None if request.metric is None else load_function(request.metric)

    def fit(lowered: Graph) -> Excess:
        """As a build would say, with an estimate of the code; nothing where no budget is given."""
        if budgets == Budgets(None, None):
            return Excess(0, 0)
        plan = plan_graph(lowered, target, prefix="m")
        found = summarize(plan, target, budgets, emit_c(plan)).fits
        limits = (budgets.sram_bytes, budgets.flash_bytes)
        return Excess(*(0 if b is None else max(f.needs.value - b, 0) for f, b in zip(found, limits, strict=True)))

    settings = QuantizeOptions(
        request.calibrator, request.bias_correction, request.rounding == "adaptive", request.equalize, request.weights
    )
    budget = AccuracyBudget(
        -math.inf if request.min_sqnr is None else request.min_sqnr,
        0.0 if request.min_top1 is None else request.min_top1,
    )
    made = quantize_within(graph, used, judged_by, settings, budget, fit, watch)
    report = QuantizationReport(
        model.name,
        _words(request),
        len(used),
        held_out,
        measure(made.reference, made.lowered, judged_by, watch, metric),
        dict(made.scheme.kept_float),
        made.weight_bits,
        _sizes(made.reference, target),
        _sizes(made.lowered, target),
    )
    return made.data, report


def _words(request: QuantizeRequest) -> str:
    bias = ", biases corrected" if request.bias_correction else ""
    channels = ", channels equalised" if request.equalize else ""
    return f"calibrator {request.calibrator}, {request.rounding} rounding{bias}{channels}"


def _sizes(graph: Graph, target: Target) -> Sizes:
    from tinycompile.schedule import plan_graph

    return Sizes(weight_bytes(graph), plan_graph(graph, target, prefix="m").arena_bytes)
