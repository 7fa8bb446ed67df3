"""The fuzzers' seeds: made in code, valid, and what the corpus holds; the fuzzers' mutations find no crash."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz"
sys.path.insert(0, str(FUZZ))

from compiling import CORPUS, compiles  # noqa: E402
from seeds import SEEDS  # noqa: E402


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_compiles_and_is_the_file_in_the_corpus(name: str) -> None:
    made = SEEDS[name]()
    assert (CORPUS / name).read_bytes() == made
    assert len(made) < 20_000
    assert compiles(CORPUS / name)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = tmp_path / "damaged.onnx"
    path.write_bytes((CORPUS / "onnx" / "seed-qdq-network.onnx").read_bytes()[:-100])
    return path


def test_a_damaged_seed_does_not_compile(damaged: Path) -> None:
    """The control."""
    assert not compiles(damaged)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_thousand_mutations(kind: str, tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    options = ["-runs=1000", "-seed=1", "-timeout=10", f"-artifact_prefix={tmp_path}/"]
    folders = [str(tmp_path / "found"), str(CORPUS / kind)]  # libFuzzer writes to the first
    environment = {**os.environ, "PYTHONPATH": str(FUZZ.parents[1])}
    command = [sys.executable, str(FUZZ / f"fuzz_{kind}.py"), *folders, *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert any((tmp_path / "found").iterdir()), "no mutation reached anything new"
