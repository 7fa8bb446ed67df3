"""Instructions by layer: they add up, in both emulators alike, and an earlier run can be held against."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tinycompile.commands.bench import bench, earlier
from tinycompile.errors import UsageError

DIGITS = str(Path(__file__).parents[2] / "tinycompile" / "zoo" / "digits_qdq.onnx")

pytestmark = pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="needs arm-none-eabi-gcc")


def measure(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(bench, [DIGITS, "--json", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("way", [(), ("--minimize", "sram", "--max-recompute", "1.0")])
@pytest.mark.parametrize("emulator", ["unicorn", "qemu"])
def test_layers_add_up(emulator: str, way: tuple[str, ...]) -> None:
    if emulator == "qemu" and not shutil.which("qemu-system-arm"):
        pytest.skip("needs qemu-system-arm")
    found = measure("--on", "cortex-m4", "--emulator", emulator, *way)
    counted = sum(layer["instructions"] for layer in found["layers"])
    turns = 200 if not way else 20_000  # what a row program does between the functions of its operators
    assert found["instructions"] - turns <= counted <= found["instructions"]
    assert all(layer["instructions"] > 0 for layer in found["layers"])
    assert sum(layer["macs"] for layer in found["layers"]) == found["macs"]


def test_both_emulators_count_alike() -> None:
    if not shutil.which("qemu-system-arm"):
        pytest.skip("needs qemu-system-arm")
    one, other = (measure("--on", "cortex-m4", "--emulator", emulator) for emulator in ("unicorn", "qemu"))
    assert [layer["instructions"] for layer in one["layers"]] == [layer["instructions"] for layer in other["layers"]]


def test_an_earlier_run_beside_it(tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    before.write_text(json.dumps(measure("--on", "cortex-m4")), encoding="utf-8")
    done = CliRunner().invoke(bench, [DIGITS, "--on", "cortex-m0plus", "--compare", str(before)])
    assert done.exit_code == 0, done.output
    ratios = [float(line.split()[-2]) for line in done.output.splitlines() if line.endswith(" x")]
    assert ratios
    assert min(ratios) > 0.9
    assert max(ratios) > 2  # the smaller core has no instruction for two products


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layers": [{}]}', '{"layers": 3}'])
def test_a_file_without_layers_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="has no layers"):
        earlier(str(file), [])
