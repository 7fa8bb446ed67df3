"""Same model and options, same bytes: whatever the folder and the hash seed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "tinycompile" / "zoo" / "digits_qdq.onnx"
SHARED = ROOT.parent / "shared" / "models"


def digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def build(model: Path, folder: Path, seed: str, io: str) -> dict[str, str]:
    folder.mkdir(parents=True)
    copy = folder / model.name
    shutil.copyfile(model, copy)
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tinycompile", "build", str(copy), "--target", "cortex-m7", "--io", io]
    subprocess.run([*command, "-o", str(folder / "out")], check=True, env=environment, capture_output=True, cwd=folder)
    return digest(folder / "out")


@pytest.mark.parametrize("io", ["model", "quantized"])
@pytest.mark.parametrize(
    "model", [DIGITS, SHARED / "mlperf_resnet8_int8.tflite", SHARED / "micro_kws_m_qdq.onnx"], ids=lambda p: p.stem
)
def test_two_builds_are_byte_identical(model: Path, io: str, tmp_path: Path) -> None:
    if not model.exists():
        pytest.skip(f"{model.name} is not on this machine")
    first = build(model, tmp_path / "a", "1", io)
    second = build(model, tmp_path / "some" / "other folder", "4242", io)
    assert first == second
    assert len(first) > 5


def test_a_different_option_changes_the_bytes(tmp_path: Path) -> None:
    """The control: the comparison can tell two builds apart."""
    assert build(DIGITS, tmp_path / "a", "1", "model") != build(DIGITS, tmp_path / "b", "1", "quantized")
