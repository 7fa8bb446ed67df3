"""The report for a terminal: plain ASCII, at most 100 columns, in colour where stdout is a terminal.

The colours repeat what the text says and are never needed to read it.
"""

from __future__ import annotations

import re
import sys
import textwrap
from typing import TYPE_CHECKING

from tinycompile.errors import one_line
from tinycompile.ir.plan import Pop
from tinycompile.report.summary import Report

if TYPE_CHECKING:
    from rich.text import Text

WIDTH = 100
BAR = 40
MAP_ROWS = 12
RECOMPUTED_ROWS = 12
MAP_COLUMNS = 72
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_COLOURS = (
    "cyan",
    "magenta",
    "yellow",
    "green",
    "bright_blue",
    "bright_cyan",
    "bright_magenta",
    "bright_yellow",
    "white",
)
_MAP_LINE = re.compile(r" +[\d,]+ \|[A-Za-z.]+\|")


def _bar(part: int, whole: int) -> str:
    filled = 0 if whole <= 0 else min(BAR, -(-part * BAR // whole))
    return "#" * filled


def tensor_letters(report: Report) -> dict[str, str]:
    """Each run-time tensor's letter, in the order in which they come to life."""
    names = dict.fromkeys(life.tensor for life in report.plan.lives)
    return {name: _LETTERS[k % len(_LETTERS)] for k, name in enumerate(names)}


def memory_map(report: Report) -> list[str]:
    """Arena address (up) against step (right): a letter per tensor, '.' where the byte is free."""
    plan = report.plan
    steps, arena = len(plan.steps), plan.arena_bytes
    if not steps or not arena:
        return []
    columns = min(steps, MAP_COLUMNS)
    letters = tensor_letters(report)
    grid = [["."] * columns for _ in range(MAP_ROWS)]
    for life in plan.lives:
        low = life.low * MAP_ROWS // arena
        high = max(-(-life.high * MAP_ROWS // arena), low + 1)
        for column in range(-(-life.first * columns // steps), columns):
            if column * steps // columns > life.last:
                break
            for row in range(low, min(high, MAP_ROWS)):
                grid[row][column] = letters[life.tensor]
    width = len(f"{arena:,}")
    lines = ["Memory map: arena address against step (a letter per tensor, '.' free)"]
    for row in reversed(range(MAP_ROWS)):
        lines.append(f"  {arena * (row + 1) // MAP_ROWS:>{width},} |{''.join(grid[row])}|")
    peak = min(plan.peak_step * columns // steps, columns - 1)
    lines.append(f"  {'':>{width}}  {' ' * peak}^ peak: step {plan.peak_step}")
    return lines


def _without_operator(report: Report) -> str:
    """What happens at a peak where no operator runs."""
    step = report.plan.steps[report.plan.peak_step]
    return "a row of an output is given" if isinstance(step, Pop) else "a row of the input arrives"


def _times(report: Report) -> str:
    """How much more is computed than the network asks for."""
    if report.macs_executed == report.macs_model or not report.macs_model:
        return ""
    return f", {report.macs_executed / report.macs_model:.3f} times the network's {report.macs_model:,}"


def recompute_table(report: Report) -> list[str]:
    """The layers of which most is computed twice, and what a smaller window there would save over all layers."""
    layers = report.most_recomputed(RECOMPUTED_ROWS)
    if not layers:
        return []
    lines = ["Computed twice, in MACs; and what a window smaller by 2 would save over all layers:"]
    for r in layers:
        saved = f"-{r.saved_macs:,}" if r.saved_macs else ""
        lines.append(f"  {one_line(r.source, 54):<56}{r.macs:>12,} +{r.extra_macs:>10,}  {saved:>11}")
    if len(report.plan.recomputed) > len(layers):
        lines.append(f"  and {len(report.plan.recomputed) - len(layers)} layers more")
    return lines


def render_text(report: Report) -> str:
    """The whole report: what fits, where the peak is, the memory map."""
    plan, lines = (
        report.plan,
        [f"{report.plan.interface.prefix} for {report.target.name}: {report.target.description}", ""],
    )
    for fit in report.fits:
        verdict = "FITS" if fit.fits else "DOES NOT FIT"
        has = "no limit" if fit.has is None else f"of {fit.has:,} B ({fit.limit_from})"
        lines.append(f"{fit.region:<6}{fit.needs.value:>12,} B {fit.needs.kind:<9}{has:<34}{verdict}")
        if fit.has is not None:
            lines.append(f"      [{_bar(fit.needs.value, fit.has):<{BAR}}]")
    rows = [
        ("arena", report.arena.value, "exact", f"peak at step {plan.peak_step}"),
        ("  input", report.role_bytes("input"), "exact", ""),
        ("  output", report.role_bytes("output"), "exact", "rows not given yet" if report.given_bytes else ""),
        ("  intermediate", report.role_bytes("intermediate"), "exact", ""),
        ("  shared in place", -report.shared_bytes, "exact", ""),
        ("  scratch", report.scratch_bytes, "exact", ""),
        ("  padding", report.padding_bytes, "exact", "alignment and gaps"),
        *([("state", state, "exact", "kept between inferences")] if (state := plan.interface.state_bytes) else []),
        ("stack", report.stack.value, report.stack.kind, ""),
        ("weights", report.weights.value, report.weights.kind, report.weights_note),
        ("  schedule", report.schedule.value, report.schedule.kind, "flash: order and addresses of rows"),
        ("code", report.code.value, report.code.kind, "flash"),
    ]
    lines.append("")
    for name, value, kind, note in rows:
        if value or not name.startswith("  "):
            lines.append(f"{name:<18}{value:>12,} B  {kind:<9}{note}".rstrip())
    lines.append(f"{'MACs':<18}{report.macs_executed:>12,}    exact    per inference{_times(report)}")
    for note in report.notes:
        lines += textwrap.wrap(note, WIDTH)
    if report.given_bytes:
        text = (
            f"The outputs, {report.given_bytes:,} B, are given row by row and not counted but for rows not given yet."
        )
        lines += textwrap.wrap(text, WIDTH)
    certificate = plan.certificate
    if certificate.optimal:
        proof = f"The arena is the least for {certificate.space}: {certificate.method}."
    elif not certificate.lower_bound_bytes:
        proof = f"The arena is the least that was found for {certificate.space}: {certificate.method}."
    else:
        gap = plan.arena_bytes - certificate.lower_bound_bytes
        proof = f"The arena is at most {gap:,} B above the least for {certificate.space}: {certificate.method}."
    lines += textwrap.wrap(proof, WIDTH)
    if certificate.model is not None:
        lines += textwrap.wrap(report.model_bound_words, WIDTH)
    if report.steps:
        step = report.peak_operator
        what = f"{step.kind}, {one_line(step.source, 50)}" if step else _without_operator(report)
        lines += ["", f"Live at the peak, step {plan.peak_step} ({what}):"]
        letters = tensor_letters(report)
        lines += [
            f"  {letters.get(t.name, ' ')} {one_line(t.name, 54):<56}{t.nbytes:>10,} B  {t.role}"
            for t in report.peak_live
        ]
    table = recompute_table(report)
    lines += ["", *table] if table else []
    lines += ["", *memory_map(report)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def coloured(text: str) -> Text:
    """`text` of `render_text` with colours: verdicts, bars, and a colour per letter of the memory map."""
    from rich.text import Text

    shown = Text(text)
    shown.highlight_regex(r"(?m)\bFITS$", "bold green")
    shown.highlight_regex(r"(?m)\bDOES NOT FIT$", "bold red")
    shown.highlight_regex(r"\[#+", "blue")
    shown.highlight_regex(r" (exact|emulated|estimate)\b", "dim")
    start = 0
    for line in text.splitlines(keepends=True):
        if _MAP_LINE.match(line):
            for column in range(line.index("|") + 1, line.rindex("|")):
                if line[column] != ".":
                    colour = _COLOURS[_LETTERS.index(line[column]) % len(_COLOURS)]
                    shown.stylize(f"black on {colour}", start + column, start + column + 1)
        start += len(line)
    return shown


def print_report(report: Report) -> None:
    """The report on stdout."""
    text = render_text(report)
    if not sys.stdout.isatty():
        print(text, flush=True)
        return
    from rich.console import Console

    Console().print(coloured(text), soft_wrap=True)
