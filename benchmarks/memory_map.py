"""The memory map of a model's plan as an SVG file; `docs/memory-map.svg` is MCUNet's.

python benchmarks/memory_map.py ../shared/models/mcunet_vww.tflite -o docs/memory-map.svg --io quantized
"""

from __future__ import annotations

import argparse
from pathlib import Path

import tinycompile
from tinycompile.report.html import render_svg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--io", choices=["model", "quantized"], default="model")
    args = parser.parse_args()
    args.output.write_text(render_svg(tinycompile.report_for(tinycompile.plan(args.model, io=args.io))))


if __name__ == "__main__":
    main()
