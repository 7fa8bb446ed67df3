"""Post-training quantisation of the float models beside the checkout: what int8 costs, and that both compile right.

Prints the table of the README, a row per model: the largest difference of the float network's C code, run under
sanitizers, from its golden outputs; bytes of constants and of the arena (whole buffers) of both; how many operators
stay float; SQNR of the output over samples that calibration did not see, and for classifiers how often the class is the
same, of all samples and of the decided ones (whose two best classes are DECIDED apart in the float network); and the
largest difference of onnxruntime (its optimisations off) running the QDQ file, in steps of the output's scale. The C
code of the int8 network is held to the interpreter's bits.

Inputs are of several kinds for networks of images (`quantization_inputs`), as many of each to calibrate; figures are
given for each kind. With --min-top1 or --min-sqnr what is needed stays float, judged by a third set of samples.

    python benchmarks/quantization.py [--only NAME...] [--weights int4] [--activations int16] [--min-top1 0.99]
                                      [-o FILE.json]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import quantization_inputs as inputs
from float_models import FILES, difference
from models import SHARED

from tinycompile.codegen.c import emit_c
from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_plan
from tinycompile.ir.graph import Array
from tinycompile.ir.plan import Plan
from tinycompile.pipeline import ImportOptions, import_model
from tinycompile.quantize.calibration import Sample
from tinycompile.quantize.measure import Noise, run_both
from tinycompile.quantize.mixed import AccuracyBudget, quantize_within
from tinycompile.quantize.quantizer import Quantized, QuantizeOptions, load_float_model
from tinycompile.quantize.ranges import CALIBRATORS
from tinycompile.quantize.widths import Excess
from tinycompile.report.quantization import weight_bytes
from tinycompile.schedule import plan_graph, verify_plan
from tinycompile.target import load_target
from tinycompile.watch import Watch

COMPARED = 4  # samples for C and onnxruntime
DECIDED = 0.1
COLUMNS = (
    "float model",
    "off by",
    "constants float",
    "int8",
    "arena float",
    "int8",
    "operators in float",
    "SQNR dB",
    "top-1 agrees, %",
    "of decided, % (these are, %)",
    "onnxruntime, steps of the output",
)


@dataclass(frozen=True)
class Case:
    """`images`: None for a network of seeded weights, which is given normal noise. `samples`: of each kind, those to
    calibrate with and those held out. `classes`: whether the output is a class."""

    images: inputs.Images | None = None
    samples: tuple[int, int] = (60, 60)
    classes: bool = False


CASES = {
    "mlperf_vww96": Case(inputs.Images(96, 96, 3), (40, 200), True),
    # An assumption: features of TensorFlow Lite Micro's audio front end, which make such inputs, are 0 to 26.
    "micro_kws_m": Case(inputs.Images(49, 40, 1, 0.0, 26.0), (40, 200), True),
    "st_mobilenetv2_035_128": Case(inputs.Images(128, 128, 3, channels_first=True), (30, 60), True),
    "nanoflownet": Case(inputs.Images(112, 160, 1), (30, 20)),
    "simplenet_mini": Case(),
    "segnet_mini_unpool": Case(),
    "pcdarts_mini": Case(samples=(40, 30)),
    "efficienttdnn_mini": Case(samples=(40, 30)),
    "compactflow_mini_64x64": Case(samples=(16, 10)),
}


def onnxruntime_steps(data: bytes, given: list[Sample], ours: list[Array], step: float) -> float:
    """The largest difference of onnxruntime's output, in steps of `step`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    worst = max(float(np.abs(session.run(None, dict(x))[0] - y).max()) for x, y in zip(given, ours, strict=True))
    return worst / step


def compare(made: Quantized, held_out: list[Sample]) -> dict[str, float]:
    """SQNR of the output, the share of samples of one class, and that of decided ones among all and of one class among
    these."""
    noise = Noise()
    margins, same = [], []
    for sample in held_out:
        both = run_both(made.reference, made.lowered, sample, everything=False)
        exact, got = (v[g.outputs[0]].reshape(-1) for v, g in zip(both, (made.reference, made.lowered), strict=True))
        noise.add(exact, got)
        second, first = np.sort(exact)[-2:]
        margins.append(float(first - second))
        same.append(bool(exact.argmax() == got.argmax()))
    decided = [s for s, m in zip(same, margins, strict=True) if m >= DECIDED]
    return {
        "sqnr": noise.sqnr,
        "top1": sum(same) / len(same),
        "decided": len(decided) / len(same),
        "top1_of_decided": sum(decided) / max(len(decided), 1),
    }


def c_outputs(plan: Plan, given: list[Array]) -> Array:
    with tempfile.TemporaryDirectory() as folder:
        for file, text in emit_c(plan).files.items():
            (Path(folder) / file).write_text(text, encoding="utf-8")
        return run_host(Path(folder), plan.interface, given).outputs[0]


def row(name: str, settings: QuantizeOptions, budget: AccuracyBudget, files: Path | None) -> dict[str, Any]:
    case, path, target = CASES[name], SHARED / FILES[name], load_target("cortex-m7")
    graph = load_float_model(path)
    kinds = ["noise"] if case.images is None else list(inputs.KINDS)
    calibration, held_out, judged_by = (
        {kind: inputs.made(graph, case.images, kind, count, seed) for kind in kinds}
        for seed, count in enumerate((*case.samples, case.samples[1]), start=1)
    )
    watch = Watch(tell=lambda text: print(f"\r{name}: {text:<60}", end="", file=sys.stderr, flush=True))
    used, judge = ([s for kind in kinds for s in given[kind]] for given in (calibration, judged_by))
    made = quantize_within(graph, used, judge, settings, budget, lambda lowered: Excess(0, 0), watch)
    onnx.checker.check_model(onnx.load_from_string(made.data), full_check=True)
    if files is not None:
        files.mkdir(parents=True, exist_ok=True)
        (files / f"{name}_{settings.weights}.onnx").write_bytes(made.data)
    watch.phase("comparing")
    found = {kind: compare(made, held_out[kind]) for kind in kinds}
    plans = [plan_graph(g, target, prefix="m") for g in (import_model(path, ImportOptions()), made.lowered)]
    for plan in plans:
        verify_plan(plan)
    watch.phase("C of the float network")
    off, _ = difference(plans[0], path)
    watch.phase("C of the int8 network")
    compared = [s for kind in kinds for s in held_out[kind]][:: max(1, case.samples[1] * len(kinds) // COMPARED)]
    given = [np.stack([s[n] for s in compared]) for n in graph.inputs]
    want = [run_plan(plans[1], [a[k] for a in given])[0] for k in range(len(compared))]
    got = c_outputs(plans[1], given)
    last = made.lowered.producers()[made.lowered.outputs[0]].inputs[0]
    quant = made.lowered.tensors[last].quant
    print("\r" + " " * 100, end="\r", file=sys.stderr, flush=True)
    return {
        "model": name,
        "difference": off,
        "weight_bytes": [weight_bytes(p.graph) for p in plans],
        "arena_bytes": [p.arena_bytes for p in plans],
        "operators": len(graph.ops),
        "float_operators": len(made.scheme.kept_float),
        "samples": case.samples,
        "inputs": found,
        "onnxruntime_steps": onnxruntime_steps(made.data, compared, want, quant.scale[0] if quant else 1.0),
        "c_equal": all(np.array_equal(g.reshape(w.shape), w) for g, w in zip(got, want, strict=True)),
    }


def printed(r: dict[str, Any]) -> str:
    """The row of the table."""
    (w0, w1), (a0, a1), found = r["weight_bytes"], r["arena_bytes"], list(r["inputs"].values())
    classes = CASES[r["model"]].classes
    top1 = " / ".join(f"{100 * f['top1']:.1f}" for f in found) if classes else "-"
    decided = " / ".join(f"{100 * f['top1_of_decided']:.1f} ({100 * f['decided']:.0f})" for f in found)
    sqnr = " / ".join(f"{f['sqnr']:.1f}" for f in found)
    floats = f"{r['float_operators']} of {r['operators']}"
    columns = (
        r["model"],
        f"{r['difference']:.0e}",
        f"{w0:,}",
        f"{w1:,}",
        f"{a0:,}",
        f"{a1:,}",
        floats,
        sqnr,
        top1,
        decided if classes else "-",
        f"{r['onnxruntime_steps']:.0f}" + ("" if r["c_equal"] else ", C DIFFERS"),
    )
    return f"| {' | '.join(columns)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--calibrator", choices=list(CALIBRATORS), default="mse")
    parser.add_argument("--rounding", choices=("nearest", "adaptive"), default="adaptive")
    parser.add_argument("--weights", choices=("int8", "int4"), default="int8")
    parser.add_argument("--files", type=Path, help="also write the QDQ files there")
    parser.add_argument("--activations", choices=("int8", "int16"), default="int8")
    parser.add_argument("--no-bias-correction", action="store_true")
    parser.add_argument("--no-equalize", action="store_true")
    parser.add_argument("--min-sqnr", type=float, default=-math.inf)
    parser.add_argument("--min-top1", type=float, default=0.0)
    args = parser.parse_args()
    adaptive = args.rounding == "adaptive"
    wide = None if args.activations == "int16" else frozenset[str]()
    settings = QuantizeOptions(
        args.calibrator, not args.no_bias_correction, adaptive, not args.no_equalize, args.weights, wide
    )
    rows = []
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    for name in args.only:
        if not (SHARED / FILES[name]).is_file():
            raise SystemExit(f"{SHARED / FILES[name]} is not there: the models are beside the checkout or not at all")
        rows.append(row(name, settings, AccuracyBudget(args.min_sqnr, args.min_top1), args.files))
        print(printed(rows[-1]), flush=True)
        if args.output:
            args.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
