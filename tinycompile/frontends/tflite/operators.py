"""The importers of all TFLite operators, one small function each, in explicit tables by family."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from tinycompile.frontends.tflite.arithmetic import ARITHMETIC
from tinycompile.frontends.tflite.builder import Importer
from tinycompile.frontends.tflite.functions import FUNCTIONS
from tinycompile.frontends.tflite.indexing import INDEXING
from tinycompile.frontends.tflite.layers import LAYERS
from tinycompile.frontends.tflite.movement import MOVEMENT
from tinycompile.frontends.tflite.recurrent import RECURRENT
from tinycompile.frontends.tflite.selection import SELECTIONS
from tinycompile.frontends.tflite.svdf import svdf
from tinycompile.ops.extensions import load_extensions

TFLITE_OPERATORS: dict[str, Importer] = {
    **(LAYERS | ARITHMETIC | MOVEMENT | SELECTIONS | INDEXING | FUNCTIONS | RECURRENT),
    "SVDF": svdf,
}


@cache
def importers() -> Mapping[str, Importer]:
    """By operator name, those of other installed packages among them, as ``CUSTOM <code>``."""
    return {**TFLITE_OPERATORS, **{f"CUSTOM {code}": run for code, run in load_extensions().tflite.items()}}
