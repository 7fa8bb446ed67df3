"""The report: its figures against hand-made counts, its verdicts at the limit, and the pages whatever the names."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from random_networks import conv, depthwise
from schedule_graphs import GraphBuilder, autoencoder, inverted_bottleneck, resnet8

from tinycompile.codegen.c import emit_c
from tinycompile.errors import DoesNotFitError
from tinycompile.ir.graph import Attrs, Graph
from tinycompile.ir.interface import InputMode
from tinycompile.ir.plan import ModelBound
from tinycompile.ir.types import DType
from tinycompile.passes.fuse_bottlenecks import bottlenecks, fuse_bottlenecks
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.report.html import HEIGHT, MAX_BOXES, WIDTH, memory_boxes, render_html, render_svg
from tinycompile.report.summary import Budgets, Report, summarize
from tinycompile.report.text import coloured, render_text, tensor_letters
from tinycompile.schedule import RowPlanner, plan_graph
from tinycompile.target import load_target

UNLIMITED = Budgets(None, None)
GRAPHS = {"resnet8": resnet8, "autoencoder": autoencoder, "inverted_bottleneck": inverted_bottleneck}
HOSTILE = "<script>alert('x')</script>\"{{ 7*7 }}\n]]>--><b>\x00|" + "y" * 10_000


def report_of(graph: Graph, budgets: Budgets = UNLIMITED) -> Report:
    plan = plan_graph(graph, load_target("cortex-m7"), prefix="net")
    return summarize(plan, load_target("cortex-m7"), budgets, emit_c(plan))


def float_edges() -> Graph:
    """A float input of 256 bytes, live at the peak with its 64 quantised bytes (made in place)."""
    b = GraphBuilder()
    return b.graph([b.quantize(b.input((1, 8, 8, 1), DType.FLOAT32))])


def renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The same graph under other tensor names."""

    def new(name: str) -> str:
        return names.get(name, name)

    return replace(
        graph,
        tensors={new(n): replace(t, name=new(n)) for n, t in graph.tensors.items()},
        ops=tuple(replace(o, inputs=tuple(map(new, o.inputs)), outputs=tuple(map(new, o.outputs))) for o in graph.ops),
        inputs=tuple(map(new, graph.inputs)),
        outputs=tuple(map(new, graph.outputs)),
    )


def long_chain(ops: int) -> Graph:
    """Many operators on one row, each tensor with a long name full of characters that HTML escapes."""
    b = GraphBuilder()
    name = b.input((1, 2, 2, 4))
    for _ in range(ops):
        name = b.op("logistic", (name,), Attrs())
    graph = b.graph([name])
    return renamed(graph, {n: f"{k}<&'\">" * 100 for k, n in enumerate(graph.tensors)})


def test_a_fused_bottleneck_is_reported_with_its_scratch_and_its_recompute() -> None:
    b = GraphBuilder()
    x = conv(b, b.input((1, 9, 9, 3)), 4, (3, 3))
    y = depthwise(b, conv(b, x, 24, (1, 1)), (3, 3), pad=(1, 1, 1, 1))
    apart = b.graph([b.add(x, conv(b, y, 4, (1, 1)))])
    before = report_of(apart).to_json()
    fused = fuse_bottlenecks(apart, {block.name: 1 for block in bottlenecks(apart)})
    report = replace(report_of(fused), macs_model=before["macs_model"])
    after = report.to_json()
    sums = 4 * 7 * 4  # of a row: less than the other 16 of 24 channels under a window
    assert report.scratch_bytes == 10 * 8 + sums
    assert after["peak"]["scratch_bytes"] == 10 * 8 + sums
    assert before["macs_executed"] == before["macs_model"] == after["macs_model"]
    assert after["macs_executed"] - after["macs_model"] == (3 * 7 - 2 - 7) * 7 * 4 * 24  # rows expanded again
    assert render_text(report)
    assert render_html(report)


def test_rings_of_other_operators_are_part_of_the_peak() -> None:
    """Two blocks in turn: whichever makes a row at the peak, the other keeps its expanded pixels."""
    b = GraphBuilder()
    x = b.input((1, 24, 8, 3))
    for _ in range(2):
        x = conv(b, depthwise(b, conv(b, x, 7, (1, 1)), (3, 3), pad=(1, 1, 1, 1)), 3, (1, 1))
    graph = b.graph([b.mean(x)])
    kept = stream_reductions(fuse_bottlenecks(graph, {}, [block.name for block in bottlenecks(graph)]))
    target = load_target("cortex-m7")
    plan = RowPlanner(kept, target, prefix="net", input_mode=InputMode.STREAMED).plan()
    report = summarize(plan, target, UNLIMITED, emit_c(plan))
    peak = report.to_json()["peak"]
    assert peak["scratch_bytes"] == 2 * (2 * 8 + 3 + 1) * 7
    roles = peak["input_bytes"] + peak["output_bytes"] + peak["intermediate_bytes"]
    assert roles + peak["scratch_bytes"] + peak["padding_bytes"] - peak["shared_in_place_bytes"] == report.arena.value
    assert min(peak["padding_bytes"], peak["shared_in_place_bytes"]) >= 0


@pytest.mark.parametrize("name", GRAPHS)
def test_the_parts_of_the_peak_add_up_to_the_arena(name: str) -> None:
    report = report_of(GRAPHS[name]())
    peak = report.to_json()["peak"]
    roles = peak["input_bytes"] + peak["output_bytes"] + peak["intermediate_bytes"]
    assert roles + peak["scratch_bytes"] + peak["padding_bytes"] - peak["shared_in_place_bytes"] == report.arena.value
    assert roles == sum(t["bytes"] for t in peak["tensors"])
    assert min(peak["scratch_bytes"], peak["padding_bytes"], peak["shared_in_place_bytes"]) >= 0


def test_figures_of_a_hand_counted_layer() -> None:
    b = GraphBuilder()
    x = b.input((1, 6, 5, 3))
    report = report_of(b.graph([b.conv(x, 4, 3)]))
    data = report.to_json()
    step = data["steps"][0]
    macs = 6 * 5 * 4 * 3 * 3 * 3  # rows x columns x channels out x kernel x channels in
    assert (data["macs_model"], data["macs_executed"], step["macs"]) == (macs, macs, macs)
    assert step["out_shape"] == [1, 6, 5, 4]
    assert step["weight_bytes"] == 4 * 3 * 3 * 3 + 4 * 4  # kernel and int32 bias
    # The flash figure counts what the layer's requantisation needs besides.
    assert data["weight_bytes"] >= step["weight_bytes"]
    assert data["arena_bytes"] >= 6 * 5 * 3 + 6 * 5 * 4
    assert (data["peak"]["input_bytes"], data["peak"]["output_bytes"]) == (90, 120)


def test_the_bound_of_the_model_is_said_with_its_gap_and_its_method() -> None:
    report = report_of(autoencoder())
    arena = report.plan.arena_bytes
    assert report.to_json()["model_bound"] is None
    assert "No plan of this model" not in render_text(report) + render_html(report)

    def bounded(nbytes: int, limit: float) -> Report:
        model = ModelBound(nbytes, limit, "by hand")
        return replace(report, plan=replace(report.plan, certificate=replace(report.plan.certificate, model=model)))

    words = f"No plan of this model at recompute <= 1.05 needs less than {arena - 9:,} B, this one is at most 9 B above"
    assert words in " ".join(render_text(bounded(arena - 9, 1.05)).split())
    assert bounded(arena - 9, 1.05).to_json()["model_bound"] == {
        "bytes": arena - 9,
        "max_recompute": 1.05,
        "method": "by hand",
    }
    least = bounded(arena, math.inf)
    words = f"No plan of this model at any recompute needs less than {arena:,} B, this one is the least: by hand."
    assert words in " ".join(render_text(least).split())
    assert words in render_html(least)
    assert least.to_json()["model_bound"]["max_recompute"] is None


def test_the_verdict_turns_at_the_byte() -> None:
    need = {f.region: f.needs.value for f in report_of(resnet8()).fits}
    report_of(resnet8(), Budgets(need["SRAM"], need["flash"])).check_fits()
    tight = report_of(resnet8(), Budgets(need["SRAM"] - 1, None))
    assert [f.fits for f in tight.fits] == [False, True]
    with pytest.raises(DoesNotFitError) as caught:
        tight.check_fits()
    what, where, fix = caught.value.lines()
    assert f"needs {need['SRAM']:,} bytes, has {need['SRAM'] - 1:,} (--sram)" in what
    assert f"peak at step {tight.plan.peak_step}" in where
    assert all(t.name in where for t in tight.peak_live)
    assert f"--sram {need['SRAM']}" in fix
    assert "--io" not in fix, "the model has no float edge to drop"
    with pytest.raises(DoesNotFitError, match="flash"):
        report_of(resnet8(), Budgets(None, need["flash"] - 1)).check_fits()


def test_the_saving_of_quantised_edges_is_named_where_there_is_one() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        report_of(float_edges(), Budgets(10, None)).check_fits()
    assert "--io quantized stores the float input in 64 bytes instead of 256" in caught.value.fix


def test_compiled_sizes_replace_the_estimates() -> None:
    report = report_of(resnet8())
    assert (report.code.kind, report.stack.kind) == ("estimate", "estimate")
    measured = report.with_code(1234, 88)
    assert (measured.code.value, measured.code.kind, measured.stack.value) == (1234, "exact", 88)
    assert {f.region: f.needs.kind for f in measured.fits} == {"SRAM": "estimate", "flash": "exact"}
    assert measured.fits[1].needs.value == report.weights.value + 1234
    assert report.with_code(1234, None).stack == report.stack


def test_every_key_of_the_json_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    data = json.loads(report_of(resnet8()).files(["net.c"])["report.json"])
    undocumented = [key for key in data if f"`{key}`" not in text]
    assert undocumented == []
    assert data["files"] == ["net.c", "report.html", "report.json"]


def test_two_reports_are_the_same_text() -> None:
    first, second = report_of(resnet8()), report_of(resnet8())
    assert first.files() == second.files()
    assert render_text(first) == render_text(second)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_text_is_plain_and_narrow(name: str) -> None:
    report = report_of(GRAPHS[name](), Budgets(1000, None))
    text = render_text(report)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 100
    assert "DOES NOT FIT" in text
    assert coloured(text).plain == text
    styles = {str(s.style) for s in coloured(text).spans}
    assert {"bold red", "bold green"} <= styles


def test_the_text_map_shows_the_tensors_of_the_peak() -> None:
    report = report_of(resnet8())
    rows = [line.split("|")[1] for line in render_text(report).splitlines() if re.fullmatch(r" +[\d,]+ \|.*\|", line)]
    letters = tensor_letters(report)
    assert {row[report.plan.peak_step] for row in rows} - {"."} == {letters[t.name] for t in report.peak_live}


class Tags(HTMLParser):
    """Start tags with their attributes, and whether every element is closed."""

    VOID = frozenset(("meta", "br", "line", "rect"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing() -> None:
    tags = Tags(render_html(report_of(resnet8())))
    assert tags.open == []
    names = {tag for tag, _ in tags.seen}
    assert {"svg", "table"} <= names
    assert not names & {"script", "link", "img", "iframe"}
    assert not [a for _, a in tags.seen if {"src", "href", "onload"} & a.keys()]


def test_names_from_the_file_stay_text() -> None:
    graph = resnet8()
    report = report_of(renamed(graph, {n: f"{HOSTILE}{k}" for k, n in enumerate(graph.tensors)}))
    page, text = render_html(report), render_text(report)

    def tags(html: str) -> list[str]:
        return [t for t, _ in Tags(html).seen if t != "text"]  # a label is drawn where it fits

    assert tags(page) == tags(render_html(report_of(graph)))
    assert "&lt;script&gt;" in page
    assert "7*7" in page
    assert "\x00" not in page + text
    assert max(map(len, text.splitlines())) <= 100
    assert "<script>" not in render_svg(report)


def test_a_huge_model_gives_a_small_page() -> None:
    report = report_of(long_chain(600))
    page = render_html(report)
    assert len(page.encode()) < 200_000
    assert len(memory_boxes(report)) <= MAX_BOXES
    assert "more are in report.json" in page
    assert f'<tr class="peak"><td class="n">{report.plan.peak_step}</td>' in page
    assert len(report.to_json()["steps"]) == len(report.plan.steps)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_picture_shows_every_tensor_where_it_lives(name: str) -> None:
    report = report_of(GRAPHS[name]())
    plan, boxes = report.plan, memory_boxes(report)
    assert {b.role for b in boxes} == {"input", "output", "intermediate"}
    for b in boxes:
        assert 0 <= b.x < b.x + b.width <= WIDTH * 1.000001
        assert -1e-6 <= b.y < b.y + b.height <= HEIGHT * 1.000001
    middle = (plan.peak_step + 0.5) * WIDTH / len(plan.steps)
    at_peak = [b for b in boxes if b.x < middle < b.x + b.width]
    drawn = sum(b.height for b in at_peak) * plan.arena_bytes / HEIGHT
    assert drawn == pytest.approx(sum(t.nbytes for t in report.peak_live))
    steps = sum(life.last - life.first + 1 for life in plan.lives)
    assert sum(b.width for b in boxes) * len(plan.steps) / WIDTH == pytest.approx(steps)
