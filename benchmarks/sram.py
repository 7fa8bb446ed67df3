"""Peak arena of plans of least SRAM, with nothing computed twice and with some, against the best figures known.

python benchmarks/sram.py [-o sram.json] [--only NAME ...] [--modes resident streamed external] [--run] [--effort N]

Real model files are used where they are beside the checkout, otherwise the architecture with random weights (memory
does not depend on them). Every plan is verified; --run also executes it in the interpreter and as sanitised C, and
compares with the layer-by-layer reference.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from models import SHARED

from tinycompile.codegen.c import emit_c
from tinycompile.costs import work_of
from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_graph, run_plan
from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode
from tinycompile.ir.plan import Plan
from tinycompile.pipeline import ImportOptions, import_model
from tinycompile.planning.choose import choose_plan
from tinycompile.planning.goal import Goal
from tinycompile.schedule import verify_plan
from tinycompile.target import load_target
from tinycompile.zoo.architectures import build


@dataclass(frozen=True)
class Anchor:
    """Bytes: `whole` buffers layer by layer; `resident` and `streamed` goals; the best published figure, in words.
    `external`: goals with the input in the caller's memory, by the most MACs executed over those of the network."""

    whole: int
    resident: int
    streamed: int
    published: str
    external: tuple[tuple[float, int], ...] = ()

    def goals(self, mode: str) -> tuple[tuple[float, int], ...]:
        return self.external if mode == "external" else ((1.0, getattr(self, mode)),)


ANCHORS = {
    "mlperf_kws_int8": Anchor(16_000, 3_866, 3_536, "-"),
    "mlperf_resnet8_int8": Anchor(49_152, 10_304, 9_152, "ST 62.5 KiB + 7.2, own ResNet8"),
    "mlperf_vww96_int8": Anchor(55_296, 28_032, 9_888, "ST 67 KiB + 16, MobileNetV1-0.25-96"),
    "mlperf_ad01_int8": Anchor(768, 768, 768, "TFLM 2,580"),
    "mcunet_vww": Anchor(96_000, 20_880, 13_440, "msf-CNN 15.4 kB at F 1.96; MCUNetV2 45 kB", ((1.05, 10_100),)),
    "mobilenet_v2_w035_r144": Anchor(
        311_040,
        65_232,
        24_624,
        "MCUNetV2 63, StreamNet 66 kB; msf-CNN 67.9 kB at F 1.10, 8.56 kB at F 1.68",
        ((1.012, 16_007), (1.20, 10_080), (1.42, 7_899)),
    ),
    "mcunet_in3_r176": Anchor(
        340_736,
        96_624,
        56_400,
        "vMCU 102.7 KB; TinyEngine 247.8 KB; msf-CNN 94 kB at F 1.45, 51 kB at F 2.69",
        ((1.073, 45_824), (1.63, 31_281)),
    ),
    "mobilenet_v2_w100_r224": Anchor(
        1_505_280, 190_624, 102_368, "MCUNetV2 172 KiB at F 1.10", ((1.049, 75_584), (1.12, 52_736))
    ),
    "mobilenet_v2_w030_r80": Anchor(96_000, 20_880, 11_120, "Plumerai 80 KiB, TinyEngine 98, X-CUBE-AI 109, TFLM 155"),
    "mobilenet_v2_w035_r128": Anchor(245_760, 51_840, 20_864, "ST 237 KiB"),
}


def load(name: str) -> Graph:
    path = SHARED / f"{name}.tflite"
    return import_model(path, ImportOptions(io="quantized")) if path.is_file() else build(name)


def picture(rng: np.random.Generator, shape: tuple[int, ...], patch: int) -> np.ndarray:
    """Random int8 values; the same over `patch` steps of every axis, since networks see little in noise."""
    coarse = rng.integers(-128, 128, tuple(-(-n // patch) for n in shape))
    for axis in range(len(shape)):
        coarse = coarse.repeat(patch, axis)
    return coarse[tuple(slice(n) for n in shape)]


def check(graph: Graph, plan: Plan) -> bool:
    """Whether interpreter and sanitised C give the reference's outputs, on an input to which they are sensitive."""
    rng = np.random.default_rng(0)
    tensors = [graph.tensors[name] for name in graph.inputs]
    samples = [[picture(rng, t.shape, patch).astype(t.dtype.numpy) for t in tensors] for patch in (1, 2, 4, 8, 8, 16)]
    want = [run_graph(graph, inputs) for inputs in samples]
    if all(np.array_equal(first[n], other[n]) for n in graph.outputs for first, other in pairwise(want)):
        raise SystemExit("the outputs do not depend on the input: a comparison would show nothing")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in emit_c(plan).files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        run = run_host(Path(folder), plan.interface, [np.stack(a) for a in zip(*samples, strict=True)])
    interpreted = [run_plan(plan, inputs) for inputs in samples]
    return all(
        np.array_equal(interpreted[k][i], want[k][n]) and np.array_equal(run.outputs[i][k], want[k][n])
        for k in range(len(samples))
        for i, n in enumerate(graph.outputs)
    )


def measure(name: str, mode: str, most: float, goal_bytes: int, execute: bool, effort: int) -> dict[str, object]:
    graph = load(name)
    started = time.monotonic()
    target = load_target("cortex-m7")
    goal = Goal(InputMode(mode), minimize_sram=True, effort=effort, max_recompute=most)
    plan = choose_plan(graph, target, "model", goal)
    seconds = time.monotonic() - started
    verify_plan(plan)
    emission = emit_c(plan)
    anchor = ANCHORS[name]
    work = work_of(plan)
    return {
        "model": name,
        "mode": mode,
        "most_recompute": most,
        "recompute": round(work.all_macs / max(plan.network_macs, 1), 4),
        "arena_bytes": plan.arena_bytes,
        "goal_bytes": goal_bytes,
        "whole_bytes": anchor.whole,
        "published": anchor.published,
        "schedule_bound_bytes": plan.certificate.schedule_bound_bytes,
        "lower_bound_bytes": plan.certificate.lower_bound_bytes,
        "optimal": plan.certificate.optimal,
        "space": plan.certificate.space,
        "method": plan.certificate.method,
        "schedule_bytes": emission.schedule_bytes,
        "schedule_limit_bytes": max(2048, emission.weight_bytes // 50),
        "stack_bytes": emission.stack_bytes,
        "planning_seconds": round(seconds, 1),
        "executed_equal": check(graph, plan) if execute else None,
    }


def markdown(rows: list[dict[str, object]]) -> str:
    """The table of the README."""
    lines = ["| model | input | MACs | arena | proven least | goal | whole buffers | best published |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for r in rows:
        least = "yes" if r["optimal"] else f"≥ {r['lower_bound_bytes']:,}" if r["lower_bound_bytes"] else ""
        lines.append(
            f"| {r['model']} | {r['mode']} | {r['recompute']:.3f} x | **{r['arena_bytes']:,}** | {least} "
            f"| {r['goal_bytes']:,} | {r['whole_bytes']:,} | {r['published']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = [mode.value for mode in InputMode]
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(ANCHORS), default=list(ANCHORS), metavar="NAME")
    parser.add_argument("--modes", nargs="+", choices=modes, default=modes)
    parser.add_argument("--run", action="store_true", help="execute every plan and compare")
    parser.add_argument("--effort", type=int, default=1)
    parser.add_argument("--markdown", type=Path, help="also write the table as Markdown")
    args = parser.parse_args()
    rows = []
    heads = f"{'model':<24}{'input':<10}{'MACs x':>7}{'arena':>9}{'goal':>9}{'whole':>11}  {'least':<13}{'tables':>7}"
    print(f"{heads}{'s':>7}  equal")
    for name in args.only:
        for mode, (most, goal) in ((m, g) for m in args.modes for g in ANCHORS[name].goals(m)):
            row = measure(name, mode, most, goal, args.run, args.effort)
            rows.append(row)
            verdict = "yes" if row["optimal"] else f">= {row['lower_bound_bytes']:,}"
            print(
                f"{name:<24}{mode:<10}{row['recompute']:>7.3f}{row['arena_bytes']:>9,}{row['goal_bytes']:>9,}"
                f"{row['whole_bytes']:>11,}  {verdict:<13}{row['schedule_bytes']:>7,}{row['planning_seconds']:>7}"
                f"  {row['executed_equal']}",
                flush=True,
            )
    if args.markdown:
        args.markdown.write_text(markdown(rows), encoding="utf-8")
    if args.output:
        args.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
