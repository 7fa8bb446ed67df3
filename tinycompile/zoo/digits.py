"""``python -m tinycompile.zoo.digits``: train, quantise and write the example model, and show what int8 costs.

Deterministic: with the same versions of the libraries, which the model's metadata names, the file is the same to the
byte.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tinycompile.errors import TinyCompileError
from tinycompile.zoo import digits_model_path

LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn")


def library_versions() -> str:
    """The versions that decide the model's bytes, as recorded in its metadata."""
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in LIBRARIES)


def make_digits_model() -> tuple[bytes, dict[str, tuple[float, float]]]:
    """The model file, and (float, int8) accuracy, 0..1, by part of the data; takes about a minute on one core.

    Raises ToolchainError when scikit-learn or onnxruntime is not installed.
    """
    from tinycompile.zoo.digits_data import load_split

    split = load_split()
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from tinycompile.zoo.digits_model import accuracy, describe, float_model, quantized_model
    from tinycompile.zoo.digits_network import train

    # Matrices this small are multiplied several times faster by one thread. scikit-learn depends on threadpoolctl.
    with threadpool_limits(1, "blas"):
        parameters = train(split.train)
    before = float_model(parameters)
    after = quantized_model(before, split.validation)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    results = {name: (accuracy(before, data), accuracy(after, data)) for name, data in parts.items()}
    float_accuracy, int8_accuracy = results["test"]
    describe(
        after,
        float_accuracy=f"{float_accuracy:.4f}",
        int8_accuracy=f"{int8_accuracy:.4f}",
        made_by="python -m tinycompile.zoo.digits",
        made_with=library_versions(),
    )
    return after.SerializeToString(deterministic=True), results


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Where to write the model; without it, over the committed file.",
)
def main(output: Path | None) -> None:
    """Train the digits example again, quantise it, and write it; about a minute, the same bytes each time."""
    path = output or digits_model_path()
    try:
        data, results = make_digits_model()
    except TinyCompileError as error:
        click.echo("\n".join(error.lines()), err=True)
        sys.exit(error.exit_code)
    path.write_bytes(data)
    click.echo("accuracy     float    int8")
    for name, (before, after) in results.items():
        click.echo(f"{name:<12} {before:6.2%}  {after:6.2%}")
    click.echo(f"{path}: {len(data)} bytes")


if __name__ == "__main__":
    main()
