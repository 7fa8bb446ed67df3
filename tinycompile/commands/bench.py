"""``tinycompile bench``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from tinycompile.codegen.c import step_operators
from tinycompile.commands import options
from tinycompile.commands.lists import SCHEMA_VERSION, table
from tinycompile.commands.progress import working
from tinycompile.commands.samples import random_inputs
from tinycompile.errors import UsageError, one_line
from tinycompile.ir.plan import Plan
from tinycompile.ops.registry import operator
from tinycompile.pipeline import build_model
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target


def layers_of(plan: Plan, counted: dict[int, int]) -> list[dict[str, Any]]:
    """A row per operator of the plan that has code, in the plan's order. `counted`: instructions by step function; an
    operator whose rows are made in several has their sum."""
    total: dict[int, int] = {}
    for step, op in enumerate(step_operators(plan)):
        total[op] = total.get(op, 0) + counted.get(step, 0)
    rows = []
    for op in sorted(total):
        node = plan.graph.node(plan.ops[op])
        macs = operator(node.op.kind).macs(node)
        rows.append(
            {
                "op": node.op.kind,
                "source": str(node.op.source),
                "out": list(node.out.shape),
                "kernel": plan.variants[op],
                "macs": macs,
                "instructions": total[op],
                "instructions_per_mac": round(total[op] / macs, 3) if macs else None,
                "weight_bytes": sum(t.nbytes for t in node.inputs if t is not None and t.is_const),
            }
        )
    return rows


def earlier(path: str, layers: list[dict[str, Any]]) -> list[int | None]:
    """The instructions of these layers in a file that ``--json`` wrote, by source and output; UsageError for another
    file."""
    try:
        before = json.loads(Path(path).read_text(encoding="utf-8"))["layers"]
        known = {(b["source"], tuple(b["out"])): int(b["instructions"]) for b in before}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"'{path}' has no layers: {type(error).__name__}", "--compare", "give a file that `bench --json` wrote"
        ) from None
    return [known.get((layer["source"], tuple(layer["out"]))) for layer in layers]


@click.command()
@click.argument("model")
@click.option("--on", default="cortex-m7", show_default=True, metavar="CORE", help="A core of `tinycompile targets`.")
@click.option("--emulator", type=click.Choice(["unicorn", "qemu"]), help="Default: unicorn where it can run the build.")
@click.option("--compare", metavar="FILE.json", help="What `bench --json` wrote before: each layer against it.")
@options.budget_options
@options.goal_options
@options.model_options
@options.json_option
def bench(
    model: str,
    on: str,
    emulator: str | None,
    compare: str | None,
    sram: str | None,
    flash: str | None,
    wanted: options.GoalOptions,
    io: str,
    name: str | None,
    shapes: tuple[str, ...],
    states: tuple[str, ...],
    dynamic_range: str,
    dump_after: str | None,
    as_json: bool,
) -> None:
    """Executed instructions of MODEL, layer by layer, on an emulated core: exact counts, not times.

    One inference on random inputs. An instruction is not a cycle: loads, branches and flash cost more than one, and two
    may go at once on a Cortex-M7. Ratios between builds for one core are what the counts are for.

    \b
    tinycompile bench model.tflite --on cortex-m4
    tinycompile bench model.tflite --on cortex-m7 --json > before.json
    tinycompile bench model.tflite --on cortex-m7 --minimize sram --compare before.json
    """
    from tinycompile.emulate.target import run_target

    target = load_target(on)
    unlimited = Budgets(2**62, 2**62)  # what fits is the build's question; here the model is only run
    built = build_model(
        options.model_path(model),
        target,
        unlimited if sram is None and flash is None else options.budgets(sram, flash),
        options.import_options(io, name, shapes, states, dynamic_range),
        options.dumper(dump_after),
        wanted.goal(sram),
    )
    plan = built.plan
    with tempfile.TemporaryDirectory(prefix="tinycompile-") as folder:
        for file, text in built.files.items():
            (Path(folder) / file).write_text(text, encoding="utf-8")
        with working(f"one inference on {on}"):
            inputs = random_inputs(plan.interface, 1)
            run = run_target(Path(folder), plan.interface, target, inputs, emulator=emulator, steps=True)
    layers = layers_of(plan, dict(run.steps[0]))
    before = None if compare is None else earlier(compare, layers)
    summary = {
        "schema_version": SCHEMA_VERSION,
        "on": on,
        "emulator": run.emulator,
        "compiler": run.objects.compiler,
        "instructions": run.per_sample[0],
        "macs": built.report.macs_model,
        "arena_bytes": plan.arena_bytes,
        "stack_bytes": run.stack_bytes,
        "text_bytes": run.text_bytes,
        "rodata_bytes": run.rodata_bytes,
        "layers": layers,
    }
    if as_json:
        click.echo(json.dumps(summary))
        return
    header = ["layer", "output", "kernel", "MACs", "instructions", "per MAC", "share"]
    rows = []
    for k, layer in enumerate(layers):
        per_mac = layer["instructions_per_mac"]
        rows.append(
            [
                f"{layer['op']}, {one_line(layer['source'], 40)}",
                "x".join(str(d) for d in layer["out"]),
                layer["kernel"],
                f"{layer['macs']:,}",
                f"{layer['instructions']:,}",
                "-" if per_mac is None else f"{per_mac:.2f}",
                f"{100 * layer['instructions'] / run.per_sample[0]:.1f} %",
            ]
        )
        if before is not None:
            old = before[k]
            rows[-1].append("new" if not old else f"{layer['instructions'] / old:.3f} x")
    click.echo(table([*header, *(["against before"] if before is not None else [])], rows))
    for key in ("instructions", "arena_bytes", "stack_bytes", "text_bytes", "rodata_bytes"):
        click.echo(f"  {key.replace('_', ' '):<28}{summary[key]:,}")
    click.echo(f"  {'emulator, compiler':<28}{run.emulator}, {run.objects.compiler}")
