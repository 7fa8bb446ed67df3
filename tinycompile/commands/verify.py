"""``tinycompile verify``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from tinycompile.commands import options
from tinycompile.commands.lists import SCHEMA_VERSION, table
from tinycompile.commands.progress import working
from tinycompile.commands.samples import random_inputs, read_inputs
from tinycompile.errors import CheckFailed, UsageError, one_line
from tinycompile.pipeline import plan_model
from tinycompile.target import load_target
from tinycompile.verify.layers import Reference, verify_layers


@click.command()
@click.argument("model")
@click.option("--inputs", metavar="IN.npz", help="An array per input, by tensor name or in_0, in_1; samples first.")
@click.option("--samples", default=8, show_default=True, help="Random samples when no inputs are given.")
@options.shape_option
@options.state_option
@options.json_option
def verify(
    model: str, inputs: str | None, samples: int, shapes: tuple[str, ...], states: tuple[str, ...], as_json: bool
) -> None:
    """Compare every layer of MODEL with LiteRT's reference kernels (.tflite: bit-exact) or onnxruntime (.onnx: 1 LSB).

    Each operator reads the reference's own inputs, so that the first one that differs is the one that is wrong. The
    network's outputs are compared from end to end as well: for .tflite they must be equal, for .onnx, where every layer
    may be off by one, they are shown. Exit code 1 when something differs.

    \b
    tinycompile verify model.tflite --samples 20
    """
    if samples < 1 or samples > 100_000:
        raise UsageError(f"{samples} samples", "--samples", "give a number from 1 to 100000")
    path = options.model_path(model)
    plan = plan_model(path, load_target("host"), options.import_options("model", None, shapes, states))
    given = read_inputs(Path(inputs), plan.interface) if inputs else random_inputs(plan.interface, samples)
    tflite = plan.graph.source_format == "tflite"
    reference: Reference
    if tflite:
        from tinycompile.verify.litert import LiteRt

        reference = LiteRt(path)
    else:
        from tinycompile.verify.onnxruntime import OnnxRuntime

        reference = OnnxRuntime(path)
    with working(f"comparing with {reference.name}"):
        result = verify_layers(plan, reference, given, 0.0 if tflite else 1.0, exact_floats=tflite)
    if as_json:
        first = result.first_difference
        data = asdict(result) | {"first_difference": None if first is None else asdict(first)}
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **data}))
    else:
        rows = [
            (
                str(r.index) if r.kind != "output" else "",
                r.kind,
                f"{r.differing:,} of {r.elems:,}" if r.differing else "equal",
                f"{r.max_difference:g}",
                one_line(r.tensor, 60),
            )
            for r in (*result.layers, *result.outputs)
        ]
        click.echo(table(("", "operator", "differing", "max LSB", "tensor"), rows))
        counts = f"{len(result.layers)} layers and {len(result.outputs)} outputs, {result.samples} samples"
        click.echo(f"{counts}, {result.reference}")
    first = result.first_difference
    if first is not None:
        raise CheckFailed(
            f"first difference: {first.kind} differs by up to {first.max_difference:g} LSB in {first.differing} of "
            f"{first.elems} elements (tolerance {result.tolerance:g})",
            f"operator {first.index}, {first.source}, tensor '{one_line(first.tensor, 80)}'",
            "please report this with the model",
        )
