"""What the fuzzers and the corpus test do with a file: import and lower it, as ``tinycompile inspect`` would."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tinycompile.errors import ModelError
from tinycompile.pipeline import ImportOptions, import_model

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"
CURIOUS = (0, 1, 2, 3, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1)  # sizes, counts and offsets that break


def compiles(path: Path) -> bool:
    """Whether the file compiles; False when a ModelError refuses it. Any other exception is a bug, and escapes."""
    try:
        import_model(path, ImportOptions())
    except ModelError:
        return False
    return True


def compiles_bytes(data: bytes, suffix: str) -> bool:
    """`compiles` for the content of a file; external data is looked for in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        path.write_bytes(data)
        return compiles(path)
