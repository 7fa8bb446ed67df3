"""ONNX frontend: opset 10 and later, QDQ and QLinear (QOperator) quantised models."""

from __future__ import annotations

from tinycompile.frontends.onnx.importer import load_onnx
from tinycompile.frontends.onnx.table import onnx_operators

__all__ = ["load_onnx", "onnx_operators"]
