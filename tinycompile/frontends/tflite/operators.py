"""The importers of all TFLite operators, one small function each, in explicit tables by family."""

from __future__ import annotations

from tinycompile.frontends.tflite.arithmetic import ARITHMETIC
from tinycompile.frontends.tflite.builder import Importer
from tinycompile.frontends.tflite.functions import FUNCTIONS
from tinycompile.frontends.tflite.layers import LAYERS
from tinycompile.frontends.tflite.movement import MOVEMENT
from tinycompile.frontends.tflite.selection import SELECTIONS

TFLITE_OPERATORS: dict[str, Importer] = LAYERS | ARITHMETIC | MOVEMENT | SELECTIONS | FUNCTIONS
