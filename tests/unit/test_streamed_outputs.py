"""Network outputs row by row: plans are proven, interpreter and C give every row of what the layers' references give,
the arena no longer holds the map, and wrong pops are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import bottleneck_networks, conv, depthwise, networks
from schedule_graphs import GraphBuilder, PlainTarget, inverted_bottleneck, random_inputs
from test_frontier import least_of_segments
from test_interleave import exhaustive, replay
from test_row_planner import check, check_c

from tinycompile.codegen.c import emit_c
from tinycompile.emulate.interpreter import run_graph
from tinycompile.emulate.target import run_target
from tinycompile.errors import InternalError, ToolchainError, UsageError
from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode, Interface, OutputMode
from tinycompile.ir.plan import Plan, Pop, Push, Step
from tinycompile.passes.fuse_bottlenecks import bottlenecks, fuse_bottlenecks
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.planning.choose import Chooser, choose_plan
from tinycompile.planning.goal import Goal, Patches
from tinycompile.schedule import RowPlanner, verify_plan
from tinycompile.schedule.coalesce import coalesce, peak_bytes
from tinycompile.schedule.interleave import exact_interleaving
from tinycompile.schedule.row_model import RowModel, build_row_model
from tinycompile.schedule.segments import Segments
from tinycompile.schedule.stages import search_order, staged_order
from tinycompile.schedule.storage import analyse_storage
from tinycompile.target import load_target
from tinycompile.toolchain import compile_or_raise, host_compiler, run_tool
from tinycompile.zoo.segmentation import segmentation

MODES = [InputMode.RESIDENT, InputMode.STREAMED, InputMode.EXTERNAL]
TARGET = load_target("cortex-m7")
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]


def planner(
    graph: Graph, mode: InputMode = InputMode.STREAMED, results: OutputMode = OutputMode.STREAMED
) -> RowPlanner:
    return RowPlanner(
        stream_reductions(graph), PlainTarget(), prefix="net", input_mode=mode, output_mode=results, effort=0
    )


def model_of(graph: Graph, mode: InputMode) -> RowModel:
    streamable = stream_reductions(graph)
    return build_row_model(streamable, analyse_storage(streamable), mode, output_mode=OutputMode.STREAMED)


def upscaled() -> Graph:
    """A map that grows: the output is by far the largest tensor."""
    b = GraphBuilder()
    x = conv(b, b.input((1, 12, 10, 3)), 6, (3, 3), pad=(1, 1, 1, 1))
    y = depthwise(b, x, (3, 3), pad=(1, 1, 1, 1))
    return b.graph([conv(b, b.add(x, y), 48, (1, 1))])


def two_outputs() -> Graph:
    """A map that is an output and read on, and what is made of it, joined row by row with the map of another branch."""
    b = GraphBuilder()
    x = conv(b, b.input((1, 6, 4, 2)), 4, (3, 3), pad=(1, 1, 1, 1))
    y = b.relu(depthwise(b, x, (3, 3), pad=(1, 1, 1, 1)))
    return b.graph([x, b.concat(y, b.relu(x)), b.mean(y)])


def prompt_pops(plan: Plan) -> bool:
    """Whether every pop stands behind other pops or the step that makes its row."""
    made: dict[str, int] = {}
    late = 0
    for before, step in pairwise((None, *plan.steps)):
        if isinstance(step, Step):
            made[plan.ops[step.op].outputs[0]] = step.region.y1
        elif isinstance(step, Pop) and isinstance(before, Step | Push):
            late += step.tensor in made and made[step.tensor] != step.row + 1
    return late == 0


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW)
@given(networks(ops=5), st.sampled_from(MODES), st.integers(0, 8))
def test_every_plan_computes_its_network(graph: Graph, mode: InputMode, room: int) -> None:
    rows = RowPlanner(
        stream_reductions(graph), PlainTarget(), input_mode=mode, output_mode=OutputMode.STREAMED, effort=0
    )
    least = rows.plan()
    check(graph, least)
    roomy = rows.plan(least.arena_bytes * (8 + room) // 8)
    assert roomy.arena_bytes <= least.arena_bytes * (8 + room) // 8
    check(graph, roomy)
    for plan in (least, roomy):
        assert sum(isinstance(s, Pop) for s in plan.steps) == sum(graph.tensors[o].form.rows for o in graph.outputs)


@settings(max_examples=10, deadline=None, suppress_health_check=SLOW)
@given(networks(ops=4), st.sampled_from(MODES))
def test_the_generated_c_computes_the_network(tmp_path: Path, graph: Graph, mode: InputMode) -> None:
    check_c(graph, planner(graph, mode).plan(), tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(networks(ops=4), st.sampled_from(MODES))
def test_search_equals_enumeration(graph: Graph, mode: InputMode) -> None:
    model = model_of(graph, mode)
    states = np.prod([m.steps + 1 for m in model.makers], dtype=object)
    assume(states <= 20_000)
    found = exact_interleaving(model, 200_000)
    assert found.peak_bytes == found.bound_bytes == exhaustive(model) == replay(model, found.sequence)
    staged = staged_order(model)
    assert staged.peak_bytes >= found.peak_bytes
    assert peak_bytes(model, staged.sequence) == staged.peak_bytes
    order = search_order(model)[0]
    limit = order.peak_bytes * 5 // 4
    assert peak_bytes(model, coalesce(model, order.sequence, limit)) <= limit


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(st.one_of(networks(ops=4), bottleneck_networks()), st.sampled_from(MODES))
def test_every_plan_on_the_frontier_computes_its_network(graph: Graph, mode: InputMode) -> None:
    goal = Goal(mode, True, max_recompute=3.0, output_mode=OutputMode.STREAMED)
    for plan in Chooser(graph, TARGET, "net", goal).frontier_plans():
        assert plan.output_mode is plan.interface.output_mode is OutputMode.STREAMED
        check(graph, plan)


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(bottleneck_networks(), st.sampled_from(MODES))
def test_fused_bottlenecks(graph: Graph, mode: InputMode) -> None:
    names = [block.name for block in bottlenecks(graph)]
    check(graph, planner(fuse_bottlenecks(graph, dict.fromkeys(names[::2], 1), names[1::2]), mode).plan())


@pytest.mark.parametrize("mode", MODES)
def test_the_arena_does_not_hold_the_output(mode: InputMode, tmp_path: Path) -> None:
    graph = upscaled()
    whole, rows = (planner(graph, mode, results).plan() for results in OutputMode)
    out = graph.tensors[graph.outputs[0]].nbytes
    assert rows.arena_bytes < out < whole.arena_bytes
    assert whole.arena_bytes - rows.arena_bytes > out * 3 // 4
    assert prompt_pops(rows)
    check(graph, rows)
    check_c(graph, rows, tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_several_outputs_one_of_which_is_read_on(mode: InputMode, tmp_path: Path) -> None:
    graph = two_outputs()
    plan = planner(graph, mode).plan()
    assert {s.tensor for s in plan.steps if isinstance(s, Pop)} == set(graph.outputs)
    check(graph, plan)
    check_c(graph, plan, tmp_path)


def test_an_input_that_is_an_output_is_given_at_once(tmp_path: Path) -> None:
    b = GraphBuilder()
    x = b.input((1, 5, 3, 2))
    graph = b.graph([x, b.conv(x, 3, 3)])
    plan = planner(graph, InputMode.RESIDENT).plan()
    assert all(isinstance(s, Pop) for s in plan.steps[:5])
    check(graph, plan)
    check_c(graph, plan, tmp_path)
    with pytest.raises(UsageError, match="output as well"):
        planner(graph, InputMode.EXTERNAL)


def test_an_output_named_twice_goes_to_both(tmp_path: Path) -> None:
    graph = upscaled()
    graph = replace(graph, outputs=graph.outputs * 2)
    plan = planner(graph).plan()
    check(graph, plan)
    check_c(graph, plan, tmp_path)


def test_room_lets_operators_make_their_rows_in_longer_runs_and_rows_are_still_given_at_once() -> None:
    graph = inverted_bottleneck()
    rows = planner(graph, InputMode.RESIDENT)
    roomy = rows.plan(1 << 20)
    assert prompt_pops(roomy)
    assert rows.plan().arena_bytes < roomy.arena_bytes < 1 << 18  # and the arena ends where its use ends
    check(graph, roomy)


@pytest.mark.parametrize("build", [upscaled, inverted_bottleneck])
def test_estimates_of_segments_are_what_orders_need(build: Callable[[], Graph]) -> None:
    model = model_of(build(), InputMode.EXTERNAL)
    segments = Segments(model)
    assert segments.nbytes(segments.cuts[-1]) == 0
    assert least_of_segments(segments) == staged_order(model).peak_bytes


@pytest.mark.parametrize("results", OutputMode)
def test_a_stage_in_tiles_that_ends_in_the_output(results: OutputMode, tmp_path: Path) -> None:
    graph = upscaled()
    goal = Goal(InputMode.EXTERNAL, True, patches=Patches(1, 2), output_mode=results)
    plan = choose_plan(graph, TARGET, "net", goal)
    check(graph, plan)
    check_c(graph, plan, tmp_path)


def changed(plan: Plan, steps: list[Step | Push | Pop]) -> Plan:
    return replace(plan, steps=tuple(steps), live_bytes=(0,) * len(steps))


def complaint(plan: Plan) -> str:
    """What the verifier says, "" where it says nothing."""
    try:
        verify_plan(plan)
    except InternalError as error:
        return f"{error.what} in {error.where}"
    return ""


def pops(plan: Plan) -> list[int]:
    return [k for k, step in enumerate(plan.steps) if isinstance(step, Pop)]


@pytest.mark.parametrize("mode", MODES)
def test_wrong_pops_are_found(mode: InputMode) -> None:
    plan = planner(upscaled(), mode).plan()
    verify_plan(plan)
    steps, at = list(plan.steps), pops(plan)
    for k in at:
        missing = steps[:k] + steps[k + 1 :]
        with pytest.raises(InternalError, match=r"in order, each once: row|is never popped"):
            verify_plan(changed(plan, missing))
        with pytest.raises(InternalError, match="in order, each once"):
            verify_plan(changed(plan, [*steps[: k + 1], *steps[k:]]))
    with pytest.raises(InternalError, match=r"row 11 of output 't.*' is never popped"):
        verify_plan(changed(plan, steps[: at[-1]] + steps[at[-1] + 1 :]))
    for first, second in pairwise(at):
        swapped = list(steps)
        swapped[first], swapped[second] = steps[second], steps[first]
        with pytest.raises(InternalError, match="in order, each once"):
            verify_plan(changed(plan, swapped))


@pytest.mark.parametrize("mode", MODES)
def test_a_pop_too_early_or_too_late_is_found(mode: InputMode) -> None:
    """Too early: before the step that makes its row. Too late: behind the steps that write over it."""
    plan = planner(upscaled(), mode).plan()
    steps, at = list(plan.steps), pops(plan)
    assert len({plan.placements[plan.graph.outputs[0]].offsets[y] for y in range(12)}) < 12
    late = 0
    for n, k in enumerate(at):
        with pytest.raises(InternalError, match="is not intact"):
            verify_plan(changed(plan, [*steps[: k - 1], steps[k], steps[k - 1], *steps[k + 1 :]]))
        end = at[n + 1] if n + 1 < len(at) else len(steps)
        if end == len(steps):
            continue
        said = complaint(changed(plan, [*steps[:k], *steps[k + 1 : end], steps[k], *steps[end:]]))
        assert said == "" or ("is not intact" in said and "pop of row" in said)
        late += said != ""
    assert late >= 6


def test_pops_where_there_may_be_none() -> None:
    plan = planner(upscaled()).plan()
    resident = replace(
        plan,
        output_mode=OutputMode.RESIDENT,
        interface=replace(plan.interface, output_mode=OutputMode.RESIDENT),
    )
    with pytest.raises(InternalError, match="only rows of a streamed network output"):
        verify_plan(resident)
    with pytest.raises(InternalError, match="output mode"):
        verify_plan(replace(plan, output_mode=OutputMode.RESIDENT))
    k = pops(plan)[0]
    inner = plan.ops[plan.computed[0].op].outputs[0]
    with pytest.raises(InternalError, match="only rows of a streamed network output"):
        verify_plan(changed(plan, [*plan.steps[:k], Pop(inner, 0), *plan.steps[k:]]))


def test_the_interface_in_json() -> None:
    interface = planner(two_outputs()).plan().interface
    data = interface.to_json()
    assert data["output_mode"] == "streamed"
    assert Interface.from_json(data) == interface
    with pytest.raises(ValueError, match="elsewhere"):
        Interface.from_json({**data, "output_mode": "elsewhere"})


PUSHES = """#include "net.h"
#include <stdio.h>
#include <string.h>
static net_arena arena;
static int32_t given;
static void take(void *user, int32_t y, const int8_t row[NET_OUTPUT_ROW_LEN])
{
    given += y == given;
    fwrite(row, 1u, NET_OUTPUT_ROW_LEN, user);
}
int main(void)
{
    static const net_sink sink = {take}, none = {NULL};
    net_stream stream;
    int8_t row[NET_ROW_LEN];
    int32_t pushed = 0, before_the_end = 0;
    FILE *const in = fopen("in.bin", "rb"), *const out = fopen("out.bin", "wb");
    net_start(&stream, &sink, out);
    for (;;) {
        if (fread(row, 1u, sizeof row, in) != sizeof row) {
            return 1;
        }
        ++pushed;
        const int done = net_push_row(&stream, &arena, row);
        memset(row, 99, sizeof row);
        if (done == 1) {
            break;
        }
        before_the_end = given;
    }
    fclose(in);
    fclose(out);
    net_start(&stream, &none, NULL);
    for (int32_t y = 0; y < pushed; ++y) {
        (void)net_push_row(&stream, &arena, row);
    }
    printf("%d %d %d\\n", (int)pushed, (int)before_the_end, (int)given);
    return 0;
}
"""


def test_rows_go_in_and_out_one_by_one(tmp_path: Path) -> None:
    """With rows pushed by a caller that reuses its buffer: a result needs two rows below its own, so nine of twelve are
    there before the last row of the input."""
    graph = upscaled()
    plan = planner(graph).plan()
    files = {**emit_c(plan).files, "main.c": PUSHES}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    inputs = random_inputs(graph)
    (tmp_path / "in.bin").write_bytes(inputs[0].tobytes())
    cc = host_compiler()
    flags = [*cc.strict_flags, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    compile_or_raise([*cc.command, *flags, "main.c", "net.c", "net_weights.c", "-o", "main"], "rows", tmp_path)
    done = run_tool([str(tmp_path / "main")], "rows", tmp_path, env={"ASAN_OPTIONS": "detect_leaks=0"})
    assert done.stdout.split() == ["12", "9", "12"], done.stderr
    got = np.frombuffer((tmp_path / "out.bin").read_bytes(), np.int8)
    np.testing.assert_array_equal(got, run_graph(graph, inputs)[graph.outputs[0]].reshape(-1))


@pytest.mark.parametrize(
    ("core", "emulator"), [("cortex-m7", "unicorn"), ("cortex-m4", "qemu"), ("rv32imc", "unicorn")]
)
@pytest.mark.parametrize("mode", [InputMode.RESIDENT, InputMode.STREAMED])
def test_on_emulated_cores(core: str, emulator: str, mode: InputMode, tmp_path: Path) -> None:
    graph = two_outputs()
    plan = planner(graph, mode).plan()
    for name, text in emit_c(plan).files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    samples = [random_inputs(graph, seed) for seed in (3, 4)]
    inputs = [np.stack(arrays) for arrays in zip(*samples, strict=True)]
    try:
        run = run_target(tmp_path, plan.interface, load_target(core), inputs, emulator=emulator)
    except ToolchainError as error:
        pytest.skip(error.what)
    for k, one in enumerate(samples):
        want = run_graph(graph, one)
        for name, value in zip(graph.outputs, run.outputs, strict=True):
            np.testing.assert_array_equal(value[k], want[name])


def test_segmentation_row_by_row(tmp_path: Path) -> None:
    """The network whose largest tensor is its output: with rows in and out, the arena is a fraction of that map."""
    graph = segmentation(32)
    out = graph.tensors[graph.outputs[0]].nbytes
    assert out == max(t.nbytes for t in graph.tensors.values() if not t.is_const)
    rows = RowPlanner(
        graph, PlainTarget(), input_mode=InputMode.STREAMED, output_mode=OutputMode.STREAMED, effort=0
    ).plan()
    assert rows.arena_bytes < out * 0.5
    check(graph, rows)
    check_c(graph, rows, tmp_path)
