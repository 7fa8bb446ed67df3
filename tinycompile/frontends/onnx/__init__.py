"""ONNX frontend: opset 10 and later, QDQ and QLinear (QOperator) quantised models."""

from __future__ import annotations

from tinycompile.frontends.onnx.importer import load_onnx
from tinycompile.frontends.onnx.table import ONNX_OPERATORS

__all__ = ["ONNX_OPERATORS", "load_onnx"]
