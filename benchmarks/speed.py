"""Executed instructions per inference on emulated cores, against those of CMSIS-NN: exact counts, not times.

python benchmarks/speed.py [-o speed.json] [--on cortex-m4 cortex-m7 ...] [--only NAME ...]

Each model with whole buffers, and as the row program of least SRAM at which nothing is computed twice; random int8
inputs, int8 edges, exact rounding. Outputs are compared with the interpreter's. Models that are not beside the checkout
are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from emulated import measured
from models import SHARED

from tinycompile.emulate.interpreter import run_samples
from tinycompile.planning.goal import Goal
from tinycompile.target import Target, load_target

# CMSIS-NN compiled with -O3, exact rounding, measured on emulated cores with random int8 inputs: Cortex-M7, M4
# and M55 (MVE); M33 is held against M4. `text`: the smaller .text of CMSIS-NN's and TinyEngine's, with a harness of
# about 2.5 KB.
PEERS = {
    "mlperf_kws_int8": {"cortex-m7": 7_756_640, "cortex-m4": 7_840_760, "cortex-m55": 1_780_531, "text": 27_332},
    "mlperf_vww96_int8": {"cortex-m7": 24_474_560, "cortex-m4": 24_711_200, "cortex-m55": 6_423_843, "text": 17_508},
    "mlperf_resnet8_int8": {"cortex-m7": 29_932_440, "cortex-m4": 29_869_040, "cortex-m55": 4_805_562, "text": 23_208},
    "mlperf_ad01_int8": {"cortex-m7": 579_680, "cortex-m4": 579_400, "cortex-m55": 147_062, "text": 8_112},
    "mcunet_vww": {"cortex-m7": 47_440_760, "cortex-m4": 48_066_760, "cortex-m55": 11_230_281, "text": 31_444},
}
GOALS = {  # of the peer's count
    "mlperf_kws_int8": 0.60,
    "mlperf_vww96_int8": 0.55,
    "mlperf_resnet8_int8": 0.70,
    "mlperf_ad01_int8": 0.80,
    "mcunet_vww": 0.55,
}
MVE_GOAL = 0.70


@dataclass(frozen=True)
class Row:
    """One model on one core. `scheduled`: of the row program of least SRAM. `equal`: outputs are the interpreter's."""

    model: str
    core: str
    macs: int
    instructions: int
    peer: int
    goal: float
    arena_bytes: int
    text_bytes: int
    stack_bytes: int
    scheduled_instructions: int
    scheduled_arena_bytes: int
    scheduled_stack_bytes: int
    equal: bool

    @property
    def ratio(self) -> float:
        return self.instructions / self.peer

    @property
    def scheduled_ratio(self) -> float:
        return self.scheduled_instructions / self.instructions

    @property
    def met(self) -> bool:
        return self.equal and self.ratio <= self.goal and self.scheduled_ratio <= 1.05


@dataclass(frozen=True)
class Ran:
    instructions: int
    arena_bytes: int
    text_bytes: int
    stack_bytes: int
    macs: int
    equal: bool


def run(model: Path, target: Target, minimize: bool) -> Ran:
    made = measured(model, target, Goal(minimize_sram=minimize, max_recompute=1.0))
    wanted = run_samples(made.build.plan, made.inputs)
    equal = all(np.array_equal(got.ravel(), want.ravel()) for got, want in zip(made.run.outputs, wanted, strict=True))
    plan, macs, ran = made.build.plan, made.build.report.macs_model, made.run
    return Ran(ran.instructions, plan.arena_bytes, ran.text_bytes, ran.stack_bytes, macs, equal)


def measure(name: str, core: str) -> Row:
    target, model = load_target(core), SHARED / f"{name}.tflite"
    whole, least = run(model, target, False), run(model, target, True)
    peers = PEERS[name]
    return Row(
        name,
        core,
        whole.macs,
        whole.instructions,
        peers.get(core, peers["cortex-m4"]),
        MVE_GOAL if "mve" in target.features else GOALS[name],
        whole.arena_bytes,
        whole.text_bytes,
        whole.stack_bytes,
        least.instructions,
        least.arena_bytes,
        least.stack_bytes,
        whole.equal and least.equal,
    )


def markdown(rows: list[Row]) -> str:
    lines = [
        "| model | core | instructions | per MAC | of CMSIS-NN's | goal | .text | stack | least SRAM | there |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r.model} | {r.core.removeprefix('cortex-').upper()} | {r.instructions:,} "
            f"| {r.instructions / r.macs:.2f} "
            f"| **{r.ratio:.3f}** | {r.goal:.2f}{'' if r.met else ' missed'} | {r.text_bytes:,} | {r.stack_bytes} "
            f"| {r.scheduled_arena_bytes:,} | {(r.scheduled_ratio - 1) * 100:+.1f} % |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--on", nargs="+", default=["cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"])
    parser.add_argument("--only", nargs="+", default=list(PEERS))
    args = parser.parse_args()
    rows = []
    for core in args.on:
        for name in args.only:
            if not (SHARED / f"{name}.tflite").exists():
                print(f"{name} is not here: left out", file=sys.stderr)
                continue
            rows.append(measure(name, core))
            print(f"{name} on {core}: {rows[-1].ratio:.3f} of the peer", file=sys.stderr, flush=True)
    print(markdown(rows))
    if args.output:
        args.output.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
