"""Damaged models that are accepted all the same: their C runs clean and computes what the interpreter computes."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

FUZZ = Path(__file__).parents[1] / "fuzz"
sys.path.insert(0, str(FUZZ))

from compiling import CORPUS, compiles, is_small, plans  # noqa: E402
from mutations import change_graph, change_word  # noqa: E402
from seeds import SEEDS  # noqa: E402

from tinycompile.codegen.c import emit_c  # noqa: E402
from tinycompile.commands.emulate import _against_interpreter  # noqa: E402
from tinycompile.commands.samples import random_inputs  # noqa: E402
from tinycompile.emulate.host import run_host  # noqa: E402
from tinycompile.errors import ModelError  # noqa: E402
from tinycompile.ir.graph import Graph  # noqa: E402
from tinycompile.ir.printer import print_graph  # noqa: E402
from tinycompile.pipeline import ImportOptions, import_model  # noqa: E402

MUTANTS = 60
ATTEMPTS = 300


def mutants(name: str, folder: Path) -> Iterator[Path]:
    """Endless, and the same in every run: the seed with one to three changes."""
    data = (CORPUS / name).read_bytes()
    path = folder / f"model.{name.rsplit('.', 1)[1]}"
    rng = random.Random(name)
    while True:
        if name.endswith(".onnx"):
            model = onnx.ModelProto.FromString(data)
            for _ in range(rng.randint(1, 3)):
                change_graph(model, rng)
            path.write_bytes(model.SerializeToString())
        else:
            changed = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                change_word(changed, rng)
            changed[4:8] = b"TFL3"
            path.write_bytes(changed)
        yield path


@pytest.mark.parametrize("name", SEEDS)
def test_mutants_compile_or_are_refused(name: str, tmp_path: Path) -> None:
    for _, path in zip(range(MUTANTS), mutants(name, tmp_path), strict=False):
        compiles(path)


def accepted(name: str, folder: Path) -> Graph | None:
    """The first small mutant that is another network than its seed; None when there is none among the first few."""
    own = print_graph(import_model(CORPUS / name, ImportOptions(name="model")))
    for _, path in zip(range(ATTEMPTS), mutants(name, folder), strict=False):
        try:
            graph = import_model(path, ImportOptions(name="model"))
        except ModelError:
            continue
        if is_small(graph) and print_graph(graph).splitlines()[1:] != own.splitlines()[1:]:
            return graph
    return None


@pytest.mark.skipif(shutil.which("gcc") is None and shutil.which("clang") is None, reason="no C compiler")
@pytest.mark.parametrize("name", SEEDS)
def test_an_accepted_mutant_computes_what_its_plan_says(name: str, tmp_path: Path) -> None:
    graph = accepted(name, tmp_path)
    assert graph is not None
    plan = plans(graph)[0]
    for file, text in emit_c(plan).files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    inputs = random_inputs(plan.interface, 3)
    _against_interpreter(plan, inputs, run_host(tmp_path, plan.interface, inputs).outputs)
