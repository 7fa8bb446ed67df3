"""The fewest found files that reach what all reach: ``python tests/fuzz/minimise.py FOUND tests/fuzz/corpus/onnx``.

libFuzzer's own merge starts its program again, which a Python script is not. Files of FOUND are taken, smallest first,
when their import runs a line of the compiler that no file of the corpus, and none taken before, has run.
"""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from compiling import compiles

PACKAGE = str(Path(__file__).parents[2] / "tinycompile")


def lines_run(path: Path) -> set[tuple[str, int]]:
    """Lines of the compiler that the import of a file runs."""
    found: set[tuple[str, int]] = set()

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        found.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(PACKAGE) else None

    sys.settrace(trace)
    try:
        compiles(path, import_only=True)
    finally:
        sys.settrace(None)
    return found


def main(found: Path, corpus: Path) -> None:
    logging.disable(logging.WARNING)
    reached = set().union(*(lines_run(p) for p in sorted(corpus.iterdir())))
    for path in sorted(found.iterdir(), key=lambda p: (p.stat().st_size, p.name)):
        lines = lines_run(path)
        if not lines <= reached:
            reached |= lines
            shutil.copy(path, corpus / path.name)
            print(f"{path.name}: {len(reached)} lines", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
