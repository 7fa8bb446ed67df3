"""Single-operator TFLite models made in code, and what LiteRT's reference kernels compute for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import pytest

from tinycompile.ir.graph import Array, Tensor
from tinycompile.ir.types import DType
from tinycompile.quantize.write_onnx import in_halves

TYPES = {
    DType.FLOAT32: "FLOAT32",
    DType.INT32: "INT32",
    DType.UINT8: "UINT8",
    DType.INT64: "INT64",
    DType.BOOL: "BOOL",
    DType.INT16: "INT16",
    DType.INT8: "INT8",
}


def schema() -> Any:
    """The TFLite schema's object API; the test skips where LiteRT is not installed."""
    return pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")


def single_op_model(
    builtin: str, inputs: Sequence[Tensor | None], out: Tensor, options: str = "", version: int = 2, **fields: Any
) -> bytes:
    """A flatbuffer with one operator.

    `builtin` is a name of BuiltinOperator (``CONV_2D``), `options` the name of its option table (``Conv2DOptions``)
    with `fields`. Inputs with data become constants, the others network inputs; None is an absent optional input.
    Scales and zero points are taken from the tensors' quant.
    """
    s = schema()
    model, graph, code, op = s.ModelT(), s.SubGraphT(), s.OperatorCodeT(), s.OperatorT()
    model.version, model.buffers, graph.tensors = 3, [s.BufferT()], []

    def add(tensor: Tensor) -> int:
        t = s.TensorT()
        t.name, t.shape, t.type = tensor.name.encode(), list(tensor.shape), getattr(s.TensorType, TYPES[tensor.dtype])
        narrow = tensor.quant is not None and tensor.quant.bits == 4
        if narrow:
            t.type = s.TensorType.INT4
        if tensor.data is not None:
            buffer = s.BufferT()
            stored = in_halves(tensor.data) if narrow else np.ascontiguousarray(tensor.data).tobytes()
            buffer.data = np.frombuffer(stored, dtype=np.uint8)
            model.buffers.append(buffer)
            t.buffer = len(model.buffers) - 1
        if tensor.quant is not None:
            t.quantization = s.QuantizationParametersT()
            t.quantization.scale = np.array(tensor.quant.scale, dtype=np.float32)
            t.quantization.zeroPoint = np.array(tensor.quant.zero_point, dtype=np.int64)
            t.quantization.quantizedDimension = tensor.quant.axis or 0
        graph.tensors.append(t)
        return len(graph.tensors) - 1

    while inputs and inputs[-1] is None:  # optional inputs at the end are left out
        inputs = inputs[:-1]
    indices = [-1 if t is None else add(t) for t in inputs]
    graph.inputs = [i for i, t in zip(indices, inputs, strict=True) if t is not None and t.data is None]
    graph.outputs = [add(out)]
    op.inputs, op.outputs = indices, graph.outputs
    if options:
        op.builtinOptionsType = getattr(s.BuiltinOptions, options)
        op.builtinOptions = getattr(s, f"{options}T")()
        for name, value in fields.items():
            assert hasattr(op.builtinOptions, name), f"{options} has no field {name}"
            setattr(op.builtinOptions, name, value)
    number = getattr(s.BuiltinOperator, builtin)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), version
    graph.operators, model.operatorCodes, model.subgraphs = [op], [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run_litert(model: bytes, values: Sequence[Array], kernels: str = "BUILTIN_REF") -> Array:
    """Output 0 of LiteRT's reference kernels, or of others by the name of their resolver, for `values` in the order of
    the model's inputs."""
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    interpreter = litert.Interpreter(model_content=model, experimental_op_resolver_type=litert.OpResolverType[kernels])
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), values, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
