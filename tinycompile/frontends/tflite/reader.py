"""The flatbuffer, checked: every number that the rest of the frontend uses has been bounded here.

The generated flatbuffers classes trust the file. This module turns it into plain dataclasses, and maps whatever the
classes raise on a corrupt file to MalformedModelError. Constants are views of the file's own bytes. Offsets in the file
may make many tables share one long vector, so the entries read are counted against the size of the file: time and
memory stay proportional to it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinycompile.errors import MalformedModelError, QuantError, ShapeError, UnsupportedError, one_line
from tinycompile.frontends.limits import (
    MAX_OPS,
    MAX_RANK,
    MAX_SCALE,
    MAX_TENSORS,
    MIN_SCALE,
    Budget,
    checked_activation,
    checked_shape,
)
from tinycompile.frontends.naming import plain_name
from tinycompile.ir.graph import Array
from tinycompile.ir.quant import Quant, narrowed
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
_FLOAT16, _INT4 = 1, 17
_SCHEMA_VERSION = 3
# A file without shared vectors is read once; sharing of short ones is normal.
_READS_PER_BYTE, _FREE_READS = 4, 65536
_MAX_TEXT_BYTES = 1 << 20
_MAX_NUMBERS = 4 * 1024 * 1024  # in lists other than the data of constants; each becomes an object of Python
# What Python, NumPy and flatbuffers raise on inconsistent data.
CORRUPT = (
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
    """None for a type that tinycompile does not have; `type_name` is the schema's name for it."""
    type_name: str
    quant: Quant | None
    data: Array | None
    is_variable: bool
    half: Array | None = None
    """Data of a float16 constant, whose `dtype` is None: no operator computes in it."""


@dataclass(frozen=True, eq=False)
class SourceOp:
    index: int
    builtin: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Callable[[str], Any]
    """Builtin options as the generated class of that name."""
    intermediates: tuple[int, ...] = ()
    """Tensors that only say how values inside the operator are quantised; their shapes mean nothing."""


@dataclass(frozen=True, eq=False)
class SourceModel:
    """One graph of a file. `subgraphs`: of the first, those that its ``CALL_ONCE`` operators run, by number."""

    tensors: tuple[SourceTensor, ...]
    ops: tuple[SourceOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: Mapping[int, SourceModel] = field(default_factory=dict)


def _malformed(what: str, path: Path) -> MalformedModelError:
    return MalformedModelError(what, str(path), "export the model again; the file is damaged or no TFLite model")


class _Reader:
    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path = data, path
        self.reads_left = _READS_PER_BYTE * len(data) + _FREE_READS
        self.numbers = Budget(_MAX_NUMBERS, "numbers in lists")

    def length(self, count: int, what: str, limit: int | None = None) -> int:
        """A vector's length, which cannot exceed the file's own size."""
        if count < 0 or count > min(len(self.data), limit or len(self.data)):
            raise _malformed(f"{what}: {count} entries in a file of {len(self.data)} bytes", self.path)
        self.reads_left -= count
        if self.reads_left < 0:
            raise _malformed(f"{what}: the file's vectors overlap", self.path)
        return count

    def read(self) -> SourceModel:
        import tflite

        model = tflite.Model.GetRootAsModel(self.data, 0)
        if model.Version() != _SCHEMA_VERSION:
            raise _malformed(f"schema version {model.Version()}, not {_SCHEMA_VERSION}", self.path)
        graphs = self.length(model.SubgraphsLength(), "subgraphs")
        if graphs < 1:
            raise _malformed("the file holds no graph", self.path)
        main = self.graph(model, 0)
        once = {int(o.options("CallOnceOptions").InitSubgraphIndex()) for o in main.ops if o.builtin == "CALL_ONCE"}
        return replace(main, subgraphs={k: self.graph(model, k) for k in sorted(once) if 0 < k < graphs})

    def graph(self, model: Any, number: int) -> SourceModel:
        import tflite

        graph = model.Subgraphs(number)
        count = self.length(graph.TensorsLength(), "tensors", MAX_TENSORS)
        inputs = self.indices(graph, "Inputs", count, "graph inputs")
        outputs = self.indices(graph, "Outputs", count, "graph outputs")
        buffers = self.length(model.BuffersLength(), "buffers")
        types = {v: k for k, v in vars(tflite.TensorType).items() if isinstance(v, int)}
        codes = self.codes(model)
        ops = tuple(
            self.op(graph.Operators(i), i, codes, count)
            for i in range(self.length(graph.OperatorsLength(), "operators", MAX_OPS))
        )
        ports, shapeless = frozenset(inputs), frozenset(i for op in ops for i in op.intermediates)
        tensors = tuple(
            self.tensor(model, graph.Tensors(i), i, i in ports, i in shapeless, buffers, types) for i in range(count)
        )
        return SourceModel(tensors, ops, inputs, outputs)

    def vector(self, table: Any, field: str, what: str, limit: int | None = None) -> list[Any]:
        """The numbers of a vector field."""
        count = self.length(getattr(table, f"{field}Length")(), what, limit)
        self.numbers.take(count, what)
        return [] if count == 0 else list(getattr(table, f"{field}AsNumpy")().tolist())

    def indices(self, table: Any, field: str, tensors: int, what: str, optional: bool = False) -> tuple[int, ...]:
        result = tuple(self.vector(table, field, what))
        lowest = -1 if optional else 0
        if any(i < lowest or i >= tensors for i in result):
            raise _malformed(f"{what} name a tensor that does not exist", self.path)
        return result

    def codes(self, model: Any) -> list[str]:
        import tflite

        names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
        result = []
        for i in range(self.length(model.OperatorCodesLength(), "operator codes", MAX_OPS)):
            code = model.OperatorCodes(i)
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            name = names.get(number, f"builtin operator {number}")
            if number == tflite.BuiltinOperator.CUSTOM:
                name = f"CUSTOM {self.text(code.CustomCode(), 'an operator code')}"
            result.append(name)
        return result

    def text(self, raw: bytes | None, what: str) -> str:
        """A string of the file, safe to print."""
        self.length(len(raw or b""), what, _MAX_TEXT_BYTES)
        return plain_name((raw or b"").decode("utf-8", "replace"))

    def op(self, op: Any, index: int, codes: list[str], tensors: int) -> SourceOp:
        opcode = op.OpcodeIndex()
        if not 0 <= opcode < len(codes):
            raise _malformed(f"operator {index} has no operator code", self.path)

        def options(name: str) -> Any:
            import tflite

            table = op.BuiltinOptions()
            if table is None or op.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, name):
                raise _malformed(f"operator {index} ({codes[opcode]}) has no {name}", self.path)
            result = getattr(tflite, name)()
            result.Init(table.Bytes, table.Pos)
            return result

        what = f"operator {index} ({codes[opcode]})"
        return SourceOp(
            index,
            codes[opcode],
            self.indices(op, "Inputs", tensors, what, optional=True),
            self.indices(op, "Outputs", tensors, what),
            options,
            self.indices(op, "Intermediates", tensors, what),
        )

    def tensor(
        self,
        model: Any,
        tensor: Any,
        index: int,
        is_input: bool,
        shapeless: bool,
        buffers: int,
        types: Mapping[int, str],
    ) -> SourceTensor:
        name = self.text(tensor.Name(), f"the name of tensor {index}") or f"tensor_{index}"
        where = f"{self.path}, tensor {index} '{one_line(name, 80)}'"
        dims = self.vector(tensor, "Shape", where, MAX_RANK)
        signature = self.vector(tensor, "ShapeSignature", where, MAX_RANK)
        if is_input and any(d < 0 for d in signature[1:]):
            raise ShapeError(
                f"the input's shape {signature} is not static", where, "convert it with a fixed input shape"
            )
        shape = () if shapeless else checked_shape(dims, where)
        if tensor.Sparsity() is not None:
            raise UnsupportedError("a sparse tensor", where, "convert the model without sparsity")
        code = int(tensor.Type())
        if not 0 <= tensor.Buffer() < buffers:
            raise MalformedModelError("its buffer does not exist", where, "export the model again")
        buffer = model.Buffers(tensor.Buffer())
        narrow = self.narrow(buffer, shape, where) if code == _INT4 else None
        dtype = DType.INT8 if narrow is not None else _TYPES.get(code)
        data = narrow if narrow is not None or dtype is None else self.buffer(buffer, shape, dtype.numpy, where)
        half = self.buffer(buffer, shape, np.dtype(np.float16), where) if code == _FLOAT16 else None
        if data is None and half is None:
            checked_activation(shape, where)
        quant = self.quant(tensor.Quantization(), shape, dtype, data is None, where)
        if narrow is not None and quant is not None:
            if any(quant.zero_point):
                raise QuantError("int4 values with a zero point that is not 0", where, "quantise them symmetrically")
            quant = narrowed(narrow, quant)
        return SourceTensor(
            name, shape, dtype, types.get(code, f"{code}"), quant, data, bool(tensor.IsVariable()), half
        )

    def buffer(self, buffer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> Array | None:
        """Read-only view of a buffer's bytes; None when it is empty: the tensor is computed."""
        size = 0 if buffer is None else self.length(buffer.DataLength(), where)
        if size == 0:
            return None
        expected = math.prod(shape) * dtype.itemsize
        if size != expected:
            raise MalformedModelError(
                f"{size} bytes of data for a {dtype.name} tensor of shape {list(shape)} ({expected} bytes)",
                where,
                "export the model again; the file is damaged",
            )
        values: Array = buffer.DataAsNumpy()
        if dtype == np.bool_:
            values = values != 0
        else:
            values = values.view(dtype.newbyteorder("<")).astype(dtype, copy=False)
        return values.reshape(shape)

    def narrow(self, buffer: Any, shape: tuple[int, ...], where: str) -> Array | None:
        """A constant of 4 bits, two values in a byte with the first in the low half, as int8."""
        count = math.prod(shape)
        packed = self.buffer(buffer, ((count + 1) // 2,), np.dtype(np.uint8), where)
        if packed is None:
            return None
        halves = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)[:count]
        return ((halves ^ 8).astype(np.int8) - np.int8(8)).reshape(shape)

    def quant(self, q: Any, shape: tuple[int, ...], dtype: DType | None, computed: bool, where: str) -> Quant | None:
        if q is None or dtype is None or not dtype.is_integer:
            return None
        scale = tuple(float(v) for v in self.vector(q, "Scale", where))
        if not scale:
            return None
        count = len(scale)
        zero_point = tuple(int(v) for v in self.vector(q, "ZeroPoint", where)) or (0,) * count
        lo, hi = dtype.int_range
        # Scales of constants may be as small as dead channels make them.
        if any(not 0 < s <= MAX_SCALE or (computed and s < MIN_SCALE) for s in scale):
            raise QuantError(
                "a scale that is zero, negative, not finite or of an absurd size", where, "quantise the model again"
            )
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
    except CORRUPT as error:
        raise _malformed(f"the file is corrupt ({type(error).__name__})", path) from None


def read_options(op: SourceOp, name: str, path: Path, *getters: str) -> tuple[Any, ...]:
    """Values of an operator's options, by getter name. `name`: the options' class in the schema."""
    try:
        options = op.options(name)
        return tuple(getattr(options, g)() for g in getters)
    except CORRUPT as error:
        raise _malformed(f"options of operator {op.index} are corrupt ({type(error).__name__})", path) from None
