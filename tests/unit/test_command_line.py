"""The command line as a user runs it: verbs, exit codes, files, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tinycompile.zoo import digits_model_path

DIGITS = str(digits_model_path())


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tinycompile", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def ok(*arguments: str) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_json(*arguments: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(ok(*arguments, "--json"))
    assert data["schema_version"] == 1
    return data


def failed(code: int, *arguments: str) -> list[str]:
    """The three lines of an error with that exit code."""
    done = run(*arguments)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == code, (done.returncode, done.stderr)
    assert [line.split(":")[0].strip().split("[")[0] for line in lines] == ["error", "where", "fix"], done.stderr
    assert "Traceback" not in done.stderr
    return lines


def test_build_writes_the_files_and_a_second_build_replaces_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = ok("build", DIGITS, "--target", "cortex-m7", "--sram", "320k", "-o", str(out))
    assert "FITS" in text
    assert "Memory map" in text
    names = {p.name for p in out.iterdir()}
    expected = {"digits_qdq.h", "digits_qdq.c", "digits_qdq_weights.c", "CMakeLists.txt", "report.html", "report.json"}
    assert expected <= names
    assert (out / "report.html").stat().st_size < 200_000
    (out / "notes.txt").write_text("mine")
    ok("build", DIGITS, "-o", str(out), "--no-compile", "--name", "other")
    assert {p.name for p in out.iterdir() if p.name.startswith("digits")} == set(), (
        "files of the earlier build are left"
    )
    assert (out / "other.c").is_file()
    assert (out / "notes.txt").read_text() == "mine"
    assert not [p for p in tmp_path.iterdir() if p != out], "temporary folders are left behind"


def test_build_keeps_a_folder_that_is_no_build(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    lines = failed(2, "build", DIGITS, "-o", str(tmp_path), "--no-compile")
    assert "not empty" in lines[0]
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    ok("build", DIGITS, "-o", str(tmp_path), "--no-compile", "--force")
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_nothing_is_written_when_it_does_not_fit(tmp_path: Path) -> None:
    lines = failed(4, "build", DIGITS, "--sram", "2k", "-o", str(tmp_path / "out"))
    assert "TC400" in lines[0]
    assert "peak at step" in lines[1]
    assert "--sram" in lines[2]
    assert list(tmp_path.iterdir()) == []
    assert "flash" in failed(4, "build", DIGITS, "--flash", "1k", "-o", str(tmp_path / "out"))[0]


def test_plan_json_has_the_documented_keys() -> None:
    data = as_json("plan", DIGITS)
    documented = {
        *("arena_bytes", "input_mode", "lower_bound_bytes", "optimal", "peak_step", "macs_model", "macs_executed"),
        *("weight_bytes", "stack_bytes"),
    }
    assert documented <= data.keys()
    assert data["input_mode"] == "resident"
    assert data["optimal"] is (data["arena_bytes"] == data["lower_bound_bytes"])
    smaller = as_json("plan", DIGITS, "--io", "quantized")
    assert smaller["interface"]["inputs"][0]["dtype"] == "int8"
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    assert all(f"`{key}`" in text for key in documented)


def test_plan_prints_the_report_and_exits_with_4_when_it_does_not_fit() -> None:
    done = run("plan", DIGITS, "--sram", "1k")
    assert done.returncode == 4
    assert "DOES NOT FIT" in done.stdout


def test_the_frontier_as_table_json_and_plot(tmp_path: Path) -> None:
    plot = tmp_path / "frontier.svg"
    options = ("--io", "quantized", "--input", "external", "--pareto")
    found = as_json("plan", DIGITS, *options, "--plot", str(plot))
    rows = found["frontier"]
    assert [r["arena_bytes"] for r in rows] == sorted((r["arena_bytes"] for r in rows), reverse=True)
    assert rows[0]["recompute"] == 1.0
    assert all(r["recompute"] >= 1.0 and r["cycles"] > 0 for r in rows)
    drawn = ElementTree.parse(plot).getroot()
    assert len(drawn.findall(".//{http://www.w3.org/2000/svg}circle")) == 2 * len(rows)
    table = ok("plan", DIGITS, *options)
    assert len(table.splitlines()) == len(rows) + 1
    assert f"{rows[-1]['arena_bytes']:,}" in table


def test_patches_are_planned_and_run_to_the_bit() -> None:
    options = ("--io", "quantized", "--input", "external", "--minimize", "sram", "--patches", "1x2")
    text = ok("plan", DIGITS, *options)
    assert "1x2 tiles" in text
    assert "Computed twice" in text
    assert as_json("emulate", DIGITS, *options, "--samples", "2")["checked_against_interpreter"]


def test_rows_in_and_out_one_by_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = ok("build", DIGITS, "--io", "quantized", "--input", "streamed", "--results", "streamed", "-o", str(out))
    assert "given row by row" in text
    assert "digits_qdq_sink" in (out / "digits_qdq.h").read_text()
    assert json.loads((out / "report.json").read_text())["output_mode"] == "streamed"
    assert as_json("emulate", str(out), "--samples", "2")["samples"] == 2
    options = ("--io", "quantized", "--results", "streamed")
    assert as_json("emulate", DIGITS, *options, "--samples", "2")["checked_against_interpreter"]


def test_emulate_takes_and_gives_npz(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(0, 1, (3, 1, 1, 8, 8)).astype(np.float32)
    outputs = []
    for name in ("image", "in_0"):
        np.savez(tmp_path / "in.npz", **{name: x})
        out = tmp_path / "out.npz"
        data = as_json("emulate", DIGITS, "--inputs", str(tmp_path / "in.npz"), "--outputs", str(out))
        assert {"instructions", "arena_bytes", "stack_bytes", "emulator", "text_bytes", "rodata_bytes"} <= data.keys()
        assert data["samples"] == 3
        with np.load(out) as loaded:
            outputs.append(loaded["out_0"])
    assert outputs[0].shape == (3, 1, 10)
    np.testing.assert_array_equal(*outputs)
    assert len(np.unique(outputs[0], axis=0)) == 3


def test_emulate_a_folder_on_a_core(tmp_path: Path) -> None:
    pytest.importorskip("unicorn", reason="unicorn is not installed")
    ok("build", DIGITS, "-o", str(tmp_path / "out"), "--no-compile")
    data = as_json("emulate", str(tmp_path / "out"), "--on", "cortex-m7", "--samples", "1")
    assert data["instructions"] > data["arena_bytes"]
    assert data["stack_bytes"] > 0


def test_wrong_inputs_are_told_apart(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", other=np.zeros((1, 1, 1, 8, 8), dtype=np.float32))
    assert "no array" in failed(2, "emulate", DIGITS, "--inputs", str(tmp_path / "a.npz"))[0]
    np.savez(tmp_path / "b.npz", image=np.zeros((1, 8, 8), dtype=np.float64))
    assert "float64" in failed(2, "emulate", DIGITS, "--inputs", str(tmp_path / "b.npz"))[0]
    assert "cannot read" in failed(2, "emulate", DIGITS, "--inputs", str(tmp_path / "none.npz"))[0]
    failed(2, "emulate", str(tmp_path))


def test_verify_passes_on_the_example() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    data = as_json("verify", DIGITS, "--samples", "2")
    assert data["first_difference"] is None
    assert len(data["layers"]) >= 10


@pytest.mark.parametrize("verb", ["targets", "boards", "ops", "doctor"])
def test_lists(verb: str) -> None:
    assert ok(verb).strip()
    assert len(as_json(verb)) == 2


def test_inspect() -> None:
    data = as_json("inspect", DIGITS)
    assert sum(layer["macs"] for layer in data["layers"]) == as_json("plan", DIGITS)["macs_model"]
    assert "conv2d" in ok("inspect", DIGITS)


def test_dump_after_prints_the_graph() -> None:
    done = run("plan", DIGITS, "--dump-after", "import")
    assert done.returncode == 0
    assert "=== after import" in done.stderr
    assert "no pass" in failed(2, "plan", DIGITS, "--dump-after", "nonsense")[0]


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (2, ["build"]),
        (2, ["nonsense"]),
        (2, ["build", DIGITS, "--nonsense"]),
        (2, ["build", DIGITS, "--sram", "lots"]),
        (2, ["plan", DIGITS, "--shape", "image"]),
        (2, ["plan", DIGITS, "--patches", "2by2"]),
        (2, ["plan", DIGITS, "--patches", "2x2", "--stage-end", "nowhere"]),
        (2, ["plan", DIGITS, "--patches", "2x2", "--input", "streamed"]),
        (2, ["plan", DIGITS, "--stage-end", "conv1"]),
        (2, ["plan", DIGITS, "--patches", "1x2", "--max-recompute", "1.1"]),
        (2, ["plan", DIGITS, "--max-recompute", "0.5"]),
        (2, ["plan", DIGITS, "--plot", "frontier.svg"]),
        (3, ["build", "missing.tflite"]),
        (3, ["plan", DIGITS, "--target", "cortex-m77"]),
        (3, ["plan", str(Path(__file__).parent)]),
        (2, ["emulate", DIGITS, "--on", "cortex-m55", "--emulator", "unicorn"]),
    ],
)
def test_errors_are_three_lines_and_a_code(code: int, arguments: list[str]) -> None:
    failed(code, *arguments)


def test_unexpected_exceptions_are_a_bug_report() -> None:
    code = (
        "import sys, tinycompile.commands.plan as p, tinycompile.cli as c\n"
        "def boom(*a, **k): raise RuntimeError('on purpose')\n"
        "p.plan_model = boom\n"
        f"sys.argv = ['tinycompile', 'plan', {DIGITS!r}]\n"
        "c.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "TC900" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_error_code_has_a_section_in_the_docs() -> None:
    from tinycompile import errors

    text = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
    codes = {c.code for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.TinyCompileError)}
    assert all(f"## {code}" in text for code in codes - {"TC000"})


def test_python_interface(tmp_path: Path) -> None:
    import tinycompile

    built = tinycompile.build(DIGITS, sram="320k", out=tmp_path / "out")
    assert (tmp_path / "out" / "digits_qdq.c").is_file()
    plan = tinycompile.plan(DIGITS)
    assert isinstance(plan, tinycompile.Plan)
    assert tinycompile.report_for(plan).arena.value == built.report.arena.value
    with pytest.raises(tinycompile.report.summary.DoesNotFitError):
        tinycompile.build(DIGITS, sram=100)
    plan = tinycompile.plan(DIGITS, io="quantized", input="external", results="streamed")
    assert (plan.input_mode.value, plan.output_mode.value) == ("external", "streamed")
    with pytest.raises(tinycompile.errors.UsageError, match="popped"):
        tinycompile.plan(DIGITS, results="popped")
