"""Post-training quantisation of the float models beside the checkout: what int8 costs, and that it is compiled right.

Prints a row per model: bytes of constants and of the arena (whole buffers), SQNR of the output and top-1 agreement with
the float network over samples that were held out from calibration, the largest difference of onnxruntime (its
optimisations off) running the QDQ file, in steps of the output's scale, and whether the C code on this computer, under
sanitizers, gives the interpreter's bits.

The inputs are made here, for none come with the models. For the trained ones they are pictures of 1/f noise: fields
with a random spectrum between white noise and clouds, of random brightness and contrast, in the range that the model
takes. They are not what the networks were trained for: these are often undecided on them, so that agreement is harder
than on real data (the largest margin between the two best classes of the float network where int8 disagrees is shown).
The rest have seeded weights, and inputs of normal noise as their golden samples.

    python benchmarks/quantization.py [--only NAME...] [--weights int4] [--activations int16] [--calibrator mse]
                                      [--rounding nearest] [--files FOLDER] [-o FILE.json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tinycompile.codegen.c import emit_c
from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_plan
from tinycompile.ir.graph import Array, Graph
from tinycompile.ops.evaluate import evaluate
from tinycompile.quantize.calibration import Sample
from tinycompile.quantize.measure import Noise
from tinycompile.quantize.quantizer import Quantized, QuantizeOptions, load_float_model, quantize_graph
from tinycompile.quantize.ranges import CALIBRATORS
from tinycompile.report.quantization import weight_bytes
from tinycompile.schedule import plan_graph, verify_plan
from tinycompile.target import load_target
from tinycompile.watch import Watch

SHARED = Path(__file__).parents[2] / "shared" / "models"
COMPARED = 8  # samples for C and onnxruntime
DECIDED = 0.1


@dataclass(frozen=True)
class Case:
    """`picture`: (rows, columns, channels), in the range [low, high], of 1/f noise; None: normal noise."""

    file: str
    samples: tuple[int, int]
    picture: tuple[int, int, int] | None = None
    low: float = -1.0
    high: float = 1.0
    channels_first: bool = False


CASES = {
    "mlperf_vww96": Case("mlperf_vww96_float.tflite", (100, 300), (96, 96, 3)),
    # An assumption: features of TensorFlow Lite Micro's audio front end, which make such inputs, are 0 to 26.
    "micro_kws_m": Case("micro_kws_m_float.onnx", (100, 300), (49, 40, 1), 0.0, 26.0),
    "st_mobilenetv2_035_128": Case("st_mobilenetv2_035_128.onnx", (60, 60), (128, 128, 3), channels_first=True),
    "simplenet_mini": Case("zoo/simplenet_mini.onnx", (60, 60)),
    "pcdarts_mini": Case("zoo/pcdarts_mini.onnx", (60, 60)),
    "efficienttdnn_mini": Case("zoo/efficienttdnn_mini.onnx", (60, 60)),
}


def picture(rng: np.random.Generator, case: Case) -> Array:
    """A field of 1/f noise for each channel, most of it common to all, within the case's range."""
    assert case.picture is not None
    rows, columns, channels = case.picture
    distance = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns))
    distance[0, 0] = 1 / max(rows, columns)
    spectrum = np.fft.fft2(rng.standard_normal((channels + 1, rows, columns))) / distance ** rng.uniform(0, 2)
    fields = np.fft.ifft2(spectrum).real
    fields /= fields.std(axis=(1, 2), keepdims=True)
    unit = np.clip((0.8 * fields[:1] + 0.6 * fields[1:]) * rng.uniform(0.1, 0.7) + rng.uniform(-0.6, 0.6), -1, 1)
    scaled = case.low + (unit + 1) / 2 * (case.high - case.low)
    return np.asarray((scaled if case.channels_first else scaled.transpose(1, 2, 0)).astype(np.float32))


def samples(case: Case, graph: Graph, count: int, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        shapes = {name: graph.tensors[name].shape for name in graph.inputs}
        draw = (lambda s: rng.standard_normal(s)) if case.picture is None else (lambda s: picture(rng, case))
        made.append({name: draw(shape).reshape(shape).astype(np.float32) for name, shape in shapes.items()})
    return made


def onnxruntime_steps(data: bytes, given: list[Sample], ours: list[Array], step: float) -> float:
    """The largest difference of onnxruntime's output, in steps of `step`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    worst = max(float(np.abs(session.run(None, dict(x))[0] - y).max()) for x, y in zip(given, ours, strict=True))
    return worst / step


def compare(made: Quantized, held_out: list[Sample]) -> dict[str, Any]:
    """SQNR and top-1 agreement of the output, the classes of the float network, and its largest margin between the two
    best of them where int8 disagrees; `decided`: the share of samples with a margin of DECIDED at least, and the
    agreement on those."""
    noise, classes = Noise(), Counter[int]()
    margins, same = [], []
    for sample in held_out:
        renamed = {new: sample[old] for new, old in zip(made.lowered.inputs, made.reference.inputs, strict=True)}
        exact = evaluate(made.reference, sample, made.reference.outputs)[made.reference.outputs[0]].reshape(-1)
        got = evaluate(made.lowered, renamed, made.lowered.outputs)[made.lowered.outputs[0]].reshape(-1)
        noise.add(exact, got)
        classes[int(exact.argmax())] += 1
        second, first = np.sort(exact)[-2:]
        margins.append(float(first - second))
        same.append(bool(exact.argmax() == got.argmax()))
    decided = [s for s, m in zip(same, margins, strict=True) if m >= DECIDED]
    return {
        "sqnr": noise.sqnr,
        "top1": sum(same) / len(same),
        "margin": max((m for s, m in zip(same, margins, strict=True) if not s), default=0.0),
        "decided": [len(decided) / len(same), sum(decided) / max(len(decided), 1)],
        "classes": dict(classes),
    }


def row(name: str, case: Case, settings: QuantizeOptions, files: Path | None) -> dict[str, Any]:
    graph = load_float_model(SHARED / case.file)
    calibration, held_out = (samples(case, graph, n, seed) for n, seed in zip(case.samples, (1, 2), strict=True))
    made = quantize_graph(graph, calibration, settings, Watch())
    onnx.checker.check_model(onnx.load_from_string(made.data), full_check=True)
    if files is not None:
        files.mkdir(parents=True, exist_ok=True)
        (files / f"{name}_{settings.weights}.onnx").write_bytes(made.data)
    found = compare(made, held_out)
    target = load_target("cortex-m7")
    plans = [plan_graph(g, target, prefix="m") for g in (made.reference, made.lowered)]
    verify_plan(plans[1])
    inputs = [np.stack([s[n] for s in held_out[:COMPARED]]) for n in graph.inputs]
    want = [run_plan(plans[1], [a[k] for a in inputs])[0] for k in range(COMPARED)]
    with tempfile.TemporaryDirectory() as folder:
        for file, text in emit_c(plans[1]).files.items():
            (Path(folder) / file).write_text(text, encoding="utf-8")
        got = run_host(Path(folder), plans[1].interface, inputs).outputs[0]
    last = made.lowered.producers()[made.lowered.outputs[0]].inputs[0]
    quant = made.lowered.tensors[last].quant
    return {
        "model": name,
        "weight_bytes": [weight_bytes(g) for g in (made.reference, made.lowered)],
        "arena_bytes": [p.arena_bytes for p in plans],
        "float_operators": len(made.scheme.kept_float),
        "samples": case.samples,
        **found,
        "onnxruntime_steps": onnxruntime_steps(made.data, held_out[:COMPARED], want, quant.scale[0] if quant else 1.0),
        "c_equal": all(np.array_equal(g.reshape(w.shape), w) for g, w in zip(got, want, strict=True)),
    }


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
    args = parser.parse_args()
    adaptive = args.rounding == "adaptive"
    wide = None if args.activations == "int16" else frozenset[str]()
    settings = QuantizeOptions(
        args.calibrator, not args.no_bias_correction, adaptive, not args.no_equalize, args.weights, wide
    )
    rows = []
    for name in args.only:
        if not (SHARED / CASES[name].file).is_file():
            raise SystemExit(
                f"{SHARED / CASES[name].file} is not there: the models are beside the checkout or not at all"
            )
        r = row(name, CASES[name], settings, args.files)
        rows.append(r)
        (w0, w1), (a0, a1) = r["weight_bytes"], r["arena_bytes"]
        share, agreed = r["decided"]
        top1 = "-" if CASES[name].picture is None else f"{r['top1']:.1%} ({agreed:.1%} of the {share:.0%} decided)"
        print(
            f"| {name} | {w0:,} | {w1:,} | {a0:,} | {a1:,} | {r['sqnr']:.1f} | {top1} | {r['onnxruntime_steps']:.2f} "
            f"| {'equal' if r['c_equal'] else 'DIFFERS'} |",
            flush=True,
        )
        print(f"  classes {r['classes']}, margin {r['margin']:.3f}, {r['float_operators']} float operators", flush=True)
    if args.output:
        args.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
