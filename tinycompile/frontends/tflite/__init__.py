"""The TFLite frontend: int8 models as the TensorFlow Lite converter writes them."""

from tinycompile.frontends.tflite.importer import load_tflite
from tinycompile.frontends.tflite.operators import TFLITE_OPERATORS

__all__ = ["TFLITE_OPERATORS", "load_tflite"]
