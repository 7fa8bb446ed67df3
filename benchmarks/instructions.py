"""Executed instructions per inference, stack and code size on emulated cores, as JSON. Exact counts, not times.

python benchmarks/instructions.py [MODEL...] [-o instructions.json] [--on cortex-m7 cortex-m4] [--emulator unicorn|qemu]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from emulated import measured
from models import available

from tinycompile.target import load_target


def measure(model: Path, target_name: str, emulator: str | None) -> dict[str, object]:
    made = measured(model, load_target(target_name), emulator=emulator)
    build, run = made.build, made.run
    macs = build.report.macs_model
    return {
        "macs": macs,
        "instructions": run.instructions,
        "instructions_per_mac": round(run.instructions / macs, 2) if macs else None,
        "arena_bytes": build.plan.arena_bytes,
        "stack_bytes": run.stack_bytes,
        "text_bytes": run.text_bytes,
        "rodata_bytes": run.rodata_bytes,
        "emulator": run.emulator,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="files  [default: those beside the checkout]")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--on", nargs="+", default=["cortex-m7"])
    parser.add_argument("--emulator", choices=["unicorn", "qemu"])
    args = parser.parse_args()
    result = {t: {m.stem: measure(m, t, args.emulator) for m in args.models or available()} for t in args.on}
    text = json.dumps(result, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
