"""What fuzzing found, replayed: every file of the corpus is imported or refused with a ModelError, within seconds."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from tinycompile.errors import ModelError
from tinycompile.pipeline import ImportOptions, import_model

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
FILES = sorted(p for p in CORPUS.rglob("*") if p.is_file())


def test_the_corpus_is_there() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.name[:16]}")
def test_imported_or_refused(path: Path) -> None:
    start = time.monotonic()
    with contextlib.suppress(ModelError):
        import_model(path, ImportOptions())
    assert time.monotonic() - start < 10.0


def test_the_seeds_themselves_are_valid_models() -> None:
    """The control: mutations start from models that import."""
    valid = 0
    for path in FILES:
        try:
            import_model(path, ImportOptions())
            valid += 1
        except ModelError:
            continue
    assert valid >= 6
