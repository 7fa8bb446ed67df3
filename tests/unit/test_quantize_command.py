"""`tinycompile quantize` and `build --quantize` as a user runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from onnx_models import runtime
from ptq_models import islands, residual_network, save
from test_command_line import failed, ok, run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    maker, out = residual_network()
    return save(maker, tmp_path / "net.onnx", out)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).normal(0, 1, (30, 1, 3, 12, 12)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=samples)
    return tmp_path / "data.npz"


def test_the_file_built_is_the_same_as_build_quantize_gives(model: Path, data: Path, tmp_path: Path) -> None:
    """The same C, to the byte, and the same ONNX file."""
    one, two = tmp_path / "one", tmp_path / "two"
    int8 = tmp_path / "net_int8.onnx"
    text = ok("quantize", str(model), "--calibration", str(data), "-o", str(int8))
    assert "top-1 agrees in" in text
    assert "noisiest layers" in text
    ok("build", str(int8), "--no-compile", "-o", str(one))
    ok("build", str(model), "--quantize", "--calibration", str(data), "--no-compile", "-o", str(two))
    assert (two / "net_int8.onnx").read_bytes() == int8.read_bytes()
    names = {p.name for p in one.iterdir()} - {"report.json"}
    assert {p.name for p in two.iterdir()} == names | {"net_int8.onnx", "quantization.html", "report.json"}
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_json_page_and_metric(model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def samples():\n    rng = np.random.default_rng(1)\n"
        "    return (dict(x=rng.normal(0, 1, (1, 3, 12, 12))) for _ in range(25))\n"
        "def largest(outputs, inputs):\n    assert len(outputs) == len(inputs) == 5\n"
        "    return max(float(v.max()) for o in outputs for v in o.values())\n"
        "def wrong(outputs, inputs):\n    return outputs['y']\n"
    )
    common = ["quantize", str(model), "--calibration", "mine:samples", "-o", "q.onnx"]
    done = run(*common, "--json", "--metric", "mine:largest", "--report", "q.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema_version"] == 1
    assert (report["calibration_samples"], report["samples"], report["held_out"]) == (20, 5, True)
    assert report["metric"]["float"] == pytest.approx(report["metric"]["int8"], abs=0.02)
    assert report["sqnr"] > 30
    assert report["int8"]["weight_bytes"] < report["float"]["weight_bytes"] / 2
    assert report["float_operators"] == {}
    page = (tmp_path / "q.html").read_text()
    assert page.count("<rect") == 2 * len(report["layers"]) + 4
    for number, tensor in enumerate(report["worst"][:5], start=1):
        assert re.search(rf'class="mark"[^>]*>{number}<', page)
        assert tensor in page[page.index("<ol>") : page.index("</ol>")]
    for sizes in (report["float"], report["int8"]):
        assert f"{sizes['weight_bytes']:,} B</text>" in page
        assert f"{sizes['arena_bytes']:,} B</text>" in page
    assert "<script" not in page
    assert run(*common, "--metric", "mine:wrong", cwd=tmp_path).returncode == 2
    want = runtime(tmp_path / "q.onnx", {"x": np.zeros((1, 3, 12, 12), dtype=np.float32)})
    assert want[0].shape == (1, 5)


def test_an_accuracy_budget_makes_activations_int16(data: Path, tmp_path: Path, model: Path) -> None:
    common = ["quantize", str(model), "--calibration", str(data), "-o", str(tmp_path / "q.onnx"), "--json"]
    plain = json.loads(ok(*common))
    mixed = json.loads(ok(*common, "--min-sqnr", str(plain["sqnr"] + 4)))
    wide = json.loads(ok(*common, "--activations", "int16"))
    assert mixed["sqnr"] >= plain["sqnr"] + 4
    assert set(wide["float_operators"].values()) == {"softmax has no int16 kernel"}
    assert "kept float to gain accuracy" not in mixed["float_operators"].values()
    assert plain["int16_activations"] == []
    assert 0 < len(mixed["int16_activations"]) < len(wide["int16_activations"])
    assert wide["sqnr"] > plain["sqnr"] + 6
    assert wide["int8"]["arena_bytes"] > plain["int8"]["arena_bytes"]


def test_an_accuracy_budget_keeps_parts_in_float(data: Path, tmp_path: Path, model: Path) -> None:
    """Where int16 is not enough, because weights are int8."""
    common = ["quantize", str(model), "--calibration", str(data), "-o", str(tmp_path / "q.onnx"), "--json"]
    wide = json.loads(ok(*common, "--activations", "int16"))
    for given in ([], ["--activations", "int16"]):
        mixed = json.loads(ok(*common, *given, "--min-sqnr", str(wide["sqnr"] + 3)))
        assert mixed["sqnr"] >= wide["sqnr"] + 3
        assert "kept float to gain accuracy" in mixed["float_operators"].values()
    built = json.loads(ok("build", str(tmp_path / "q.onnx"), "--no-compile", "--json", "-o", str(tmp_path / "out")))
    (flash,) = [f["needs_bytes"] for f in built["fits"] if f["region"] == "flash"]
    lines = failed(1, *common[:-1], "--min-sqnr", "90", "--flash", str(flash))
    assert "does not fit" in lines[2]


def test_weights_of_four_bits(data: Path, tmp_path: Path, model: Path) -> None:
    """Asked for, or where flash is short; what is reported is what is built."""
    common = ["--calibration", str(data), "-o", str(tmp_path / "q.onnx")]
    text = ok("quantize", str(model), *common, "--weights", "int4")
    assert "4 of 4 layers have weights of 4 bits" in text
    assert "B int4" in text
    shown = ok("inspect", str(tmp_path / "q.onnx"))
    assert shown.count("(4 bits)") == 4
    built = json.loads(ok("build", str(tmp_path / "q.onnx"), "--no-compile", "--json", "-o", str(tmp_path / "out")))
    assert built["narrow_saved_bytes"] > 100
    (needs,) = [f["needs_bytes"] for f in built["fits"] if f["region"] == "flash"]
    whole = json.loads(ok("quantize", str(model), *common, "--json"))
    assert set(whole["weight_bits"].values()) == {8}
    mixed = json.loads(ok("quantize", str(model), *common, "--json", "--flash", str(needs + 60)))
    assert {4, 8} == set(mixed["weight_bits"].values())
    assert whole["sqnr"] > mixed["sqnr"]
    flash = ["--flash", str(needs + 60), "--no-compile", "--json"]
    again = json.loads(ok("build", str(model), "--quantize", *common[:-1], str(tmp_path / "two"), *flash))
    assert again["quantization"]["weight_bits"] == mixed["weight_bits"]
    failed(4, "quantize", str(model), *common, "--flash", "1k")


def test_what_is_wrong_is_said(model: Path, data: Path, tmp_path: Path) -> None:
    assert "--calibration" in failed(2, "quantize", str(model))[1]
    failed(2, "quantize", str(model), "--calibration", str(tmp_path / "nothing.npz"))
    failed(2, "build", str(model), "--calibration", str(data))
    failed(2, "build", str(model), "--quantize")
    failed(3, "quantize", str(data), "--calibration", str(data))
    assert not (tmp_path / "out").exists()


def test_what_stays_float_is_named(tmp_path: Path) -> None:
    maker, out = islands()
    path = save(maker, tmp_path / "net.onnx", out)
    np.save(tmp_path / "data.npy", np.random.default_rng(0).normal(0, 1, (20, 6, 16)).astype(np.float32))
    text = ok("quantize", str(path), "--calibration", str(tmp_path / "data.npy"), "-o", str(tmp_path / "q.onnx"))
    assert "operators stay float" in text
    assert "sum has no int8 kernel" in text
