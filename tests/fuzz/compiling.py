"""What the fuzzers and the corpus tests do with a file: import it, and compile it where it is small.

Beyond "no exception but a ModelError" they ask of a small accepted model that the plans of both planners pass the
verifier and compute the same as the operators' references whatever the arena held before, and that code and report can
be printed.
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import numpy as np

from tinycompile.codegen.c import emit_c
from tinycompile.commands.samples import random_inputs
from tinycompile.emulate.interpreter import run_graph, run_plan
from tinycompile.errors import ModelError
from tinycompile.ir.graph import Graph
from tinycompile.ir.plan import Plan
from tinycompile.ir.states import initial_values
from tinycompile.ops.registry import operator
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.pipeline import ImportOptions, import_model
from tinycompile.report.summary import Budgets, summarize
from tinycompile.schedule import RowPlanner, plan_graph, verify_plan
from tinycompile.target import load_target
from tinycompile.watch import Watch

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"
CURIOUS = (0, 1, 2, 3, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1)  # sizes, counts and offsets that break
SMALL_OPS, SMALL_ELEMS, SMALL_ROWS, SMALL_MACS = 64, 20_000, 128, 1_000_000
TARGET = load_target("cortex-m7")


def is_small(graph: Graph) -> bool:
    """Whether planning and running take milliseconds, not seconds."""
    return (
        len(graph.ops) <= SMALL_OPS
        and all(t.form.rows <= SMALL_ROWS for t in graph.tensors.values() if not t.is_const)
        and sum(int(np.prod(t.shape)) for t in graph.tensors.values()) <= SMALL_ELEMS
        and sum(operator(n.op.kind).macs(n) for n in graph.nodes()) <= SMALL_MACS
    )


def plans(graph: Graph) -> tuple[Plan, Plan]:
    """Whole buffers, and rows in turn; both pass the verifier."""
    hurried = Watch()
    hurried.stop()
    planner = RowPlanner(stream_reductions(graph), TARGET, prefix="model", watch=hurried)
    made = plan_graph(graph, TARGET, prefix="model"), planner.plan()
    for plan in made:
        verify_plan(plan)
    return made


def compile_graph(graph: Graph) -> None:
    """Plans, runs and prints an imported graph. Raises ModelError where it is refused, AssertionError where plans
    disagree."""
    for plan in plans(graph):
        begins = dict(zip((s.input for s in plan.graph.states), initial_values(plan.graph), strict=True))
        given = iter(random_inputs(plan.interface, 1))
        inputs = [begins[name] if name in begins else next(given)[0] for name in plan.graph.inputs]
        with np.errstate(all="ignore"):
            want = run_graph(plan.graph, inputs)
            for fill in (0x00, 0xA5):
                for name, got in zip(plan.graph.outputs, run_plan(plan, inputs, fill), strict=True):
                    np.testing.assert_array_equal(got, want[name].reshape(got.shape), name)
        emission = emit_c(plan)
        summarize(plan, TARGET, Budgets(None, None), emission).files(emission.files)


def compiles(path: Path, import_only: bool = False) -> bool:
    """Whether the file compiles; False when a ModelError refuses it. Any other exception is a bug, and escapes."""
    try:
        graph = import_model(path, ImportOptions())
        if not import_only and is_small(graph):
            compile_graph(graph)
    except ModelError:
        return False
    return True


def fuzzed(data: bytes, suffix: str) -> None:
    """`compiles` for a fuzzer, for whom an import takes milliseconds and the rest a hundred times as long: one file of
    ten goes beyond its import, always the same one. External data is looked for in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        path.write_bytes(data)
        compiles(path, import_only=zlib.crc32(data) % 10 != 0)
