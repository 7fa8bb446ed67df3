"""Stable text: the lowered graph, the plan, and the generated C of two small graphs.

``pytest tests/golden --update-golden`` rewrites the files: for a person, who then reads the diff. A missing file fails.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from test_codegen import streamed, two_convolutions

from tinycompile.codegen.c import emit_c
from tinycompile.ir.printer import print_graph, print_plan
from tinycompile.schedule import plan_graph
from tinycompile.target import load_target

FILES = Path(__file__).parent / "files"


def texts() -> dict[str, str]:
    graph = two_convolutions()
    plan = plan_graph(graph, load_target("cortex-m7"), prefix="two")
    files = emit_c(plan).files
    return {
        "two.graph": print_graph(graph),
        "two.plan": print_plan(plan),
        "two_streamed.plan": print_plan(streamed()),
        "two.h": files["two.h"],
        "two.c": files["two.c"],
        "two_weights.c": files["two_weights.c"],
        "two_streamed.c": emit_c(streamed()).files["two.c"],
    }


@pytest.mark.parametrize("name", sorted(texts()))
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    path, text = FILES / name, texts()[name]
    if request.config.getoption("--update-golden"):
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{name} is missing: run with --update-golden and read the diff"
    assert text == path.read_text(encoding="utf-8")
