"""Wall-clock time of `tinycompile build` per model, start-up included, and of `import tinycompile`.

The least of several runs, as JSON. Wall-clock time on a shared machine is noise; the least is the closest to the truth.

    python benchmarks/build_time.py [-o build_time.json] [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from models import ROOT, available


def least_seconds(command: list[str], runs: int) -> float:
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        best = min(best, time.perf_counter() - start)
    return round(best, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    tool = [sys.executable, "-m", "tinycompile"]
    result = {
        "import_seconds": least_seconds([sys.executable, "-c", "import tinycompile"], args.runs),
        "help_seconds": least_seconds([*tool, "--help"], args.runs),
        "build_seconds": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for model in available():
            command = [*tool, "build", str(model), "--target", "cortex-m7", "--force", "-o", f"{folder}/out"]
            result["build_seconds"][model.stem] = least_seconds(command, args.runs)
    text = json.dumps(result, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
