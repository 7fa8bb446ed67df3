"""QuantizeLinear and DequantizeLinear, and the scales and zero points of every quantised operator.

QLinear operators import as dequantise, float operator, quantise: one fusion pass then serves both formats.
"""

from __future__ import annotations

import numpy as np

from tinycompile.errors import MalformedModelError, QuantError
from tinycompile.frontends.onnx.builder import Builder, Value
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Attrs, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.quantize import QuantizeAttrs

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32")
# Activation scales outside this range are damage, and their products and quotients would leave float32.
MIN_SCALE, MAX_SCALE = 1e-12, 1e12


def parameters(
    b: Builder, n: SourceNode, scale_index: int, zero_index: int, axis: int, shape: tuple[int, ...]
) -> tuple[Quant, str | None]:
    """Quantisation of a tensor of `shape` from inputs `scale_index` and `zero_index` (optional), and the integer type
    that the zero point states. Raises QuantError when they are not positive, not finite or do not fit."""
    scale = b.constant(n, scale_index, "a scale")
    zero = b.constant(n, zero_index, "a zero point") if b.optional(n, zero_index) is not None else None
    fix = "quantise the model again"
    if scale.dtype != np.float32:
        raise n.unsupported(f"a scale of type {scale.dtype.name}", "use float32 scales")
    if zero is not None and zero.dtype.name not in INTEGERS:
        raise n.unsupported(f"a zero point of type {zero.dtype.name}", "quantise to int8")
    if scale.size == 0 or not np.all(np.isfinite(scale)) or not np.all(scale > 0):
        raise QuantError("scales must be positive and finite", str(n), fix)
    if zero is not None and zero.size not in (1, scale.size):
        raise QuantError(f"{zero.size} zero points for {scale.size} scales", str(n), fix)
    if scale.size > 1 and scale.ndim != 1:
        raise n.unsupported("block-wise quantisation", "quantise per tensor or per channel")
    zeros = np.zeros(scale.size, dtype=np.int64) if zero is None else np.broadcast_to(zero.reshape(-1), (scale.size,))
    dtype = None if zero is None else zero.dtype.name
    values = tuple(float(s) for s in scale.reshape(-1)), tuple(int(z) for z in zeros)
    if scale.size == 1:
        return Quant(*values), dtype
    axis = axis + len(shape) if axis < 0 else axis
    if not 0 <= axis < len(shape) or shape[axis] != scale.size:
        raise QuantError(f"{scale.size} scales along dimension {axis} of shape {list(shape)}", str(n), fix)
    return Quant(*values, axis), dtype


def dequantized(b: Builder, n: SourceNode, index: int, scale: int, zero: int, axis: int = 1) -> Tensor:
    """The real value of integer input `index` with its scale and zero point at inputs `scale` and `zero`."""
    value = b.value(n, index)
    quant, stated = parameters(b, n, scale, zero, axis, value.shape)
    return dequantize_value(b, n, value, n.inputs[index], quant, stated)


def dequantize_value(
    b: Builder, n: SourceNode, value: Value, name: str, quant: Quant, stated: str | None = None
) -> Tensor:
    """The real value of an integer constant or tensor quantised with `quant`."""
    dtype = value.dtype.value if isinstance(value, Tensor) else value.dtype.name
    if dtype not in INTEGERS:
        raise n.unsupported(f"dequantisation of {dtype}", "quantise to int8")
    if stated is not None and stated != dtype:
        raise MalformedModelError(
            f"{dtype} values with a zero point of type {stated}", str(n), "quantise the model again"
        )
    if isinstance(value, Tensor):
        _check_activation(n, quant)
        tensor = b.assign_quant(n, value, quant)
    else:
        tensor = b.add_constant(value, name, n, quant)
    return b.emit(n, "dequantize", [tensor], Attrs())


def quantized(b: Builder, n: SourceNode, y: Tensor, scale: int, zero: int) -> Tensor:
    """`y` quantised with the scale and zero point at inputs `scale` and `zero`: uint8 when there is no zero point."""
    quant, stated = parameters(b, n, scale, zero, 1, y.shape)
    _check_activation(n, quant)
    return b.emit(n, "quantize", [y], QuantizeAttrs(half_even=True), dtype=DType(stated or "uint8"), quant=quant)


def _check_activation(n: SourceNode, quant: Quant) -> None:
    if quant.per_channel:
        raise QuantError("activations quantised per channel", str(n), "quantise activations per tensor")
    if not MIN_SCALE <= quant.scale[0] <= MAX_SCALE:
        raise QuantError(f"an activation scale of {quant.scale[0]:g}", str(n), "calibrate the model again")


def quantize_linear(b: Builder, n: SourceNode) -> Tensor:
    _no_blocks(n)
    x = b.real(n, 0)
    quant, stated = parameters(b, n, 1, 2, n.integer("axis", 1), x.shape)
    if not b.is_weight(x):
        _check_activation(n, quant)
    if stated is None and n.integer("output_dtype", 0) not in (0, 2):
        raise n.unsupported("output_dtype without a zero point", "export the model with explicit zero points")
    return b.emit(n, "quantize", [x], QuantizeAttrs(half_even=True), dtype=DType(stated or "uint8"), quant=quant)


def dequantize_linear(b: Builder, n: SourceNode) -> Tensor:
    _no_blocks(n)
    return dequantized(b, n, 0, 1, 2, n.integer("axis", 1))


def _no_blocks(n: SourceNode) -> None:
    if n.integer("block_size", 0):
        raise n.unsupported("block-wise quantisation", "quantise per tensor or per channel")
