"""`verify_plan` on hand-made row programs: right ones pass, and every way of breaking them is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from random_networks import conv, depthwise
from schedule_graphs import GraphBuilder, PlainTarget, random_inputs

from tinycompile.emulate.interpreter import run_graph, run_plan
from tinycompile.errors import InternalError
from tinycompile.ir.graph import Attrs, Graph, Node, Op
from tinycompile.ir.plan import Placement, Plan, Step
from tinycompile.ir.types import DType, Region
from tinycompile.ops.clip import Clip, ClipAttrs
from tinycompile.ops.registry import OPERATORS
from tinycompile.passes.fuse_bottlenecks import fuse_bottlenecks
from tinycompile.schedule import plan_graph, verify_plan

ROWS, WIDTH, CHANNELS = 7, 4, 3
ROW = WIDTH * CHANNELS


def two_convolutions() -> tuple[Graph, str, str]:
    """Two 3x3 convolutions with padding, all maps 7x4x3; the names of the middle map and of the output."""
    b = GraphBuilder()
    h = b.conv(b.input((1, ROWS, WIDTH, CHANNELS)), CHANNELS, 3)
    y = b.conv(h, CHANNELS, 3)
    return b.graph([y]), h, y


def at(*offsets: int) -> Placement:
    return Placement(tuple(offsets), ROW)


def one_row(op: int, y: int) -> Step:
    return Step(op, Region(y, y + 1, 0, WIDTH))


def program(plan: Plan, steps: list[Step], placements: dict[str, Placement], arena_bytes: int) -> Plan:
    """`plan` with other steps, placements (by tensor name) and arena."""
    return replace(
        plan,
        steps=tuple(steps),
        placements={**plan.placements, **placements},
        arena_bytes=arena_bytes,
        lives=(),
        live_bytes=(0,) * len(steps),
        interface=replace(plan.interface, arena_bytes=arena_bytes),
    )


def streaming_steps() -> list[Step]:
    """Row y of the second convolution as soon as row y + 1 of the first is there."""
    steps = []
    for y in range(ROWS + 1):
        steps += [one_row(0, y)] if y < ROWS else []
        steps += [one_row(1, y - 1)] if y > 0 else []
    return steps


def ring_plan(ring_rows: int = 3) -> Plan:
    """Input, a ring for the middle map, output."""
    graph, h, y = two_convolutions()
    ring = ROWS * ROW
    out = ring + ring_rows * ROW
    placements = {
        "in0": Placement.contiguous(0, ROWS, ROW),
        h: at(*(ring + r % ring_rows * ROW for r in range(ROWS))),
        y: Placement.contiguous(out, ROWS, ROW),
    }
    return program(plan_graph(graph, PlainTarget()), streaming_steps(), placements, out + ROWS * ROW)


def eaten_plan(distance: int) -> Plan:
    """Both outputs are written over the input rows that are no longer needed: row r of the middle map lies `distance`
    rows before row r of the input, and row r of the output as far before the middle map's."""
    graph, h, y = two_convolutions()

    def rows(start: int) -> Placement:
        return Placement.contiguous(start * ROW, ROWS, ROW)

    placements = {"in0": rows(2 * distance), h: rows(distance), y: rows(0)}
    return program(plan_graph(graph, PlainTarget()), streaming_steps(), placements, (2 * distance + ROWS) * ROW)


def assert_computes_its_graph(plan: Plan) -> None:
    inputs = random_inputs(plan.graph)
    want = run_graph(plan.graph, inputs)
    for fill in (0x00, 0xFF):
        for name, got in zip(plan.graph.outputs, run_plan(plan, inputs, fill), strict=True):
            np.testing.assert_array_equal(got, want[name])


@pytest.mark.parametrize("plan", [ring_plan(), ring_plan(4), eaten_plan(2), eaten_plan(3)])
def test_right_row_programs_pass(plan: Plan) -> None:
    verify_plan(plan)
    assert_computes_its_graph(plan)


def test_rows_may_lie_in_any_order() -> None:
    plan = ring_plan()
    base = plan.placements["in0"].offsets
    shuffled = at(*(base[r] for r in (3, 0, 6, 2, 5, 1, 4)))
    plan = replace(plan, placements={**plan.placements, "in0": shuffled})
    verify_plan(plan)
    assert_computes_its_graph(plan)


def swapped(plan: Plan, i: int, j: int) -> Plan:
    steps = list(plan.steps)
    steps[i], steps[j] = steps[j], steps[i]
    return replace(plan, steps=tuple(steps))


def without(plan: Plan, index: int) -> Plan:
    steps = plan.steps[:index] + plan.steps[index + 1 :]
    return replace(plan, steps=steps, live_bytes=plan.live_bytes[1:])


def moved(plan: Plan, tensor: int, row: int, by: int) -> Plan:
    name = list(plan.placements)[tensor]
    offsets = list(plan.placements[name].offsets)
    offsets[row] += by
    return replace(plan, placements={**plan.placements, name: at(*offsets)})


MUTANTS: dict[str, tuple[Callable[[], Plan], str]] = {
    "ring one row short": (lambda: ring_plan(2), "not intact"),
    "steps swapped": (lambda: swapped(ring_plan(), 1, 2), "not intact"),
    "arena one byte short": (lambda: replace(ring_plan(), arena_bytes=ring_plan().arena_bytes - 1), "of an arena of"),
    "input row one byte high": (lambda: moved(ring_plan(), 0, 2, 1), "network inputs overlap"),
    "ring row one byte low": (lambda: moved(ring_plan(), 1, 0, -1), "not intact|overwrites"),
    "ring row one byte high": (lambda: moved(ring_plan(), 1, 0, 1), "not intact"),
    "output row one byte low": (lambda: moved(ring_plan(), 2, 3, -1), "lost"),
    "row outside the arena": (lambda: moved(ring_plan(), 2, 6, 1), "of an arena of"),
    "negative offset": (lambda: moved(ring_plan(), 0, 0, -1), "of an arena of"),
    "halo row never made": (lambda: without(ring_plan(), 1), "not intact"),
    "output row never made": (lambda: without(ring_plan(), len(ring_plan().steps) - 1), "lost"),
    "row made twice": (lambda: replace(ring_plan(), steps=(*ring_plan().steps[:-1], one_row(0, 6))), "second time"),
    "input eaten one row early": (lambda: eaten_plan(1), "overwrites input 0 of the same call"),
    "in place where it is not allowed": (lambda: eaten_plan(0), "overwrites input 0 of the same call"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_found(name: str) -> None:
    make, message = MUTANTS[name]
    with pytest.raises(InternalError, match=message):
        verify_plan(make())


def test_message_names_step_operator_row_and_byte() -> None:
    with pytest.raises(InternalError) as caught:
        verify_plan(ring_plan(2))
    error = caught.value
    assert "row 0 of 't3' is not intact: arena byte 84 holds row 2 of 't3'" in error.what
    assert "step 4 (conv2d 'conv2d_1'), row 1" in error.where


def relu_plan(shift: int) -> Plan:
    """A clip of whole rows that writes `shift` bytes above its input."""
    b = GraphBuilder()
    y = b.relu(b.input((1, ROWS, WIDTH, CHANNELS)))
    plan = plan_graph(b.graph([y]), PlainTarget())
    base = 16
    placements = {
        "in0": Placement.contiguous(base, ROWS, ROW),
        y: Placement.contiguous(base + shift, ROWS, ROW),
    }
    return program(plan, list(plan.steps), placements, base + ROWS * ROW + 16)


@pytest.mark.parametrize("shift", [0, -1, -5, -16])
def test_elementwise_output_may_start_below_its_input(shift: int) -> None:
    plan = relu_plan(shift)
    verify_plan(plan)
    assert_computes_its_graph(plan)


@pytest.mark.parametrize("shift", [1, 5, 16])
def test_elementwise_output_may_not_start_above_its_input(shift: int) -> None:
    with pytest.raises(InternalError, match="before it is read"):
        verify_plan(relu_plan(shift))


def test_merged_rows_must_be_adjacent() -> None:
    plan = relu_plan(0)
    gap = Placement(tuple(16 + r * ROW + (r == ROWS - 1) for r in range(ROWS)), ROW)
    for name in plan.placements:
        with pytest.raises(InternalError, match="not adjacent"):
            verify_plan(replace(plan, placements={**plan.placements, name: gap}))
    row_by_row = replace(
        plan, steps=(replace(plan.steps[0], merge=False),), placements=dict.fromkeys(plan.placements, gap)
    )
    verify_plan(row_by_row)
    assert_computes_its_graph(row_by_row)


def test_row_kernels_are_not_merged_and_whole_kernels_not_cut() -> None:
    plan = ring_plan()
    with pytest.raises(InternalError, match="one row per call"):
        verify_plan(replace(plan, steps=(replace(plan.steps[0], merge=True), *plan.steps[1:])))
    b = GraphBuilder()
    x = b.input((1, 4, 4, 2))
    y = b.concat(b.reshape(x, (2, 2, 4, 2)), b.reshape(x, (2, 2, 4, 2)), axis=1)
    whole = plan_graph(b.graph([y]), PlainTarget())
    kinds = [whole.ops[s.op].kind for s in whole.steps]
    assert kinds == ["concat"]
    verify_plan(whole)
    if whole.steps[0].merge:
        with pytest.raises(InternalError, match="whole output in one call"):
            verify_plan(replace(whole, steps=(replace(whole.steps[0], merge=False),)))


def test_misaligned_rows_are_found() -> None:
    b = GraphBuilder()
    x = b.input((1, 6), DType.FLOAT32)
    plan = plan_graph(b.graph([b.quantize(x)]), PlainTarget())
    verify_plan(plan)
    place = plan.placements[x]
    wrong = replace(place, offsets=tuple(o + 2 for o in place.offsets))
    bigger = program(plan, list(plan.steps), {x: wrong}, plan.arena_bytes + 2)
    with pytest.raises(InternalError, match="not aligned to 4"):
        verify_plan(bigger)


def test_operator_without_step_must_be_a_view() -> None:
    plan = ring_plan()
    first_only = tuple(s for s in plan.steps if s.op == 0)
    with pytest.raises(InternalError, match="not a view"):
        verify_plan(program(plan, list(first_only), {}, plan.arena_bytes))


def test_views_that_would_be_in_two_places_are_found() -> None:
    b = GraphBuilder()
    x = b.input((1, 4, 4, 2))
    left, right = b.conv(x, 2), b.conv(x, 2)
    plan = plan_graph(b.graph([b.concat(left, right), b.concat(right, left)]), PlainTarget())
    verify_plan(plan)
    steps = [s for s in plan.steps if plan.ops[s.op].kind != "concat"]
    with pytest.raises(InternalError, match="in two places"):
        verify_plan(program(plan, steps, {}, plan.arena_bytes))


class ScratchClip(Clip):
    """A clip that wants scratch."""

    kind = "test_scratch_clip"

    def scratch_bytes(self, node: Node) -> int:
        return 10


def scratch_plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setitem(OPERATORS, ScratchClip.kind, ScratchClip())
    b = GraphBuilder()
    x = b.conv(b.input((1, 4, 4, 2)), 2)
    y = b.op(ScratchClip.kind, (x,), ClipAttrs(0.0, 6.0))
    return plan_graph(b.graph([b.add(x, y)]), PlainTarget())


def test_scratch_is_placed_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = scratch_plan(monkeypatch)
    verify_plan(plan)
    assert_computes_its_graph(plan)
    assert [s is not None for s in plan.scratch] == [False, True, False]
    assert plan.live_bytes[1] == 32 + 32 + 10
    assert plan.certificate.lower_bound_bytes == 74


def test_scratch_may_not_touch_bytes_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = scratch_plan(monkeypatch)
    x, y = plan.ops[0].outputs[0], plan.ops[1].outputs[0]
    for name, message in ((x, "scratch"), (y, "scratch")):
        offset = plan.placements[name].offsets[1]
        with pytest.raises(InternalError, match=message):
            verify_plan(replace(plan, scratch=(None, Placement((offset,) * 4, 10), None)))
    for missing in (None, Placement((plan.arena_bytes - 9,) * 4, 10)):
        with pytest.raises(InternalError, match="do not lie in the arena"):
            verify_plan(replace(plan, scratch=(None, missing, None)))


@pytest.mark.parametrize("off", [0, 1, 2, 3])
def test_scratch_is_aligned(monkeypatch: pytest.MonkeyPatch, off: int) -> None:
    plan = scratch_plan(monkeypatch)
    at_end, size = -(-plan.arena_bytes // 4) * 4, plan.arena_bytes + 16
    roomy = replace(plan, arena_bytes=size, interface=replace(plan.interface, arena_bytes=size))
    moved = replace(roomy, scratch=(None, Placement((at_end + off,) * 4, 10), None))
    if off == 0:
        verify_plan(moved)
    else:
        with pytest.raises(InternalError, match="not aligned to 4"):
            verify_plan(moved)


def group_plan(rows: int = 2) -> Plan:
    """A block of 3x3 windows without padding that makes `rows` rows in a step, each over the input row of its own
    number."""
    b = GraphBuilder()
    x = b.input((1, 8, 5, 4))
    y = conv(b, depthwise(b, conv(b, x, 6, (1, 1)), (3, 3)), 4, (1, 1))
    plan = plan_graph(fuse_bottlenecks(b.graph([y]), {y: rows}), PlainTarget())
    places = plan.placements
    return replace(plan, placements={**places, y: replace(places[y], offsets=places[x].offsets[:6])})


def test_rows_of_a_group_over_the_rows_of_their_numbers() -> None:
    plan = group_plan()
    verify_plan(plan)
    assert_computes_its_graph(plan)


def test_rows_of_a_group_over_other_rows_are_refused() -> None:
    """The window reads these rows too, and a lone row may lie over any of them."""
    plan = group_plan()
    (y,) = plan.graph.outputs
    place = plan.placements[y]
    first, second, *rest = place.offsets
    swapped = {**plan.placements, y: replace(place, offsets=(second, first, *rest))}
    with pytest.raises(InternalError, match="overwrites input 0 of the same call"):
        verify_plan(replace(plan, placements=swapped))
    # A row further down: one that the next step reads.
    late = {**plan.placements, y: replace(place, offsets=tuple(o + 20 for o in place.offsets))}
    with pytest.raises(InternalError, match="overwrites input 0 of the same call"):
        verify_plan(replace(plan, placements=late))


@pytest.mark.parametrize("cuts", [(0, 1, 6), (0, 2, 3, 6), (0, 5, 6)])
def test_a_step_makes_whole_groups(cuts: tuple[int, ...]) -> None:
    plan = group_plan()
    parts = tuple(Step(0, Region(a, b, 0, 3)) for a, b in pairwise(cuts))
    with pytest.raises(InternalError, match="the kernel makes 2 rows per call"):
        verify_plan(replace(plan, steps=parts, live_bytes=plan.live_bytes * len(parts)))
    whole = tuple(Step(0, Region(y, y + 2, 0, 3)) for y in (0, 2, 4))
    verify_plan(replace(plan, steps=whole, live_bytes=plan.live_bytes * 3))


def test_tables_must_match_the_graph() -> None:
    plan = ring_plan()
    name = next(iter(plan.placements))
    broken: list[Plan] = [
        replace(plan, ops=plan.ops[:1]),
        replace(plan, ops=(plan.ops[0], Op("clip", "x", ("in0",), ("z",), Attrs(), plan.ops[0].source))),
        replace(plan, variants=()),
        replace(plan, live_bytes=()),
        replace(plan, steps=(*plan.steps[:-1], one_row(9, 0))),
        replace(plan, steps=(*plan.steps[:-1], Step(1, Region(6, 8, 0, WIDTH)))),
        replace(plan, placements={name: plan.placements[name]}),
        replace(plan, placements={**plan.placements, name: at(0)}),
        replace(plan, interface=replace(plan.interface, arena_bytes=plan.arena_bytes - 1)),
    ]
    for wrong in broken:
        with pytest.raises(InternalError):
            verify_plan(wrong)
