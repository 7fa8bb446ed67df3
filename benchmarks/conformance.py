"""ONNX backend node tests through the whole compiler: right, refused, or wrong.

Each test's model is compiled to C, built by the system compiler with sanitizers and warnings as errors, and run on the
test's own data (rtol 1e-3, atol 1e-7; exact for integers). A model that is refused with a ModelError counts as refused;
when some inputs are scales, shapes or weights, they are frozen to the test's own values and the test counts as
"frozen".

    python benchmarks/conformance.py names.txt -o conformance.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tinycompile.errors import ModelError
from tinycompile.pipeline import ImportOptions, build_model
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target

NODE_TESTS = Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"
RTOL, ATOL = 1e-3, 1e-7


def _load_tensors(folder: Path, stem: str) -> list[np.ndarray[Any, Any]]:
    result = []
    for k in range(len(list(folder.glob(f"{stem}_*.pb")))):
        proto = onnx.TensorProto()
        proto.ParseFromString((folder / f"{stem}_{k}.pb").read_bytes())
        result.append(numpy_helper.to_array(proto))
    return result


def _run(model: Path, inputs: list[np.ndarray[Any, Any]], frozen: dict[str, np.ndarray[Any, Any]]) -> list[Any]:
    from tinycompile.emulate.host import run_host

    names = [i.name for i in onnx.load(model).graph.input]
    options = ImportOptions(frozen_inputs=frozen)
    build = build_model(model, load_target("host"), Budgets(None, None), options)
    live = [a[None] for n, a in zip(names, inputs, strict=True) if n not in frozen]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in build.files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        run = run_host(Path(folder), build.plan.interface, live)
    return [o[0] for o in run.outputs]


def _matches(got: list[Any], want: list[np.ndarray[Any, Any]]) -> bool:
    for g, w in zip(got, want, strict=True):
        if g.dtype != w.dtype or g.shape != w.shape:
            return False
        same = np.allclose(g, w, RTOL, ATOL, equal_nan=True) if w.dtype.kind == "f" else np.array_equal(g, w)
        if not same:
            return False
    return True


def run_test(name: str) -> tuple[str, str]:
    """(outcome, detail): passed, frozen (passed with inputs frozen), refused, or wrong."""
    folder = NODE_TESTS / name
    model = folder / "model.onnx"
    inputs = _load_tensors(folder / "test_data_set_0", "input")
    want = _load_tensors(folder / "test_data_set_0", "output")
    names = [i.name for i in onnx.load(model).graph.input]
    detail = ""
    # First with every input live; then with all but the first, and last with the smallest set, frozen.
    for freeze in (0, 1):
        frozen = dict(zip(names[1:], inputs[1:], strict=True)) if freeze else {}
        if freeze and not frozen:
            break
        if freeze and name.startswith("test_qlinearconv"):
            frozen = {n: a for n, a in zip(names, inputs, strict=True) if n != names[0]}
        try:
            got = _run(model, inputs, frozen)
        except ModelError as error:
            detail = detail or f"{error.code}: {error.what}"
            continue
        if not _matches(got, want):
            return "wrong", "outputs differ" + (" (inputs frozen)" if freeze else "")
        return ("frozen" if freeze else "passed"), ""
    return "refused", detail


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", type=Path, help="a file with one test name per line")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    results: dict[str, dict[str, str]] = {}
    names = args.names.read_text(encoding="utf-8").split()
    for number, name in enumerate(names):
        try:
            outcome, detail = run_test(name)
        except Exception as error:  # a crash of ours is a result to report, not a reason to stop
            outcome, detail = "crash", f"{type(error).__name__}: {error}"[:400]
        results[name] = {"outcome": outcome, "detail": detail}
        if sys.stderr.isatty() and number % 10 == 0:
            print(f"\r{number}/{len(names)}", end="", file=sys.stderr, flush=True)
    counts = dict(sorted(Counter(r["outcome"] for r in results.values()).items()))
    if args.output:
        args.output.write_text(json.dumps({"counts": counts, "tests": results}, indent=1, sort_keys=True) + "\n")
    print(json.dumps(counts))
    for name, r in results.items():
        if r["outcome"] in ("wrong", "crash"):
            print(f"{r['outcome']}: {name}: {r['detail']}")
    return 1 if {"wrong", "crash"} & counts.keys() else 0


if __name__ == "__main__":
    sys.exit(main())
