"""The report as one page: figures, the memory map as inline SVG, and the step table.

Self-contained, without scripts, under 200 KB whatever the model: only the largest rectangles of the map and the steps
around the peak are shown, and the page says what it leaves out.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import jinja2

from tinycompile.errors import one_line
from tinycompile.ir.plan import Life, Plan
from tinycompile.report.summary import Report
from tinycompile.resources import data_dir

WIDTH, HEIGHT = 960, 420
MAX_TABLE_ROWS = 200
MAX_BOXES = 300
MAX_PEAK_ROWS = 50
MAX_RECOMPUTED_ROWS = 40
MAX_ROW_BOXES = 2500


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
class Band:
    """All rows of a tensor in the memory map of a row program, as SVG paths: even rows, and odd rows a shade darker, so
    that rings show as stripes; `label` at (x, y) names what made it where there is room. Tiles of one map have its hue,
    each after the first (`tile`) another lightness, every second one outlines."""

    even: str
    odd: str
    hue: int
    title: str
    x: float
    y: float
    label: str
    tile: int


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


def _rectangle(life: Life, steps: int, arena: int) -> str:
    x, y = life.first * WIDTH / steps, HEIGHT - life.high * HEIGHT / arena
    width, height = (life.last - life.first + 1) * WIDTH / steps, (life.high - life.low) * HEIGHT / arena
    return f"M{x:.2f} {y:.1f}h{width:.2f}v{height:.1f}h{-width:.2f}z"


def memory_bands(report: Report) -> list[Band]:
    """One band per tensor of a row program; the smallest rows of the largest programs are left out."""
    plan = report.plan
    steps, arena = len(plan.steps), max(plan.arena_bytes, 1)
    makers = plan.graph.producers()

    def area(life: Life) -> int:
        return (life.last - life.first + 1) * (life.high - life.low)

    shown: dict[str, list[Life]] = {}
    for life in sorted(plan.lives, key=area)[-MAX_ROW_BOXES:]:
        shown.setdefault(life.tensor, []).append(life)
    bands = []
    for name in dict.fromkeys(life.tensor for life in plan.lives if life.tensor in shown):
        lives = sorted(shown[name], key=lambda life: (life.y0, life.first))
        parity = [[x for x in lives if x.y0 % 2 == k] for k in (0, 1)]
        even, odd = ("".join(_rectangle(x, steps, arena) for x in half) for half in parity)
        text = one_line(name, 60)
        made_by = makers[name].kind if name in makers else text
        first, last = min(x.first for x in lives), max(x.last for x in lives)
        low, high = min(x.low for x in lives), max(x.high for x in lives)
        places = len({x.low for x in lives})
        rows = sum(x.y1 - x.y0 for x in lives)
        title = f"{text} ({made_by}): {rows} rows in {places} places of [{low:,}, {high:,}), steps {first} to {last}"
        largest = max(lives, key=area)
        width = (largest.last - largest.first + 1) * WIDTH / steps
        fits = width > 6.5 * len(made_by) + 8 and (largest.high - largest.low) * HEIGHT / arena > 12
        x, y = largest.first * WIDTH / steps, HEIGHT - largest.high * HEIGHT / arena
        of, _, tile = name.partition("@")
        number = int(tile) if tile.isdigit() else 0
        label = f"{made_by}, tile {number}" if tile.isdigit() else made_by
        bands.append(Band(even, odd, _hue(of), title, x, y, label if fits else "", number))
    return bands


def overwritten(plan: Plan) -> str:
    """A mark wherever a step writes a row over one that it reads for the last time, as one SVG path."""
    steps, arena = max(len(plan.steps), 1), max(plan.arena_bytes, 1)
    ending: dict[int, list[Life]] = {}
    for life in plan.lives:
        ending.setdefault(life.last, []).append(life)
    marks = []
    for life in plan.lives:
        for old in ending.get(life.first, ()):
            low, high = max(old.low, life.low), min(old.high, life.high)
            if old.first < life.first and old.tensor != life.tensor and low < high:
                x, y = life.first * WIDTH / steps, HEIGHT - high * HEIGHT / arena
                marks.append(f"M{x:.2f} {y:.1f}v{(high - low) * HEIGHT / arena:.1f}")
    return "".join(marks[:: -(-len(marks) // MAX_ROW_BOXES)] if marks else [])


@functools.cache
def page_templates() -> jinja2.Environment:
    """The templates of pages and pictures; everything put into them is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(data_dir("templates") / "report"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _render(template: str, report: Report, standalone: bool) -> str:
    plan = report.plan
    steps, arena = max(len(plan.steps), 1), max(plan.arena_bytes, 1)
    every = max(1, steps // 16)
    at_peak = next((k for k, row in enumerate(report.steps) if row.at_peak), 0)
    first_row = max(0, min(at_peak - MAX_TABLE_ROWS // 2, len(report.steps) - MAX_TABLE_ROWS))
    return (
        page_templates()
        .get_template(template)
        .render(
            report=report,
            plan=plan,
            standalone=standalone,
            boxes=[] if plan.row_program else memory_boxes(report),
            bands=memory_bands(report) if plan.row_program else [],
            overwritten=overwritten(plan) if plan.row_program else "",
            width=WIDTH,
            height=HEIGHT,
            peak_x=plan.peak_step * WIDTH / steps,
            peak_width=WIDTH / steps,
            step_ticks=[Tick((s + 0.5) * WIDTH / steps, str(s)) for s in range(0, steps, every)],
            byte_ticks=[Tick(HEIGHT - k * HEIGHT / 4, f"{arena * k // 4:,}") for k in range(5)],
            rows=report.steps[first_row : first_row + MAX_TABLE_ROWS],
            peak_rows=report.peak_live[:MAX_PEAK_ROWS],
            hidden_peak_rows=max(0, len(report.peak_live) - MAX_PEAK_ROWS),
            hue=lambda name: _hue(name.partition("@")[0]),
            recomputed=report.most_recomputed(MAX_RECOMPUTED_ROWS),
            hidden_rows=max(0, len(report.steps) - MAX_TABLE_ROWS),
            peak_bytes=max((s.live_bytes for s in report.steps), default=1) or 1,
            one_line=one_line,
        )
    )


def render_html(report: Report) -> str:
    """The page. Names from the model file are escaped."""
    return _render("report.html.j2", report, standalone=False)


def render_svg(report: Report) -> str:
    """The memory map by itself, as an SVG file."""
    return _render("memory_map.svg.j2", report, standalone=True)
