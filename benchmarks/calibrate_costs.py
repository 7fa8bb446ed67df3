"""The `[costs]` of the target files: instructions per MAC, element, row and run of rows.

python benchmarks/calibrate_costs.py [--on cortex-m7 ...]

Every real model is built with whole buffers, as the row program of least SRAM, and as the one that may compute some of
it twice, run on the emulated core, and the costs are fitted to the exact instruction counts (non-negative least squares
of relative errors). What no run does costs 0. Prints the lines for
the target files, and the worst error of the fit. `weight_byte` is not fitted: emulated flash has no wait states.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from emulated import measured
from models import available

from tinycompile.costs import work_of
from tinycompile.planning.goal import Goal
from tinycompile.target import load_target

FEATURES = {
    "mac": "macs",
    "depthwise_mac": "depthwise_macs",
    "elem": "elems",
    "plain_mac": "plain_macs",
    "plain_elem": "plain_elems",
    "row": "rows",
    "run": "runs",
}
GOALS = (Goal(), Goal(minimize_sram=True, max_recompute=1.0), Goal(minimize_sram=True, max_recompute=1.5))


def fit(work: np.ndarray, took: np.ndarray) -> np.ndarray:
    """Non-negative costs of least squared relative error: features whose cost would be negative are left out."""
    scaled, used = work / took[:, None], [k for k in range(work.shape[1]) if work[:, k].any()]
    while True:
        found, *_ = np.linalg.lstsq(scaled[:, used], np.ones(len(took)), rcond=None)
        if found.min() >= 0:
            costs = np.zeros(work.shape[1])
            costs[used] = found
            return costs
        used.pop(int(found.argmin()))


def measure(model: Path, target_name: str, goal: Goal) -> tuple[list[int], int]:
    """The work of a plan (`FEATURES`), and the instructions that it takes."""
    made = measured(model, load_target(target_name), goal)
    work = work_of(made.build.plan)
    return [getattr(work, name) for name in FEATURES.values()], made.run.instructions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", nargs="+", default=["cortex-m7"])
    args = parser.parse_args()
    for name in args.on:
        points = [measure(m, name, goal) for m in available() for goal in GOALS]
        work = np.array([p[0] for p in points], dtype=np.float64)
        took = np.array([p[1] for p in points], dtype=np.float64)
        costs = fit(work, took)
        error = np.abs(work @ costs / took - 1).max()
        print(f"# {name}: within {error:.0%} of {len(points)} emulated runs\n[costs]")
        print("\n".join(f"{key} = {cost:.2f}" for key, cost in zip(FEATURES, costs, strict=True)), flush=True)


if __name__ == "__main__":
    main()
