"""Real float32 models: arena of whole buffers and of least SRAM, weights, and how far their C is from the reference.

python benchmarks/float_models.py [-o floats.json] [--only NAME ...] [--whole]

Needs the model files beside the checkout. The difference is the largest, over the largest golden output, of two samples
(one where there are no more) run as sanitised C. --whole leaves out the plans of least SRAM, which take up to 20 s.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from models import SHARED

from tinycompile.codegen.c import emit_c
from tinycompile.emulate.host import run_host
from tinycompile.ir.plan import Plan
from tinycompile.pipeline import ImportOptions, import_model
from tinycompile.planning.choose import choose_plan
from tinycompile.planning.goal import Goal
from tinycompile.schedule import plan_graph, verify_plan
from tinycompile.target import load_target

FILES = {
    "simplenet_mini": "zoo/simplenet_mini.onnx",
    "micro_kws_m": "micro_kws_m_float.onnx",
    "mlperf_vww96": "mlperf_vww96_float.tflite",
    "st_mobilenetv2_035_128": "st_mobilenetv2_035_128.onnx",
    "nanoflownet": "nanoflownet_float.tflite",
    "pcdarts_mini": "zoo/pcdarts_mini.onnx",
    "segnet_mini_unpool": "zoo/segnet_mini_unpool.onnx",
    "efficienttdnn_mini": "zoo/efficienttdnn_mini.onnx",
    "compactflow_mini_64x64": "zoo/compactflow_mini_64x64.onnx",
}


def golden(path: Path, names: tuple[str, ...], prefix: str) -> list[np.ndarray]:
    """The first samples of golden tensors, on a leading axis that those of the zoo lack."""
    with np.load(path.with_suffix(".npz")) as data:
        arrays = [data[k] for k in sorted(data.files) if k.startswith(prefix)]
    return [a[None] if path.parent.name == "zoo" else a[:2] for a in arrays[: len(names)]]


def difference(plan: Plan, path: Path) -> tuple[float, int]:
    """Of the C code's outputs from the golden ones, and the bytes of its weights."""
    emission = emit_c(plan)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in emission.files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        got = run_host(Path(folder), plan.interface, golden(path, plan.graph.inputs, "in_")).outputs
    want = golden(path, plan.graph.outputs, "out_")
    worst = max(float(np.abs(g.reshape(w.shape) - w).max() / np.abs(w).max()) for g, w in zip(got, want, strict=True))
    return worst, emission.weight_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(FILES), default=list(FILES), metavar="NAME")
    parser.add_argument("--whole", action="store_true", help="whole buffers only")
    args = parser.parse_args()
    target, rows = load_target("cortex-m7"), []
    for name in args.only:
        path = SHARED / FILES[name]
        if not path.is_file():
            raise SystemExit(f"{path} is not there: the models are beside the checkout or not at all")
        graph = import_model(path, ImportOptions())
        plans = [plan_graph(graph, target, prefix="m")]
        if not args.whole:
            plans.append(choose_plan(graph, target, "m", Goal(minimize_sram=True)))
        arenas = [plan.arena_bytes for plan in plans]
        found = []
        for plan in plans:
            verify_plan(plan)
            found.append(difference(plan, path))
        worst, weights = max(w for w, _ in found), found[0][1]
        least = "-" if args.whole else f"{arenas[1]:,}"
        print(f"| {name} | {arenas[0]:,} | {least} | {weights:,} | {worst:.0e} |", flush=True)
        rows.append({"model": name, "arena_bytes": arenas, "weight_bytes": weights, "difference": worst})
    if args.output:
        args.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
