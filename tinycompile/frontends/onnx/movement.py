"""Operators that move or copy values, and those whose result is known from shapes alone."""

from __future__ import annotations

import math

import numpy as np
import onnx

from tinycompile.errors import MalformedModelError, ShapeError
from tinycompile.frontends.onnx.builder import Builder, Value
from tinycompile.frontends.onnx.functions import apply, to_type
from tinycompile.frontends.onnx.quantization import dequantize_value, parameters, quantized
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Array, Tensor
from tinycompile.ir.types import DType

_EXPORT_AGAIN = "export the model again"


def identity(b: Builder, n: SourceNode) -> Value:
    return b.value(n, 0)


def dropout(b: Builder, n: SourceNode) -> tuple[Value, ...]:
    """Inference: the first output is the input, the second, the mask, all true."""
    if b.optional(n, 2) is not None and bool(np.any(b.constant(n, 2, "training_mode"))):
        raise n.unsupported("dropout in training mode", "export the model for inference")
    x = b.value(n, 0)
    return (x, np.ones(x.shape, dtype=np.bool_)) if len(n.outputs) > 1 else (x,)


def cast(b: Builder, n: SourceNode) -> Value:
    wanted = n.integer("to", 0)
    return to_type(b, n, b.tensor(n, 0), _dtype(n, wanted))


def cast_like(b: Builder, n: SourceNode) -> Value:
    return to_type(b, n, b.tensor(n, 0), b.tensor(n, 1).dtype)


def bit_cast(b: Builder, n: SourceNode) -> Value:
    """The same bytes as another type of the same size."""
    x, wanted = b.tensor(n, 0), _dtype(n, n.integer("to", 0))
    if x.dtype.itemsize != wanted.itemsize or wanted == DType.BOOL != x.dtype:
        raise n.unsupported(f"the bytes of {x.dtype.value} as {wanted.value}")
    if x.dtype == wanted:
        return x
    if x.dtype == DType.FLOAT32:
        x = apply(b, n, "bits", [x])
    if wanted == DType.FLOAT32:
        return apply(b, n, "from_bits", [to_type(b, n, x, DType.UINT32)])
    return to_type(b, n, x, wanted)


def eye_like(b: Builder, n: SourceNode) -> Array:
    x = b.value(n, 0)
    given = n.integer("dtype", 0)
    dtype = _dtype(n, given).numpy if given else x.dtype.numpy if isinstance(x, Tensor) else x.dtype
    if len(x.shape) != 2:
        raise ShapeError(f"a unit matrix of shape {list(x.shape)}", str(n), _EXPORT_AGAIN)
    rows, columns = x.shape
    return np.eye(rows, columns, n.integer("k", 0), dtype=dtype)


def _dtype(n: SourceNode, number: int) -> DType:
    """The type with a number in ONNX's TensorProto."""
    known = onnx.TensorProto.DataType.values()
    name = onnx.helper.tensor_dtype_to_np_dtype(number).name if number in known and number not in (0, 8) else ""
    if name not in {d.value for d in DType}:
        raise n.unsupported(f"a cast to type {name or number}")
    return DType(name)


def constant(b: Builder, n: SourceNode) -> Array:
    value = n.tensor("value", b.folder)
    if value is not None:
        if n.is_four_bit("value"):
            b.four_bit.add(n.outputs[0])
        return value
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if n.has(name):
            return np.array(n.real(name, 0.0) if dtype is np.float32 else n.integer(name, 0), dtype=dtype)
    floats, ints = n.floats("value_floats"), n.ints("value_ints")
    if floats is not None:
        return np.array(floats, dtype=np.float32)
    if ints is not None:
        return np.array(ints, dtype=np.int64)
    raise n.unsupported("a constant that is no dense tensor of numbers")


def shape(b: Builder, n: SourceNode) -> Array:
    dims = b.value(n, 0).shape
    start, end = n.integer("start", 0), n.integer("end", len(dims))
    return np.array(dims[start:end], dtype=np.int64)


def size(b: Builder, n: SourceNode) -> Array:
    return np.array(math.prod(b.value(n, 0).shape), dtype=np.int64)


def reshape(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    wanted = list(b.integers(n, 1, "the shape"))
    if not n.integer("allowzero", 0):
        if any(d == 0 and k >= len(x.shape) for k, d in enumerate(wanted)):
            raise ShapeError(f"cannot reshape {list(x.shape)} to {wanted}", str(n), _EXPORT_AGAIN)
        wanted = [x.shape[k] if d == 0 else d for k, d in enumerate(wanted)]
    if wanted.count(-1) == 1:
        known = math.prod(d for d in wanted if d != -1)
        if known <= 0 or x.elems % known:
            raise ShapeError(f"cannot reshape {list(x.shape)} to {wanted}", str(n), _EXPORT_AGAIN)
        wanted[wanted.index(-1)] = x.elems // known
    return b.reshape(n, x, wanted)


def flatten(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    axis = n.integer("axis", 1)
    axis += len(x.shape) if axis < 0 else 0
    if not 0 <= axis <= len(x.shape):
        raise ShapeError(f"flatten at axis {axis} of {list(x.shape)}", str(n), _EXPORT_AGAIN)
    return b.reshape(n, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def _axes(b: Builder, n: SourceNode, rank: int) -> list[int] | None:
    """The axes, attributes before opset 13 and a constant input since, sorted; None when absent."""
    axes = n.ints("axes") if n.opset < 13 else (b.integers(n, 1, "the axes") if b.optional(n, 1) is not None else None)
    if axes is None:
        return None
    if any(not -rank <= a < rank for a in axes) or len({a % rank for a in axes}) != len(axes):
        raise ShapeError(f"axes {list(axes)} for {rank} dimensions", str(n), _EXPORT_AGAIN)
    return sorted(a % rank for a in axes)


def squeeze(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    axes = _axes(b, n, max(len(x.shape), 1))
    axes = [k for k, d in enumerate(x.shape) if d == 1] if axes is None else axes
    if any(x.shape[a] != 1 for a in axes):
        raise ShapeError(f"cannot squeeze axes {axes} of {list(x.shape)}", str(n), _EXPORT_AGAIN)
    return b.reshape(n, x, [d for k, d in enumerate(x.shape) if k not in axes])


def unsqueeze(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    given = n.ints("axes") if n.opset < 13 else b.integers(n, 1, "the axes")
    axes = _axes(b, n, len(x.shape) + len(given or ()))
    if axes is None:
        raise MalformedModelError("unsqueeze without axes", str(n), _EXPORT_AGAIN)
    dims = list(x.shape)
    for axis in axes:
        dims.insert(axis, 1)
    return b.reshape(n, x, dims)


def transpose(b: Builder, n: SourceNode) -> Tensor:
    x = b.tensor(n, 0)
    perm = n.ints("perm") or tuple(reversed(range(len(x.shape))))
    return b.transpose(n, x, perm)


def concat(b: Builder, n: SourceNode) -> Tensor:
    parts = [b.tensor(n, k) for k in range(len(n.inputs))]
    if any(p.quant != parts[0].quant for p in parts):
        raise n.unsupported("concatenation of tensors of different quantisation", "quantise in QDQ format")
    return _concat(b, n, parts)


def _concat(b: Builder, n: SourceNode, parts: list[Tensor]) -> Tensor:
    axis, rank = n.integer("axis", 0), len(parts[0].shape) if parts else 0
    if not -rank <= axis < rank:
        raise ShapeError(f"concat along axis {axis} of {rank} dimensions", str(n), _EXPORT_AGAIN)
    return b.concat(n, parts, axis % rank)


def qlinear_concat(b: Builder, n: SourceNode) -> Tensor:
    """com.microsoft: output scale and zero point, then (tensor, scale, zero point) for each input."""
    if len(n.inputs) < 5 or len(n.inputs) % 3 != 2:
        raise MalformedModelError(f"{len(n.inputs)} inputs of QLinearConcat", str(n), _EXPORT_AGAIN)
    parts = []
    for k in range(2, len(n.inputs), 3):
        value = b.value(n, k)
        quant, stated = parameters(b, n, k + 1, k + 2, 1, value.shape)
        parts.append(dequantize_value(b, n, value, n.inputs[k], quant, stated))
    return quantized(b, n, _concat(b, n, parts), 0, 1)
