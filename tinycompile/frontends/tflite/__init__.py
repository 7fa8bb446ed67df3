"""The TFLite frontend: int8 models as the TensorFlow Lite converter writes them."""

from tinycompile.frontends.tflite.importer import load_tflite
from tinycompile.frontends.tflite.operators import importers

__all__ = ["importers", "load_tflite"]
