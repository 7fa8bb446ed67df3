"""What fuzzing found, replayed: every file of the corpus compiles or is refused with a ModelError, within seconds."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from compiling import CORPUS, compiles

FILES = sorted(p for p in CORPUS.rglob("*") if p.is_file())


def test_the_corpus_is_there() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.name[:16]}")
def test_compiled_or_refused(path: Path) -> None:
    start = time.monotonic()
    compiles(path)
    assert time.monotonic() - start < 10.0


def test_the_seeds_themselves_are_valid_models() -> None:
    """The control: mutations start from models that import."""
    assert sum(compiles(path, import_only=True) for path in FILES) >= 6
