"""The stable text: what it looks like, that it tells things apart, and that names cannot break it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from schedule_graphs import GraphBuilder, PlainTarget

from tinycompile.ir.graph import Graph
from tinycompile.ir.plan import Placement
from tinycompile.ir.printer import print_graph, print_plan
from tinycompile.ir.types import Region
from tinycompile.schedule import plan_graph

GRAPH_TEXT = """\
graph "small" from nothing
inputs "in0"
outputs "t4"
tensors
  "in0": int8[1,2,2,1] scale 0.05 zero 3
  "c1": int8[1,1,1,1] 1 scales on axis 0 in [0.01, 0.01] zero 0 #86aa5f0ca1d4 = [42]
  "c2": int32[1] = [-7]
  "t3": int8[1,2,2,1] scale 0.05 zero 3
  "t4": int8[1,4] scale 0.05 zero 3
ops
  0: "t3" = conv2d("in0", "c1", "c2") {stride=(1, 1), dilation=(1, 1), pad=(0, 0, 0, 0), groups=1, clamp=None}  ; conv2d '0'
  1: "t4" = reshape("t3") {shape=(1, 4)}  ; reshape '1'
"""  # noqa: E501
PLAN_TEXT = """\
plan "small" for plain, input resident
arena 8 bytes, aligned to 16
bound 8 over all orders, 8 for this one, optimal (whole buffers; METHOD)
placements
  "in0": int8[1,2,2,1] scale 0.05 zero 3 [0, 4)
  "t3": int8[1,2,2,1] scale 0.05 zero 3 [4, 8)
  "t4": int8[1,4] scale 0.05 zero 3 [4, 8)
views
  1: "t4" = reshape("t3") {shape=(1, 4)}  ; reshape '1'
steps
  0: op 0 conv2d -> "t3" rows 0..1 columns 0..1 merged, generic
     8 bytes live: "in0", "t3" <- peak
"""


def small() -> Graph:
    b = GraphBuilder()
    x = b.conv(b.input((1, 2, 2, 1)), 1)
    g = b.graph([b.reshape(x, (1, 4))])
    weights = replace(g.tensors["c1"], data=np.full((1, 1, 1, 1), 42, np.int8))
    bias = replace(g.tensors["c2"], data=np.array([-7], np.int32))
    return replace(g, tensors={**g.tensors, "c1": weights, "c2": bias})


def test_graph_text() -> None:
    assert print_graph(small()) == GRAPH_TEXT


def test_plan_text() -> None:
    plan = plan_graph(small(), PlainTarget())
    assert print_plan(plan).replace(plan.certificate.method, "METHOD") == PLAN_TEXT


def test_rows_in_rings_and_any_order_print_compactly() -> None:
    plan = plan_graph(small(), PlainTarget())

    def placed(*offsets: int) -> str:
        place = {**plan.placements, "in0": Placement(offsets, 2)}
        return print_plan(replace(plan, placements=place)).splitlines()[4].split("zero 3 ")[1]

    assert placed(0, 2, 4, 6) == "[0, 8)"
    assert placed(0, 8, 16) == "rows of 2 at 0+8*3"
    assert placed(0, 2, 4, 0, 2, 4) == "rows of 2 at 0+2*3, 0+2*3"
    assert placed(9) == "[9, 11)"


def test_partial_steps_show_rows_and_columns() -> None:
    plan = plan_graph(small(), PlainTarget())
    step = replace(plan.steps[0], region=Region(1, 2, 0, 1))
    assert "rows 1..1 columns 0..0 merged," in print_plan(replace(plan, steps=(step,)))


def test_contents_of_constants_are_told_apart() -> None:
    b = GraphBuilder()
    g = b.graph([b.conv(b.input((1, 4, 4, 2)), 6)])
    weights = g.tensors["c1"]
    assert weights.data is not None
    other = weights.data.copy()
    other[0, 0, 0, 0] ^= 1
    changed = replace(g, tensors={**g.tensors, "c1": replace(weights, data=other)})
    assert print_graph(g) != print_graph(changed)


def test_hostile_names_stay_on_one_line() -> None:
    b = GraphBuilder()
    name = 'a"b\n*/ {{x}} \x1b[2J' + "n" * 10_000
    b.tensors[name] = replace(b.tensors[b.input((1, 4))], name=name)
    b.inputs = [name]
    g = b.graph([b.relu(name)])
    del g.tensors["in0"]  # type: ignore[attr-defined]
    for text in (print_graph(g), print_plan(plan_graph(g, PlainTarget()))):
        assert "\x1b" not in text
        assert max(len(line) for line in text.splitlines()) < 1000
        assert len(text.splitlines()) < 20
