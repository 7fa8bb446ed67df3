"""The flatbuffer, checked: every number that the rest of the frontend uses has been bounded here.

The generated flatbuffers classes trust the file. This module turns it into plain dataclasses, and maps whatever the
classes raise on a corrupt file to MalformedModelError.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinycompile.errors import MalformedModelError, QuantError, ShapeError, UnsupportedError
from tinycompile.frontends.limits import MAX_OPS, MAX_TENSORS, checked_shape
from tinycompile.ir.graph import Array
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType

_TYPES = {
    0: DType.FLOAT32,
    2: DType.INT32,
    3: DType.UINT8,
    4: DType.INT64,
    6: DType.BOOL,
    7: DType.INT16,
    9: DType.INT8,
    15: DType.UINT32,
    16: DType.UINT16,
}
_CORRUPT = (
    struct.error,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    AssertionError,
    MemoryError,
    RecursionError,
)


@dataclass(frozen=True, eq=False)
class SourceTensor:
    name: str
    shape: tuple[int, ...]
    dtype: DType | None
    """None for a type that tinycompile has no name for; `type_code` says which."""
    type_code: int
    quant: Quant | None
    data: Array | None
    is_variable: bool


@dataclass(frozen=True, eq=False)
class SourceOp:
    index: int
    builtin: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Callable[[type[Any]], Any]
    """Builtin options as the given generated class."""


@dataclass(frozen=True, eq=False)
class SourceModel:
    tensors: tuple[SourceTensor, ...]
    ops: tuple[SourceOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def _malformed(what: str, path: Path) -> MalformedModelError:
    return MalformedModelError(what, str(path), "export the model again; the file is damaged or no TFLite model")


class _Reader:
    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path = data, path

    def length(self, count: int, what: str, limit: int | None = None) -> int:
        """A vector's length, which cannot exceed the file's own size."""
        if count < 0 or count > min(len(self.data), limit or len(self.data)):
            raise _malformed(f"{what}: {count} entries in a file of {len(self.data)} bytes", self.path)
        return count

    def read(self) -> SourceModel:
        import tflite

        model = tflite.Model.GetRootAsModel(self.data, 0)
        if self.length(model.SubgraphsLength(), "subgraphs") < 1:
            raise _malformed("the file holds no graph", self.path)
        graph = model.Subgraphs(0)
        count = self.length(graph.TensorsLength(), "tensors", MAX_TENSORS)
        tensors = tuple(self.tensor(model, graph.Tensors(i), i) for i in range(count))
        codes = self.codes(model)
        ops = tuple(
            self.op(graph.Operators(i), i, codes, count)
            for i in range(self.length(graph.OperatorsLength(), "operators", MAX_OPS))
        )
        inputs = self.indices(graph.InputsLength(), graph.Inputs, count, "graph inputs")
        outputs = self.indices(graph.OutputsLength(), graph.Outputs, count, "graph outputs")
        return SourceModel(tensors, ops, inputs, outputs)

    def indices(
        self, count: int, get: Callable[[int], int], tensors: int, what: str, optional: bool = False
    ) -> tuple[int, ...]:
        result = tuple(int(get(i)) for i in range(self.length(count, what)))
        lowest = -1 if optional else 0
        if any(i < lowest or i >= tensors for i in result):
            raise _malformed(f"{what} name a tensor that does not exist", self.path)
        return result

    def codes(self, model: Any) -> list[str]:
        import tflite

        names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
        result = []
        for i in range(self.length(model.OperatorCodesLength(), "operator codes")):
            code = model.OperatorCodes(i)
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            custom = (code.CustomCode() or b"").decode("utf-8", "replace")
            result.append(
                f"CUSTOM:{custom}" if number == tflite.BuiltinOperator.CUSTOM else names.get(number, f"#{number}")
            )
        return result

    def op(self, op: Any, index: int, codes: list[str], tensors: int) -> SourceOp:
        opcode = op.OpcodeIndex()
        if not 0 <= opcode < len(codes):
            raise _malformed(f"operator {index} has no operator code", self.path)

        def options(cls: type[Any]) -> Any:
            table = op.BuiltinOptions()
            if table is None:
                raise _malformed(f"operator {index} ({codes[opcode]}) has no options", self.path)
            result = cls()
            result.Init(table.Bytes, table.Pos)
            return result

        what = f"operator {index} ({codes[opcode]})"
        return SourceOp(
            index,
            codes[opcode],
            self.indices(op.InputsLength(), op.Inputs, tensors, what, optional=True),
            self.indices(op.OutputsLength(), op.Outputs, tensors, what),
            options,
        )

    def tensor(self, model: Any, tensor: Any, index: int) -> SourceTensor:
        name = (tensor.Name() or b"").decode("utf-8", "replace") or f"tensor_{index}"
        where = f"{self.path}, tensor {index} '{name[:80]}'"
        rank = self.length(tensor.ShapeLength(), where, 64)
        signature = [
            int(tensor.ShapeSignature(i)) for i in range(self.length(tensor.ShapeSignatureLength(), where, 64))
        ]
        if any(d < 0 for d in signature[1:]):
            raise ShapeError(
                f"the shape {signature} is not static", where, "convert the model with a fixed input shape"
            )
        shape = checked_shape([int(tensor.Shape(i)) for i in range(rank)], where)
        if tensor.Sparsity() is not None:
            raise UnsupportedError("a sparse tensor", where, "convert the model without sparsity")
        code = int(tensor.Type())
        dtype = _TYPES.get(code)
        data = None if dtype is None else self.buffer(model, tensor.Buffer(), shape, dtype, where)
        quant = self.quant(tensor.Quantization(), shape, dtype, where)
        return SourceTensor(name, shape, dtype, code, quant, data, bool(tensor.IsVariable()))

    def buffer(self, model: Any, index: int, shape: tuple[int, ...], dtype: DType, where: str) -> Array | None:
        if not 0 <= index < self.length(model.BuffersLength(), "buffers"):
            raise MalformedModelError("its buffer does not exist", where, "export the model again")
        buffer = model.Buffers(index)
        size = 0 if buffer is None else self.length(buffer.DataLength(), where)
        if size == 0:
            return None
        expected = math.prod(shape) * dtype.itemsize
        if size != expected:
            raise MalformedModelError(
                f"{size} bytes of data for a {dtype.value} tensor of shape {list(shape)} ({expected} bytes)",
                where,
                "export the model again; the file is damaged",
            )
        raw = np.ascontiguousarray(buffer.DataAsNumpy()).tobytes()
        return np.frombuffer(raw, dtype=dtype.numpy.newbyteorder("<")).astype(dtype.numpy).reshape(shape)

    def quant(self, q: Any, shape: tuple[int, ...], dtype: DType | None, where: str) -> Quant | None:
        if q is None or dtype is None or not dtype.is_integer:
            return None
        count = self.length(q.ScaleLength(), where)
        if count == 0:
            return None
        scale = tuple(float(q.Scale(i)) for i in range(count))
        zeros = self.length(q.ZeroPointLength(), where)
        zero_point = tuple(int(q.ZeroPoint(i)) for i in range(zeros)) if zeros else (0,) * count
        lo, hi = dtype.int_range
        if any(not math.isfinite(s) or s <= 0 for s in scale):
            raise QuantError("a scale that is zero, negative or not finite", where, "quantise the model again")
        if len(zero_point) != count or any(not lo <= z <= hi for z in zero_point):
            raise QuantError(
                f"zero points that do not fit {count} scales of type {dtype.value}", where, "quantise the model again"
            )
        if count == 1:
            return Quant(scale, zero_point)
        axis = int(q.QuantizedDimension())
        if not 0 <= axis < len(shape) or shape[axis] != count:
            raise QuantError(f"{count} scales along axis {axis} of {list(shape)}", where, "quantise the model again")
        return Quant(scale, zero_point, axis)


def read_model(data: bytes, path: Path) -> SourceModel:
    """The first graph of a `.tflite` file. Raises ModelError for anything wrong with it."""
    try:
        return _Reader(data, path).read()
    except _CORRUPT as error:
        raise _malformed(f"the file is corrupt ({type(error).__name__})", path) from None


def read_options(op: SourceOp, cls: type[Any], path: Path, *getters: str) -> tuple[Any, ...]:
    """Values of an operator's options, by getter name."""
    try:
        options = op.options(cls)
        return tuple(getattr(options, g)() for g in getters)
    except _CORRUPT as error:
        raise _malformed(f"options of operator {op.index} are corrupt ({type(error).__name__})", path) from None
