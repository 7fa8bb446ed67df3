"""Code generation: row programs of any placement become C that gives the interpreter's bytes; text is sanitised."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinycompile.codegen.c import emit_c
from tinycompile.codegen.literals import array_body, comment_text, float_literal, int_literal
from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_graph, run_plan
from tinycompile.errors import CheckFailed, InternalError
from tinycompile.ir.graph import Graph, Op, SourceLoc, Tensor, const_tensor
from tinycompile.ir.plan import Placement, Plan, Step
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType, Region
from tinycompile.ops.conv2d import Conv2dAttrs
from tinycompile.schedule import plan_graph, verify_plan
from tinycompile.target import load_target

ROWS, WIDTH, CHANNELS = 7, 5, 3


def two_convolutions() -> Graph:
    """3x3 convolutions with padding, channels 3 -> 4 -> 2 over a 7x5 map."""
    rng = np.random.default_rng(1)
    tensors, ops = {}, []
    shapes = {"x": (1, ROWS, WIDTH, CHANNELS), "h": (1, ROWS, WIDTH, 4), "y": (1, ROWS, WIDTH, 2)}
    scales = {"x": 0.05, "h": 0.5, "y": 2.0}  # wide enough that few values saturate
    for name, shape in shapes.items():
        tensors[name] = Tensor(name, shape, DType.INT8, Quant((scales[name],), (3,)))
    for source, out in (("x", "h"), ("h", "y")):
        co, ci = shapes[out][3], shapes[source][3]
        weights = rng.integers(-127, 128, (co, 3, 3, ci)).astype(np.int8)
        tensors[f"w{out}"] = const_tensor(f"w{out}", weights, Quant((0.01,) * co, (0,) * co, 0))
        bias = rng.integers(-500, 500, co).astype(np.int32)
        tensors[f"b{out}"] = const_tensor(f"b{out}", bias)
        attrs = Conv2dAttrs(pad=(1, 1, 1, 1))
        name = f"conv_{out}"
        ops.append(Op("conv2d", name, (source, f"w{out}", f"b{out}"), (out,), attrs, SourceLoc("Conv", name)))
    return Graph("two", tensors, tuple(ops), ("x",), ("y",))


def streamed(ring_rows: int = 3) -> Plan:
    """The first convolution's rows live in a ring, each made just before the second needs it."""
    plan = plan_graph(two_convolutions(), load_target("host"), prefix="two")
    x, h, y = (plan.tensor(n) for n in "xhy")
    ring = x.nbytes
    out = ring + ring_rows * h.row_bytes
    placements = {
        "x": Placement.contiguous(0, ROWS, x.row_bytes),
        "h": Placement(tuple(ring + r % ring_rows * h.row_bytes for r in range(ROWS)), h.row_bytes),
        "y": Placement.contiguous(out, ROWS, y.row_bytes),
    }
    steps = [Step(0, Region(0, 1, 0, WIDTH))]
    for row in range(ROWS):
        if row + 1 < ROWS:
            steps.append(Step(0, Region(row + 1, row + 2, 0, WIDTH)))
        steps.append(Step(1, Region(row, row + 1, 0, WIDTH)))
    arena = out + y.nbytes
    return replace(
        plan,
        placements=placements,
        steps=tuple(steps),
        arena_bytes=arena,
        lives=(),
        live_bytes=(arena,) * len(steps),
        interface=replace(plan.interface, arena_bytes=arena),
    )


def run_c(plan: Plan, folder: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    for name, text in emit_c(plan).files.items():
        (folder / name).write_text(text)
    return run_host(folder, plan.interface, inputs).outputs


def example_inputs(samples: int = 3) -> np.ndarray:
    return np.random.default_rng(2).integers(-128, 128, (samples, 1, ROWS, WIDTH, CHANNELS)).astype(np.int8)


def test_a_row_streamed_plan_gives_the_untiled_result_in_c(tmp_path: Path) -> None:
    plan = streamed()
    verify_plan(plan)
    x = example_inputs()
    want = np.stack([run_graph(plan.graph, [sample])["y"] for sample in x])
    assert len(np.unique(want)) > 50
    np.testing.assert_array_equal(np.stack([run_plan(plan, [sample])[0] for sample in x]), want)
    np.testing.assert_array_equal(run_c(plan, tmp_path, [x])[0].reshape(want.shape), want)


def test_a_ring_one_row_short_is_wrong_everywhere(tmp_path: Path) -> None:
    plan = streamed(ring_rows=2)
    with pytest.raises(InternalError, match="not intact"):
        verify_plan(plan)
    x = example_inputs()
    want = np.stack([run_graph(plan.graph, [sample])["y"] for sample in x])
    assert not np.array_equal(run_c(plan, tmp_path, [x])[0].reshape(want.shape), want)


def test_permuted_rows_become_a_table(tmp_path: Path) -> None:
    plan = plan_graph(two_convolutions(), load_target("host"), prefix="two")
    rows = np.random.default_rng(3).permutation(ROWS)
    h = plan.placements["h"]
    base = min(h.offsets)
    moved = Placement(tuple(int(base + r * h.row_bytes) for r in rows), h.row_bytes)
    plan = replace(plan, placements={**plan.placements, "h": moved})
    verify_plan(plan)
    x = example_inputs(1)
    want = run_graph(plan.graph, [x[0]])["y"]
    np.testing.assert_array_equal(run_c(plan, tmp_path, [x])[0].reshape(want.shape), want)
    assert "row table" in (tmp_path / "two_weights.c").read_text()


def test_an_arena_one_byte_short_is_caught(tmp_path: Path) -> None:
    plan = streamed()
    run_c(plan, tmp_path, [example_inputs(1)])
    with pytest.raises(CheckFailed):
        run_host(tmp_path, plan.interface, [example_inputs(1)], arena_bytes=plan.arena_bytes - 1)


def test_equal_weights_are_stored_once() -> None:
    graph = two_convolutions()
    twice = {
        **graph.tensors,
        "wy2": replace(graph.tensors["wy"], name="wy2"),
        "z": replace(graph.tensors["y"], name="z"),
    }
    extra = replace(graph.ops[1], name="again", inputs=("h", "wy2", "by"), outputs=("z",))
    doubled = replace(graph, tensors=twice, ops=(*graph.ops, extra), outputs=("y", "z"))
    target = load_target("host")
    one, two = emit_c(plan_graph(graph, target)), emit_c(plan_graph(doubled, target))
    assert two.weight_bytes == one.weight_bytes
    assert two.instances == one.instances
    assert two.steps == one.steps + 1


@pytest.mark.parametrize(
    "name", ['*/ #include "evil.h"', "{{ 7 * 7 }}", "a\nb\r\nc", '"quoted"', "x" * 10_000, "/etc/passwd", "??/"]
)
def test_names_from_the_file_never_reach_the_code(name: str) -> None:
    graph = two_convolutions()
    op = replace(graph.ops[0], source=SourceLoc(name, name))
    files = emit_c(plan_graph(replace(graph, ops=(op, graph.ops[1])), load_target("host"))).files
    code = files["model.c"]
    assert 'evil.h"' not in code
    assert "49" not in re.findall(r"Conv '([^']*)'", code)
    for line in code.splitlines():
        assert len(line) < 400
    assert code.count("/*") == code.count("*/")


def test_literals() -> None:
    assert int_literal(-(2**31)) == "(-2147483647 - 1)"
    assert float_literal(0.1) == "0x1.99999a0000000p-4f"
    assert comment_text("a*/b") == "a__b"
    body = array_body(np.arange(-128, 128, dtype=np.int8))
    assert max(map(len, body.splitlines())) <= 120
    assert [int(v) for v in re.findall(r"-?\d+", body)] == list(range(-128, 128))
    assert float_literal(float("nan")) == "(0.0f / 0.0f)"
    assert float_literal(float("-inf")) == "(-1.0f / 0.0f)"
    assert int_literal(-(2**63)) == "(-9223372036854775807LL - 1)"
    assert int_literal(2**31) == "2147483648LL"
