"""Model files to `Graph`: TFLite and ONNX. The format is told by the file's content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinycompile.errors import MalformedModelError, UsageError
from tinycompile.frontends.limits import read_file
from tinycompile.ir.graph import Array, Graph

DYNAMIC_RANGE = ("refuse", "float")
REFUSE = DYNAMIC_RANGE[0]


def load_model(
    path: Path,
    shape_overrides: Mapping[str, tuple[int, ...]] | None = None,
    frozen_inputs: Mapping[str, Array] | None = None,
    dynamic_range: str = REFUSE,
) -> Graph:
    """The graph of a `.tflite` or `.onnx` file.

    `shape_overrides`: static shapes for named inputs whose shape the file leaves open. `frozen_inputs`: named inputs
    that become constants (ONNX only). `dynamic_range`: what becomes of float layers with integer weights (TFLite only),
    one of `DYNAMIC_RANGE`. Raises ModelError for anything wrong with the file.
    """
    if dynamic_range not in DYNAMIC_RANGE:
        raise UsageError(f"dynamic range '{dynamic_range}'", str(path), f"one of: {', '.join(DYNAMIC_RANGE)}")
    data = read_file(path)
    if data[4:8] == b"TFL3":
        if shape_overrides or frozen_inputs:
            raise UsageError("shapes and frozen inputs can be given for ONNX files only", str(path), "drop the option")
        from tinycompile.frontends.tflite import load_tflite

        return load_tflite(data, path, dynamic_range != REFUSE)
    if path.suffix.lower() == ".tflite":
        raise MalformedModelError("the TFLite identifier is missing", str(path), "export the model again")
    if dynamic_range != REFUSE:
        raise UsageError("only TFLite files have layers of dynamic range", str(path), "drop --dynamic-range")
    from tinycompile.frontends.onnx import load_onnx

    return load_onnx(data, path, shape_overrides or {}, frozen_inputs or {})


def supported_operators() -> dict[str, tuple[str, ...]]:
    """Source operators that can be imported, by format."""
    from tinycompile.frontends.onnx import onnx_operators
    from tinycompile.frontends.tflite import importers

    return {"tflite": tuple(sorted(importers())), "onnx": tuple(sorted(onnx_operators()))}
