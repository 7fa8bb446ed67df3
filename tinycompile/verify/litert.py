"""Every tensor of a `.tflite` model as LiteRT's reference kernels compute it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinycompile.errors import ToolchainError, UsageError
from tinycompile.ir.graph import Array


def _module() -> Any:
    """ai-edge-litert, or its predecessor with the same interface."""
    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ToolchainError("LiteRT is not installed", "verify", "pip install ai-edge-litert")


class LiteRt:
    """An interpreter with the reference kernels that keeps all tensors."""

    def __init__(self, model: Path) -> None:
        module = _module()
        self.name = "LiteRT reference kernels"
        try:
            self.interpreter = module.Interpreter(
                model_path=str(model),
                experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
                experimental_preserve_all_tensors=True,
            )
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ToolchainError(
                f"LiteRT refuses the model: {str(error)[:200]}", str(model), "check the file"
            ) from None
        self.index: dict[str, int] = {}
        for detail in self.interpreter.get_tensor_details():
            if detail["dtype"] is not np.object_:  # the handle of a variable: asking for its value crashes
                self.index.setdefault(detail["name"], detail["index"])

    def run(self, inputs: Sequence[Array]) -> dict[str, Array]:
        """Tensor name -> value, for one sample; inputs in the model's order, those behind them (variables, which the
        interpreter keeps itself) left out."""
        details = self.interpreter.get_input_details()
        for detail, value in zip(details, inputs, strict=False):
            if value.dtype != detail["dtype"]:
                raise UsageError(f"input of type {value.dtype}", "verify", f"LiteRT wants {detail['dtype'].__name__}")
            self.interpreter.set_tensor(detail["index"], value.reshape(detail["shape"]))
        self.interpreter.invoke()
        values = {}
        for name, index in self.index.items():
            try:
                values[name] = self.interpreter.get_tensor(index).copy()
            except ValueError:
                continue  # a tensor that no operator touches
        return values
