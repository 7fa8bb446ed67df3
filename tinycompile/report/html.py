"""The report as one page: figures, the memory map as inline SVG, and the step table.

Self-contained, without scripts, under 200 KB whatever the model: only the largest rectangles of the map and the steps
around the peak are shown, and the page says what it leaves out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import jinja2

from tinycompile.errors import one_line
from tinycompile.report.summary import Report
from tinycompile.resources import data_dir

WIDTH, HEIGHT = 960, 420
MAX_TABLE_ROWS = 200
MAX_BOXES = 300
MAX_PEAK_ROWS = 50


@dataclass(frozen=True)
class Box:
    """A tensor in the memory map: pixels, colour, role, what made it, and the text shown on hover."""

    x: float
    y: float
    width: float
    height: float
    hue: int
    role: str
    label: str
    title: str


@dataclass(frozen=True)
class Tick:
    position: float
    label: str


def _hue(name: str) -> int:
    """A colour that stays the same for a tensor whatever else is in the graph."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[0] * 360 // 256


def memory_boxes(report: Report) -> list[Box]:
    """One rectangle per tensor, address range and run of steps; address 0 is at the bottom."""
    plan = report.plan
    steps, arena = max(len(plan.steps), 1), max(plan.arena_bytes, 1)
    roles = {**dict.fromkeys(plan.graph.outputs, "output"), **dict.fromkeys(plan.graph.inputs, "input")}
    makers = plan.graph.producers()
    boxes = []
    for life in plan.lives:
        width = (life.last - life.first + 1) * WIDTH / steps
        height = (life.high - life.low) * HEIGHT / arena
        text = one_line(life.tensor, 60)
        made_by = makers[life.tensor].kind if life.tensor in makers else text
        title = f"{text} ({made_by}): {life.high - life.low:,} bytes at {life.low:,}, steps {life.first} to {life.last}"
        label = made_by if width > 6.5 * len(made_by) + 8 and height > 14 else ""
        x, y = life.first * WIDTH / steps, HEIGHT - life.high * HEIGHT / arena
        boxes.append(Box(x, y, width, height, _hue(life.tensor), roles.get(life.tensor, "intermediate"), label, title))
    # What goes is too small to be seen; what stays keeps the order of time.
    largest = sorted(range(len(boxes)), key=lambda k: -boxes[k].width * boxes[k].height)[:MAX_BOXES]
    return [boxes[k] for k in sorted(largest)]


def _render(template: str, report: Report, standalone: bool) -> str:
    plan = report.plan
    steps, arena = max(len(plan.steps), 1), max(plan.arena_bytes, 1)
    every = max(1, steps // 16)
    at_peak = next((k for k, row in enumerate(report.steps) if row.at_peak), 0)
    first_row = max(0, min(at_peak - MAX_TABLE_ROWS // 2, len(report.steps) - MAX_TABLE_ROWS))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(data_dir("templates") / "report"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(
        report=report,
        plan=plan,
        standalone=standalone,
        boxes=memory_boxes(report),
        width=WIDTH,
        height=HEIGHT,
        peak_x=plan.peak_step * WIDTH / steps,
        peak_width=WIDTH / steps,
        step_ticks=[Tick((s + 0.5) * WIDTH / steps, str(s)) for s in range(0, steps, every)],
        byte_ticks=[Tick(HEIGHT - k * HEIGHT / 4, f"{arena * k // 4:,}") for k in range(5)],
        rows=report.steps[first_row : first_row + MAX_TABLE_ROWS],
        peak_rows=report.peak_live[:MAX_PEAK_ROWS],
        hidden_peak_rows=max(0, len(report.peak_live) - MAX_PEAK_ROWS),
        hue=_hue,
        hidden_rows=max(0, len(report.steps) - MAX_TABLE_ROWS),
        peak_bytes=max((s.live_bytes for s in report.steps), default=1) or 1,
        one_line=one_line,
    )


def render_html(report: Report) -> str:
    """The page. Names from the model file are escaped."""
    return _render("report.html.j2", report, standalone=False)


def render_svg(report: Report) -> str:
    """The memory map by itself, as an SVG file."""
    return _render("memory_map.svg.j2", report, standalone=True)
