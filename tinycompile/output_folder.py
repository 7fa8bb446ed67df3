"""Writing a build's folder: all files or none, and never a file that is not ours.

A new folder is written beside its place and renamed. An earlier build (told by its report.json, which lists its files)
is replaced file by file from a complete copy; what it left behind and the new build lacks is removed. Files that no
build made stay as they are.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from tinycompile.errors import UsageError

MARK = "report.json"


def earlier_build(folder: Path) -> tuple[str, ...] | None:
    """The files, as relative paths, of the build that `folder` holds; None when it holds none.

    report.json may come from anywhere: names that would leave the folder are left out.
    """
    try:
        data = json.loads((folder / MARK).read_text(encoding="utf-8"))
        files, _ = data["files"], data["interface"]
        names = [PurePosixPath(name) for name in files if "\0" not in name]
        root = folder.resolve()
        inside = [n for n in names if ".." not in n.parts and (root / n).parent.resolve().is_relative_to(root)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return tuple(str(n) for n in inside)


def write_folder(folder: Path, files: Mapping[str, str | bytes], force: bool) -> None:
    """Write `files` (relative path -> text or bytes) into `folder`, made if need be.

    UsageError, with nothing written, when it cannot be written or is a non-empty folder that holds no earlier build;
    with `force` such a folder is taken, and its other files stay.
    """
    try:
        place = folder.resolve()
        if place.exists() and not place.is_dir():
            raise UsageError(f"'{folder}' exists and is no folder", "--output", "give another folder")
        before = earlier_build(place)
        if place.is_dir() and any(place.iterdir()) and before is None and not force:
            raise UsageError(
                f"'{folder}' is not empty and no earlier build",
                "--output",
                "give another folder, or --force to write into it",
            )
        # Inside an existing folder, so that each file's rename stays on one file system.
        home = place if place.is_dir() else place.parent
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tinycompile-", dir=home) as temporary:
            fresh = Path(temporary) / "new"
            _write(fresh, files)
            if home is place:
                _replace(place, fresh, files, before or ())
            else:
                fresh.rename(place)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot write '{folder}': {reason}", "--output", "give a writable folder") from None


def _write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def _replace(place: Path, fresh: Path, files: Mapping[str, str | bytes], before: tuple[str, ...]) -> None:
    """Move `files` from `fresh` into `place`, the mark last, then remove what only the earlier build had."""
    for name in sorted(files, key=lambda n: n == MARK):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (fresh / name).replace(place / name)
    for name in before:
        if name not in files and not (place / name).is_dir():
            (place / name).unlink(missing_ok=True)
