"""What quantisation cost, for a terminal, as JSON and as a page with a plot."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tinycompile.errors import one_line
from tinycompile.ir.graph import Graph
from tinycompile.report.html import page_templates

if TYPE_CHECKING:
    from tinycompile.quantize.measure import LayerNoise, Measurement

SCHEMA_VERSION = 1
WORST_SHOWN = 8
WIDTH, HEIGHT = 960, 260
_MOST_DB, _MAX_BARS = 80.0, 400
_NAMED = 5  # of the noisiest layers, in the plot
_ROW, _LABEL = 20, 200  # of the memory plot: height of a bar, and width of what stands before it


@dataclass(frozen=True)
class Sizes:
    """Bytes of a network: its constants, and the arena of its plan of whole buffers."""

    weight_bytes: int
    arena_bytes: int


@dataclass(frozen=True)
class QuantizationReport:
    """`settings`: how it was quantised, in words. `floats`: operators that stayed float -> why. `weight_bits`: of each
    layer's weights, by what it makes; `wide`: activations that are int16, by their names in the float network.
    `held_out`: whether the samples measured with are others than those calibrated with."""

    model: str
    settings: str
    calibration_samples: int
    held_out: bool
    measured: Measurement
    floats: dict[str, str]
    weight_bits: dict[str, int]
    wide: list[str]
    before: Sizes
    after: Sizes


def weight_bytes(graph: Graph) -> int:
    """Bytes of a graph's constants."""
    return sum(t.nbytes for t in graph.tensors.values() if t.is_const)


def _db(value: float) -> str:
    return "exact" if value >= 200 else f"{value:.1f} dB"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(one_line(n, 40) for n in names[:3]) + more


def print_quantization(report: QuantizationReport) -> str:
    """For a terminal."""
    m = report.measured
    which = "held out from" if report.held_out else "the same as for"
    narrow = [name for name, bits in report.weight_bits.items() if bits < 8]
    stored = "int8" if not narrow else "int4" if len(narrow) == len(report.weight_bits) else "int8 and int4"
    lines = [
        f"{one_line(report.model, 60)}: int8, {report.settings}",
        f"  calibrated with {report.calibration_samples} samples, measured with {m.samples} {which} calibration",
        f"  weights  {report.before.weight_bytes:>12,} B float  {report.after.weight_bytes:>12,} B {stored}",
        f"  arena    {report.before.arena_bytes:>12,} B float  {report.after.arena_bytes:>12,} B int8 (whole buffers)",
        "",
    ]
    for output in m.outputs:
        top1 = "" if output.top1 is None else f", top-1 agrees in {_percent(output.top1)}"
        lines.append(f"  output {one_line(output.output, 50)}: SQNR {_db(output.sqnr)}{top1}")
    if m.metric is not None:
        lines.append(f"  metric: {m.metric[0]:g} float, {m.metric[1]:g} int8")
    lines += ["", f"  {'own noise':>10}  {'with all before':>15}  noisiest layers"]
    for layer in m.worst[:WORST_SHOWN]:
        lines.append(f"  {_db(layer.own):>10}  {_db(layer.sqnr):>15}  {layer.kind} {one_line(layer.tensor, 60)}")
    if narrow:
        lines += ["", f"  {len(narrow)} of {len(report.weight_bits)} layers have weights of 4 bits:"]
        lines += textwrap.wrap(
            ", ".join(one_line(name, 40) for name in narrow), 96, initial_indent="    ", subsequent_indent="    "
        )
    if report.wide:
        lines += ["", f"  {len(report.wide)} activations are int16: {_some(report.wide)}"]
    if report.floats:
        lines += ["", f"  {len(report.floats)} operators stay float:"]
        reasons: dict[str, list[str]] = {}
        for name, why in report.floats.items():
            reasons.setdefault(why, []).append(name)
        for why, names in reasons.items():
            lines.append(f"    {one_line(why, 70)}: {_some(names)}")
    return "\n".join(lines) + "\n"


def to_json(report: QuantizationReport) -> dict[str, Any]:
    """One object with `schema_version`. SQNR in dB, 200 where nothing differs."""
    m = report.measured
    return {
        "schema_version": SCHEMA_VERSION,
        "model": report.model,
        "settings": report.settings,
        "calibration_samples": report.calibration_samples,
        "samples": m.samples,
        "held_out": report.held_out,
        "sqnr": m.sqnr,
        "top1": m.top1,
        "metric": None if m.metric is None else {"float": m.metric[0], "int8": m.metric[1]},
        "outputs": [asdict(o) for o in m.outputs],
        "layers": [asdict(layer) for layer in m.layers],
        "worst": [layer.tensor for layer in m.worst[:WORST_SHOWN]],
        "float_operators": report.floats,
        "weight_bits": report.weight_bits,
        "int16_activations": report.wide,
        "float": asdict(report.before),
        "int8": asdict(report.after),
    }


def _bars(layers: Sequence[LayerNoise]) -> list[dict[str, Any]]:
    """Two bars for each layer, in the order of the network: dB with all before, and of its own."""
    step = WIDTH / max(len(layers), 1)

    def height(db: float) -> float:
        return min(max(db, 0.0), _MOST_DB) * HEIGHT / _MOST_DB

    return [
        {
            "x": k * step,
            "width": max(step * 0.8, 0.5),
            "own": height(layer.own),
            "total": height(layer.sqnr),
            "title": f"{layer.kind} {one_line(layer.tensor, 60)}: {_db(layer.own)}, {_db(layer.sqnr)} with all before",
        }
        for k, layer in enumerate(layers)
    ]


def _marks(shown: Sequence[LayerNoise], bars: Sequence[dict[str, Any]], worst: Sequence[LayerNoise]) -> list[Any]:
    """The noisiest layers: their names, and a number over the bar of each that is shown."""
    places = {layer.tensor: bar for layer, bar in zip(shown, bars, strict=True)}
    return [
        {
            "number": number,
            "bar": places.get(layer.tensor),
            "text": f"{layer.kind} {one_line(layer.tensor, 80)}: {_db(layer.own)} of its own",
        }
        for number, layer in enumerate(worst[:_NAMED], start=1)
    ]


def _memory(report: QuantizationReport) -> list[dict[str, Any]]:
    """A bar for the constants and the arena of both networks."""
    rows = [
        (f"{what}, {which}", size, which)
        for what, sizes in (
            ("constants in flash", (report.before.weight_bytes, report.after.weight_bytes)),
            ("arena", (report.before.arena_bytes, report.after.arena_bytes)),
        )
        for which, size in zip(("float", "int8"), sizes, strict=True)
    ]
    most = max(1, *(size for _, size, _ in rows))
    return [
        {
            "label": label,
            "y": k * _ROW,
            "width": size / most * (WIDTH - _LABEL - 120),
            "text": f"{size:,} B",
            "style": "own" if which == "float" else "total",
        }
        for k, (label, size, which) in enumerate(rows)
    ]


def render_page(report: QuantizationReport) -> str:
    """A page without scripts. Names from the model file are escaped."""
    layers = report.measured.layers[:_MAX_BARS]
    bars = _bars(layers)
    return (
        page_templates()
        .get_template("quantization.html.j2")
        .render(
            report=report,
            text=print_quantization(report),
            bars=bars,
            marks=_marks(layers, bars, report.measured.worst),
            memory=_memory(report),
            label=_LABEL,
            row=_ROW,
            hidden=len(report.measured.layers) - len(layers),
            ticks=[
                {"y": HEIGHT - db * HEIGHT / _MOST_DB, "label": f"{db} dB"} for db in range(0, int(_MOST_DB) + 1, 20)
            ],
            width=WIDTH,
            height=HEIGHT,
            layers=report.measured.worst[:_MAX_BARS],
            db=_db,
            one_line=one_line,
        )
    )
