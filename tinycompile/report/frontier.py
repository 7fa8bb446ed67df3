"""The frontier of arena bytes against recompute: a table, JSON, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinycompile.costs import estimated_cycles, work_of
from tinycompile.ir.emission import Emission
from tinycompile.ir.plan import Plan
from tinycompile.report.html import page_templates
from tinycompile.target import Target

SCHEMA_VERSION = 1
WIDTH, HEIGHT, GAP = 720, 220, 70


@dataclass(frozen=True)
class FrontierRow:
    """One plan. Bytes are exact; `recompute` is MACs executed over those of the network; `cycles` is an estimate.
    `model_bound_bytes`: no plan of the model that recomputes no more needs less."""

    arena_bytes: int
    recompute: float
    macs: int
    runs: int
    schedule_bytes: int
    stack_bytes: int
    cycles: int | None
    how: str
    model_bound_bytes: int | None = None


def frontier_row(plan: Plan, target: Target, emission: Emission) -> FrontierRow:
    """The figures of a plan."""
    work = work_of(plan)
    macs = work.all_macs
    return FrontierRow(
        plan.arena_bytes,
        macs / plan.network_macs if plan.network_macs else 1.0,
        macs,
        work.runs,
        emission.schedule_bytes,
        emission.stack_bytes,
        estimated_cycles(plan, target),
        plan.certificate.space,
        None if plan.certificate.model is None else plan.certificate.model.nbytes,
    )


def undominated(rows: Sequence[FrontierRow]) -> list[FrontierRow]:
    """The rows that no other beats in bytes, recompute and runs together, most bytes first."""

    def beats(a: FrontierRow, b: FrontierRow) -> bool:
        better = a.arena_bytes <= b.arena_bytes and a.macs <= b.macs and a.runs <= b.runs
        return better and (a.arena_bytes, a.macs, a.runs) != (b.arena_bytes, b.macs, b.runs)

    return sorted((r for r in rows if not any(beats(o, r) for o in rows)), key=lambda r: -r.arena_bytes)


def render_table(rows: Sequence[FrontierRow]) -> str:
    """For a terminal. Cycles are an estimate, all else is exact; `bound`: no plan of the model that recomputes no more
    needs less."""
    lines = [f"{'arena B':>10} {'bound B':>10} {'MACs x':>7} {'cycles ~':>13} {'runs':>6} {'tables B':>9}  how"]
    for r in rows:
        cycles = "-" if r.cycles is None else f"{r.cycles:,}"
        bound = "-" if r.model_bound_bytes is None else f"{r.model_bound_bytes:,}"
        work = f"{r.recompute:>7.3f} {cycles:>13} {r.runs:>6,}"
        lines.append(f"{r.arena_bytes:>10,} {bound:>10} {work} {r.schedule_bytes:>9,}  {r.how}")
    return "\n".join(lines) + "\n"


def to_json(rows: Sequence[FrontierRow], model: str, target: str, input_mode: str, output_mode: str) -> dict[str, Any]:
    """One object with `schema_version`."""
    keys = (
        "arena_bytes",
        "recompute",
        "macs",
        "runs",
        "schedule_bytes",
        "stack_bytes",
        "cycles",
        "how",
        "model_bound_bytes",
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model,
        "target": target,
        "input_mode": input_mode,
        "output_mode": output_mode,
        "frontier": [{key: getattr(r, key) for key in keys} for r in rows],
    }


def render_plot(rows: Sequence[FrontierRow], title: str) -> str:
    """An SVG file: MACs executed over the network's, and estimated cycles, against arena bytes."""
    panels = [_panel(rows, [r.recompute for r in rows], "MACs executed / MACs of the network", "{:.2f}")]
    if all(r.cycles is not None for r in rows):
        panels.append(_panel(rows, [(r.cycles or 0) / 1e6 for r in rows], "estimated cycles, millions", "{:.1f}"))
    return (
        page_templates()
        .get_template("frontier.svg.j2")
        .render(panels=panels, width=WIDTH, height=HEIGHT, gap=GAP, title=title)
    )


def _panel(rows: Sequence[FrontierRow], values: Sequence[float], name: str, label: str) -> dict[str, Any]:
    most_bytes = max(r.arena_bytes for r in rows) * 1.05
    low, high = min(values), max(values)
    low, high = (low - 0.08 * (high - low), high + 0.12 * (high - low)) if high > low else (low - 0.5, high + 0.5)

    def x(nbytes: float) -> float:
        return nbytes * WIDTH / most_bytes

    def y(value: float) -> float:
        return HEIGHT - (value - low) * HEIGHT / (high - low)

    return {
        "name": name,
        "points": [
            {"x": x(r.arena_bytes), "y": y(v), "title": f"{r.arena_bytes:,} bytes, {label.format(v)}: {r.how}"}
            for r, v in zip(rows, values, strict=True)
        ],
        "x_ticks": [{"at": x(most_bytes * k / 6), "label": f"{most_bytes * k / 6 / 1000:,.1f} KB"} for k in range(7)],
        "y_ticks": [
            {"at": y(low + (high - low) * k / 4), "label": label.format(low + (high - low) * k / 4)} for k in range(5)
        ],
    }
