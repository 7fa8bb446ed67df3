"""Small TFLite models made in code, LiteRT's reference kernels on them, and the same by operator references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

from tinycompile.frontends import load_model
from tinycompile.ir.graph import Array, Graph
from tinycompile.ir.verify import verify_graph
from tinycompile.ops.evaluate import evaluate as by_references
from tinycompile.ops.registry import OPERATORS
from tinycompile.passes import PASSES
from tinycompile.passes.lowering_check import check_supported
from tinycompile.quantize.write_onnx import in_halves
from tinycompile.verify.litert import LiteRt

_NUMPY = {
    "FLOAT32": "f4",
    "INT8": "i1",
    "UINT8": "u1",
    "INT32": "i4",
    "INT64": "i8",
    "INT16": "i2",
    "FLOAT16": "f2",
    "BOOL": "?",
}

_VERSIONS = {"BROADCAST_TO": 2}  # where LiteRT has no first version


def schema() -> Any:
    """The TFLite schema's object API; the test skips where LiteRT is not installed."""
    return pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")


class ModelMaker:
    """Collects tensors and operators; `model` and `graph` stay open to a test that breaks them before `build`.

    `unsigned` makes the same model of uint8 tensors with one scale each, as old converters do.
    """

    def __init__(self, seed: int = 0, unsigned: bool = False) -> None:
        self.unsigned = unsigned
        s = self.schema = schema()
        self.rng = np.random.default_rng(seed)
        self.model, self.graph = s.ModelT(), s.SubGraphT()
        self.model.version, self.model.buffers, self.model.operatorCodes = 3, [s.BufferT()], []
        self.model.subgraphs = [self.graph]
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []

    def tensor(
        self,
        shape: Sequence[int],
        scale: float | Sequence[float] | None = 0.05,
        zero_point: int = 3,
        dtype: str = "INT8",
        data: Array | None = None,
        axis: int = 0,
        name: str | None = None,
    ) -> int:
        s = self.schema
        if self.unsigned and dtype == "INT8":
            dtype, zero_point = "UINT8", zero_point + 128
            data = None if data is None else np.asarray(data, dtype=np.int16) + 128
            scale = None if scale is None else float(np.mean(scale))
        t = s.TensorT()
        t.name = (f"t{len(self.graph.tensors)}" if name is None else name).encode()
        t.shape, t.type, t.shapeSignature = list(shape), getattr(s.TensorType, dtype), None
        if data is not None:
            buffer = s.BufferT()
            values = np.ascontiguousarray(data)
            stored = in_halves(values) if dtype == "INT4" else values.astype(_NUMPY[dtype]).tobytes()
            buffer.data = np.frombuffer(stored, dtype=np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        if scale is not None:
            scales = np.atleast_1d(np.array(scale, dtype=np.float32))
            t.quantization = s.QuantizationParametersT()
            t.quantization.scale = scales
            t.quantization.zeroPoint = np.full(len(scales), zero_point, dtype=np.int64)
            t.quantization.quantizedDimension = axis
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def input(self, shape: Sequence[int], scale: float | None = 0.05, zero_point: int = 3, dtype: str = "INT8") -> int:
        index = self.tensor(shape, scale, zero_point, dtype)
        self.graph.inputs.append(index)
        return index

    def weights(self, shape: Sequence[int], axis: int | None = None, dtype: str = "INT8", zero_point: int = 0) -> int:
        """Random weights, per channel along `axis` when one is given."""
        low, high = {"INT8": (-127, 128), "INT4": (-8, 8), "UINT8": (0, 256)}[dtype]
        scale: float | list[float] = 0.01 if axis is None else self.rng.uniform(0.004, 0.02, shape[axis]).tolist()
        return self.tensor(shape, scale, zero_point, dtype, self.rng.integers(low, high, shape), axis or 0)

    def bias(self, count: int) -> int:
        return self.tensor((count,), None, dtype="INT32", data=self.rng.integers(-2000, 2000, count))

    def variable(self, shape: Sequence[int], scale: float | None, zero_point: int = 0, dtype: str = "INT8") -> int:
        """A tensor that is kept between calls."""
        index = self.tensor(shape, scale, zero_point, dtype)
        self.graph.tensors[index].isVariable = True
        return index

    def ints(self, values: Any, dtype: str = "INT32") -> int:
        data = np.array(values)
        return self.tensor(data.shape, None, dtype=dtype, data=data)

    def op(
        self,
        builtin: str,
        inputs: Sequence[int],
        output: int,
        options: str = "",
        more: Sequence[int] = (),
        **fields: Any,
    ) -> int:
        """The first output's number; `more`: the others."""
        s = self.schema
        op, code = s.OperatorT(), s.OperatorCodeT()
        code.builtinCode = getattr(s.BuiltinOperator, builtin)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), _VERSIONS.get(builtin, 1)
        self.model.operatorCodes.append(code)
        op.opcodeIndex, op.inputs, op.outputs = len(self.model.operatorCodes) - 1, list(inputs), [output, *more]
        if options:
            op.builtinOptionsType = getattr(s.BuiltinOptions, options)
            op.builtinOptions = getattr(s, f"{options}T")()
            for name, value in fields.items():
                assert hasattr(op.builtinOptions, name), f"{options} has no field {name}"
                setattr(op.builtinOptions, name, value)
        self.graph.operators.append(op)
        return output

    def build(self, *outputs: int) -> bytes:
        self.graph.outputs = list(outputs) or self.graph.outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def lower(path: Path) -> Graph:
    """The file imported and lowered by all passes, every operator with a kernel."""
    graph = load_model(path)
    verify_graph(graph, "import", OPERATORS)
    for name, run in PASSES:
        graph = run(graph)
        verify_graph(graph, name, OPERATORS)
    check_supported(graph)
    return graph


def evaluate(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every computed tensor's value, by operator references."""
    return by_references(graph, dict(zip(graph.inputs, inputs, strict=True)))


def litert(model: bytes, inputs: Sequence[Array], kernels: str = "BUILTIN_REF") -> list[Array]:
    """Outputs of LiteRT's reference kernels, or of others by the name of their resolver."""
    module = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    interpreter = module.Interpreter(model_content=model, experimental_op_resolver_type=module.OpResolverType[kernels])
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [np.asarray(interpreter.get_tensor(d["index"])) for d in interpreter.get_output_details()]


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def calls(path: Path, samples: Array) -> list[Array]:
    """What LiteRT gives for one call after the other."""
    runtime = LiteRt(path)
    names = [d["name"] for d in runtime.interpreter.get_output_details()]
    values = [runtime.run([x]) for x in samples]
    return [np.stack([v[name] for v in values]) for name in names]


def random_value(rng: np.random.Generator, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """Uniform over the integers; normal with some far outliers for floats."""
    if dtype.kind == "f":
        return np.asarray(rng.normal(0, 3, shape) * rng.choice([1, 1, 1, 50], shape), dtype)
    info = np.iinfo(dtype)
    return np.asarray(rng.integers(info.min, info.max + 1, shape), dtype)
