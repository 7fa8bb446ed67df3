"""Where the data folders are: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tinycompile.errors import InternalError

KINDS = ("targets", "templates", "runtime_c", "boards")


@cache
def data_dir(kind: str) -> Path:
    """The folder of one of `KINDS`; the checkout's first, so that an editable install sees its own files."""
    package = Path(__file__).resolve().parent
    for folder in (package.parent / kind, package / "_data" / kind):
        if (package.parent / "pyproject.toml").is_file() or folder.parent != package.parent:
            if folder.is_dir():
                return folder
    raise InternalError(f"the data folder '{kind}' is missing", str(package), "install tinycompile again")
