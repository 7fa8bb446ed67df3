"""ONNX backend node tests through the whole compiler: right, refused, or wrong.

Each test's model is compiled to C, built by the system compiler with sanitizers and warnings as errors, and run on the
test's own data (rtol 1e-3, atol 1e-7; exact for integers). A model that is refused with a ModelError counts as refused;
when some inputs are scales, shapes or weights, they are frozen to the test's own values and the test counts as
"frozen".

    python benchmarks/conformance.py names.txt -o conformance.json
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tinycompile.errors import ModelError
from tinycompile.pipeline import ImportOptions, build_model
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target

RTOL, ATOL = 1e-3, 1e-7
# Operators of which every input is a shape or a size.
SIZES_ALONE = frozenset(
    {"BlackmanWindow", "ConstantOfShape", "HammingWindow", "HannWindow", "MelWeightMatrix", "Range"}
)
Array = np.ndarray[Any, Any]


@functools.cache
def node_tests() -> dict[str, Any]:
    """The backend node tests that the onnx package defines, by name."""
    from onnx.backend.test.loader import load_node_model_tests

    return {case.name: case for case in load_node_model_tests()}


def _arrays(values: Sequence[Any]) -> list[Array]:
    """Tensors of a data set; ValueError for sequences, optionals and maps."""
    result = []
    for value in values:
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        if not isinstance(value, (np.ndarray, np.generic)):
            raise ValueError("not a tensor")
        result.append(np.asarray(value))
    return result


def _run(model: Path, inputs: list[Array], frozen: dict[str, Array]) -> list[Any]:
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


def _matches(got: list[Any], want: list[Array]) -> bool:
    for g, w in zip(got, want, strict=True):
        if g.dtype != w.dtype or g.shape != w.shape:
            return False
        same = np.allclose(g, w, RTOL, ATOL, equal_nan=True) if w.dtype.kind == "f" else np.array_equal(g, w)
        if not same:
            return False
    return True


def run_test(name: str) -> tuple[str, str]:
    """(outcome, detail): passed, frozen (passed with inputs frozen), refused, or wrong."""
    case = node_tests()[name]
    names = [i.name for i in case.model.graph.input]
    kinds = {node.op_type for node in case.model.graph.node}
    detail = ""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        onnx.save(case.model, str(model))
        try:
            inputs, want = (_arrays(values) for values in case.data_sets[0])
        except ValueError:  # sequences, optionals: no value of ours can be one
            return _refusal(model)
        names = names[: len(inputs)]
        first = 0 if kinds <= SIZES_ALONE else 1
        for frozen in ({}, dict(zip(names[first:], inputs[first:], strict=True))):
            if not frozen and detail:
                break
            try:
                got = _run(model, inputs, frozen)
            except ModelError as error:
                detail = detail or f"{error.code}: {error.what}"
                continue
            if not _matches(got, want):
                return "wrong", "outputs differ" + (" (inputs frozen)" if frozen else "")
            return ("frozen" if frozen else "passed"), ""
    return "refused", detail


def _refusal(model: Path) -> tuple[str, str]:
    """The outcome of a model that must be refused, whatever its inputs."""
    try:
        build_model(model, load_target("host"), Budgets(None, None), ImportOptions())
    except ModelError as error:
        return "refused", f"{error.code}: {error.what}"
    return "wrong", "a model of sequences compiles"


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
