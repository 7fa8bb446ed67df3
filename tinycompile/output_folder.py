"""Writing a folder of files, all or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinycompile.errors import UsageError

MARK = "report.json"


def write_folder(folder: Path, files: Mapping[str, str], force: bool) -> None:
    """Write `files` into a temporary folder beside `folder`, then rename it into place.

    Replaces an earlier build (told by its report.json); UsageError for any other non-empty folder unless `force`.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"'{folder}' exists and is no folder", "--output", "give another folder")
        if folder.is_dir() and any(folder.iterdir()) and not force and not (folder / MARK).is_file():
            raise UsageError(
                f"'{folder}' is not empty and no earlier build",
                "--output",
                "give another folder, or --force to replace it",
            )
        parent = folder.resolve().parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tinycompile-", dir=parent) as temporary:
            fresh = Path(temporary) / "new"
            fresh.mkdir()
            for name, text in files.items():
                (fresh / name).parent.mkdir(exist_ok=True)
                (fresh / name).write_text(text, encoding="utf-8", newline="\n")
            if folder.is_dir():
                shutil.move(folder, Path(temporary) / "old")
            fresh.rename(folder)
    except OSError as error:
        raise UsageError(
            f"cannot write '{folder}': {error.strerror}", "--output", "give a folder that can be written"
        ) from None
