"""Every quantised tensor of an `.onnx` model as onnxruntime computes it, without graph optimisations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinycompile.errors import ToolchainError
from tinycompile.ir.graph import Array


class OnnxRuntime:
    """A session with every node's outputs exposed."""

    def __init__(self, model: Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ToolchainError("onnxruntime is not installed", "verify", "pip install 'tinycompile[quant]'") from None
        import onnx

        self.name = "onnxruntime"
        proto = onnx.load(str(model))
        known = {o.name for o in proto.graph.output}
        extra = [n for node in proto.graph.node for n in node.output if n and n not in known]
        proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in extra)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own exception types are not public
            raise ToolchainError(
                f"onnxruntime refuses the model: {str(error)[:200]}", str(model), "check the file"
            ) from None
        initializers = {i.name for i in proto.graph.initializer}
        self.inputs = [i.name for i in proto.graph.input if i.name not in initializers]
        self.outputs = [o.name for o in self.session.get_outputs()]

    def run(self, inputs: Sequence[Array]) -> dict[str, Array]:
        """Tensor name -> value, for one sample."""
        values = self.session.run(self.outputs, dict(zip(self.inputs, inputs, strict=True)))
        return {name: np.asarray(value) for name, value in zip(self.outputs, values, strict=True)}
