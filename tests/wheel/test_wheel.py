"""The wheel: built from the sdist, complete, and able to compile a model from another folder in a fresh environment."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ("targets", "templates", "runtime_c", "boards")


def tracked() -> list[str]:
    out = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if out.returncode != 0:
        pytest.skip("not a git checkout, so there is no list of tracked files to hold the wheel against")
    return out.stdout.split("\n")[:-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("build", reason="the build package is not installed")
    folder = tmp_path_factory.mktemp("dist")
    # sdist first and the wheel from it, as a package index would.
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert any(tarfile.is_tarfile(p) for p in folder.glob("*.tar.gz"))
    return next(folder.glob("*.whl"))


def test_wheel_holds_every_tracked_file_and_no_other(wheel: Path) -> None:
    expected = set()
    for name in tracked():
        first = name.split("/")[0]
        if first == "tinycompile":
            expected.add(name)
        elif first in DATA:
            expected.add(f"tinycompile/_data/{name}")
    held = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert held == expected


def test_wheel_compiles_a_model_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, cwd=tmp_path)
    tool = home / "bin" / "tinycompile"
    subprocess.run([tool, "example", "model"], check=True, cwd=tmp_path)
    model = next((tmp_path / "model").glob("*.onnx"))
    subprocess.run([tool, "build", str(model), "--target", "cortex-m7", "-o", "out"], check=True, cwd=tmp_path)
    assert list((tmp_path / "out").glob("*_weights.c"))
    where = subprocess.run(
        [python, "-c", "import tinycompile; print(tinycompile.__file__)"],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert str(home) in where.stdout
