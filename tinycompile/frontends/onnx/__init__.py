"""ONNX frontend: opset 10 and later, QDQ and QLinear (QOperator) quantised models."""

from __future__ import annotations

from tinycompile.frontends.onnx.importer import load

__all__ = ["load"]
