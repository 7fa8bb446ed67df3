"""``tinycompile example``."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from tinycompile.errors import UsageError
from tinycompile.zoo import digits_model_path


@click.command()
@click.argument("folder", default=".")
def example(folder: str) -> None:
    """Copy the ready example, a small int8 CNN that reads handwritten digits, into FOLDER.

    \b
    tinycompile example model/
    tinycompile build model/digits_qdq.onnx -o out/
    """
    source = digits_model_path()
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        target = Path(folder) / source.name
        shutil.copyfile(source, target)
    except OSError as error:
        raise UsageError(f"cannot write to '{folder}': {error.strerror}", "FOLDER", "give another folder") from None
    click.echo(f"{target}: 8x8 grey image -> 10 classes; next: tinycompile build {target} -o out/")
