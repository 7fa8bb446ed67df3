"""Products of matrices: fully connected layers where the second one is constant, else of what is made at run time."""

from __future__ import annotations

import numpy as np

from tinycompile.frontends.onnx.builder import Builder
from tinycompile.frontends.onnx.functions import apply, to_type
from tinycompile.frontends.onnx.layers import integer_bias
from tinycompile.frontends.onnx.quantization import dequantized, quantized, rounded
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.fully_connected import FullyConnectedAttrs
from tinycompile.ops.matmul import TYPES, MatmulAttrs
from tinycompile.ops.mul import MulAttrs


def _fully_connected(b: Builder, n: SourceNode, x: Tensor, w: Tensor, bias: Tensor | None, rows: bool) -> Tensor:
    """`w` is [N,K] when `rows`, else [K,N]."""
    if len(w.shape) != 2 or not b.is_weight(w) or len(x.shape) < 2:
        raise n.unsupported(
            f"a product of {list(x.shape)} and {list(w.shape)}{'' if b.is_weight(w) else ' computed at run time'}",
            "only products with a constant matrix have a kernel",
        )
    w = w if rows else b.transpose(n, w, (1, 0))
    if bias is not None:
        if not b.is_weight(bias) or bias.elems not in (1, w.shape[0]):
            raise n.unsupported(f"a bias of shape {list(bias.shape)}", "give the layer one constant bias per output")
        if bias.elems != w.shape[0]:
            raise n.unsupported("one bias value for several outputs", "give the layer one bias per output")
        bias = b.reshape(n, bias, (w.shape[0],))
    inputs = [x, w] if bias is None else [x, w, bias]
    return b.emit(n, "fully_connected", inputs, FullyConnectedAttrs(keep_dims=len(x.shape) > 2))


def matmul(b: Builder, n: SourceNode) -> Tensor:
    return _product(b, n, b.tensor(n, 0), b.tensor(n, 1))


def _product(b: Builder, n: SourceNode, x: Tensor, w: Tensor) -> Tensor:
    """NumPy's matmul: a vector is a row on the left, a column on the right, and its dimension goes again."""
    if x.dtype != w.dtype or x.dtype not in TYPES:
        raise n.unsupported(f"a product of {x.dtype.value} and {w.dtype.value}", "multiply matrices of one type")
    if not x.shape or not w.shape:
        raise n.unsupported("a product of scalars", "use Mul")
    left = x if len(x.shape) > 1 else b.reshape(n, x, (1, *x.shape))
    right = w if len(w.shape) > 1 else b.reshape(n, w, (*w.shape, 1))
    if x.dtype == DType.FLOAT32 and len(right.shape) == 2 and b.is_weight(right):
        y = _fully_connected(b, n, left, right, None, rows=False)
    else:
        y = b.emit(n, "matmul", [left, right], MatmulAttrs())
    shape = list(y.shape)
    if len(w.shape) == 1:
        del shape[-1]
    if len(x.shape) == 1:
        del shape[-1 if len(w.shape) == 1 else -2]
    return b.reshape(n, y, shape)


def _centred(b: Builder, n: SourceNode, index: int, zero: int, rows: bool) -> Tensor:
    """Integer input `index` less its zero point, one or, of a matrix, one for each of its rows or columns; as int32."""
    x = to_type(b, n, b.tensor(n, index), DType.INT32)
    if b.optional(n, zero) is None:
        return x
    point = to_type(b, n, b.tensor(n, zero), DType.INT32)
    if point.elems == 1:
        point = b.reshape(n, point, ())
    elif len(point.shape) == 1:
        point = b.reshape(n, point, (point.elems, 1) if rows else (1, point.elems))
    y = apply(b, n, "sub", [x, point])
    if y.shape != x.shape:
        raise n.unsupported(f"zero points of shape {list(point.shape)} for {list(x.shape)}")
    return y


def matmul_integer(b: Builder, n: SourceNode) -> Tensor:
    return _product(b, n, _centred(b, n, 0, 2, True), _centred(b, n, 1, 3, False))


def _qlinear_product(b: Builder, n: SourceNode) -> Tensor:
    """A quantised product of matrices that are both made at run time, or of more than two dimensions."""
    total = _product(b, n, _centred(b, n, 0, 2, True), _centred(b, n, 3, 5, False))
    scales = [b.real(n, k) for k in (1, 4, 6)]
    if any(t.elems != 1 for t in scales):
        raise n.unsupported("a quantised product of several scales", "quantise per tensor")
    first, second, result = (b.reshape(n, t, ()) for t in scales)
    scale = apply(b, n, "div", [apply(b, n, "mul", [first, second]), result])
    zero = b.tensor(n, 7)
    if zero.dtype not in (DType.INT8, DType.UINT8) or zero.elems != 1:
        raise n.unsupported(f"a zero point of {zero.dtype.value}, shape {list(zero.shape)}", "quantise to int8")
    real = apply(b, n, "mul", [to_type(b, n, total, DType.FLOAT32), scale])
    return rounded(b, n, real, b.reshape(n, zero, ()), zero.dtype)


def qlinear_matmul(b: Builder, n: SourceNode) -> Tensor:
    parameters = [b.tensor(n, k) for k in (1, 2, 3, 4, 5, 6, 7)]
    if len(parameters[2].shape) != 2 or any(b.known(t) is None for t in parameters):
        return _qlinear_product(b, n)
    x, w = dequantized(b, n, 0, 1, 2), dequantized(b, n, 3, 4, 5)
    return quantized(b, n, _fully_connected(b, n, x, w, None, rows=False), 6, 7)


def gemm(b: Builder, n: SourceNode) -> Tensor:
    """alpha * A * B + beta * C."""
    x, w = b.real(n, 0), b.real(n, 1)
    rows, swapped = bool(n.integer("transB", 0)), bool(n.integer("transA", 0))
    alpha, beta = n.real("alpha", 1.0), n.real("beta", 1.0)
    c = b.real(n, 2) if b.optional(n, 2) is not None and beta != 0.0 else None
    if len(x.shape) != 2 or len(w.shape) != 2:
        raise n.unsupported(f"a Gemm of {list(x.shape)} and {list(w.shape)}")
    layer = b.is_weight(w) and not swapped
    outputs = w.shape[0] if rows else w.shape[1]
    if layer and alpha == 1.0 and beta in (0.0, 1.0) and (c is None or (b.is_weight(c) and c.elems == outputs)):
        return _fully_connected(b, n, x, w, c, rows)
    if layer:
        y = _fully_connected(b, n, x, w, None, rows)
    else:
        y = b.emit(n, "matmul", [x, w], MatmulAttrs(swapped, rows))
    y = _times(b, n, y, alpha)
    if c is None:
        return y
    shape = y.shape
    y = b.emit(n, "add", [y, _times(b, n, c, beta)], AddAttrs())
    if y.shape != shape:
        raise n.unsupported(f"a Gemm of output {list(shape)} plus a tensor of shape {list(c.shape)}")
    return y


def _times(b: Builder, n: SourceNode, x: Tensor, factor: float) -> Tensor:
    """`x` times a constant; of a constant at compile time."""
    if factor == 1.0:
        return x
    if x.data is not None:
        return b.add_constant(np.asarray(x.data * np.float32(factor)), f"{x.name}/times", n)
    return b.emit(n, "mul", [x, b.add_constant(np.array(factor, dtype=np.float32), f"{x.name}/factor", n)], MulAttrs())


def qgemm(b: Builder, n: SourceNode) -> Tensor:
    """com.microsoft QGemm: A, scale, zero point, B, scale, zero point, C, output scale, output zero point."""
    if n.integer("transA", 0) or n.real("alpha", 1.0) != 1.0:
        raise n.unsupported("QGemm with transA or alpha", "fold the factor into the weights' scale")
    rows = bool(n.integer("transB", 0))
    x, w = dequantized(b, n, 0, 1, 2), dequantized(b, n, 3, 4, 5, axis=0 if rows else 1)
    y = _fully_connected(b, n, x, w, integer_bias(b, n, 6, 1, 4), rows)
    return quantized(b, n, y, 7, 8) if b.optional(n, 7) is not None else y
