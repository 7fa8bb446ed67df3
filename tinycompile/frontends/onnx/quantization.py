"""QuantizeLinear and DequantizeLinear, and the scales and zero points of every quantised operator.

QLinear operators import as dequantise, float operator, quantise: one fusion pass then serves both formats.
"""

from __future__ import annotations

import numpy as np

from tinycompile.errors import MalformedModelError, QuantError
from tinycompile.frontends.onnx.builder import Builder, Value
from tinycompile.frontends.onnx.functions import apply, to_type
from tinycompile.frontends.onnx.selection import select
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Array, Attrs, Tensor
from tinycompile.ir.quant import Quant, narrowed
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
        reduced = _of_channels(scale, zero, shape)
        if reduced is None:
            raise n.unsupported("block-wise quantisation", "quantise per tensor or per channel")
        scale, zero, axis = reduced
    zeros = np.zeros(scale.size, dtype=np.int64) if zero is None else np.broadcast_to(zero.reshape(-1), (scale.size,))
    dtype = None if zero is None else zero.dtype.name
    values = tuple(float(s) for s in scale.reshape(-1)), tuple(int(z) for z in zeros)
    if scale.size == 1:
        return Quant(*values), dtype
    axis = axis + len(shape) if axis < 0 else axis
    if not 0 <= axis < len(shape) or shape[axis] != scale.size:
        raise QuantError(f"{scale.size} scales along dimension {axis} of shape {list(shape)}", str(n), fix)
    return Quant(*values, axis), dtype


def _of_channels(scale: Array, zero: Array | None, shape: tuple[int, ...]) -> tuple[Array, Array | None, int] | None:
    """Scales and zero points of blocks as those of the indices of one dimension, and that; None where they differ along
    others or within it."""
    grids = [scale] if zero is None else [scale, zero]
    if scale.ndim != len(shape) or any(g.shape != scale.shape for g in grids):
        return None
    differ = [a for a in range(scale.ndim) if any(np.any(g != g.take([0], axis=a)) for g in grids)]
    axis = differ[0] if differ else 0
    if len(differ) > 1 or (differ and scale.shape[axis] != shape[axis]):
        return None
    count = scale.shape[axis] if differ else 1
    lines = [np.moveaxis(g, axis, 0).reshape(scale.shape[axis], -1)[:count, 0] for g in grids]
    return lines[0], None if zero is None else lines[1], axis


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
        tensor = b.add_constant(value, name, n, narrowed(value, quant) if name in b.four_bit else quant)
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


def _blocks(n: SourceNode, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """How many blocks a node cuts each dimension into; None where it has no valid size of blocks."""
    axis, block = n.integer("axis", 1), n.integer("block_size", 0)
    axis += len(shape) if axis < 0 else 0
    return tuple(-(-d // block) if a == axis else d for a, d in enumerate(shape)) if block > 0 else None


def _along(b: Builder, n: SourceNode, index: int, shape: tuple[int, ...]) -> Tensor:
    """Scale or zero point at input `index` as it broadcasts to a tensor of `shape`: one, one for each index of an axis,
    or one for each block of it."""
    given, axis, block = b.tensor(n, index), n.integer("axis", 1), n.integer("block_size", 0)
    if given.elems == 1 and not block:
        return b.reshape(n, given, ())
    axis += len(shape) if axis < 0 else 0
    if not 0 <= axis < len(shape):
        raise QuantError(
            f"quantisation along dimension {axis} of shape {list(shape)}", str(n), "quantise the model again"
        )
    if block:
        if given.shape != _blocks(n, shape):
            raise QuantError(f"{list(given.shape)} scales of blocks of {block}", str(n), "quantise the model again")
        indices = [[k // block for k in range(d)] if a == axis else range(d) for a, d in enumerate(shape)]
        return select(b, n, given, indices)
    if given.shape != (shape[axis],):
        raise QuantError(
            f"{list(given.shape)} scales along dimension {axis} of shape {list(shape)}",
            str(n),
            "quantise the model again",
        )
    return b.reshape(n, given, [d if a == axis else 1 for a, d in enumerate(shape)])


def _is_plain(b: Builder, n: SourceNode, value: Value, stored: str) -> bool:
    """Whether scale and zero point are constants such as integer operators have: of a weight per tensor or per channel,
    of an activation of 8 bits per tensor."""
    given = [b.tensor(n, k) for k in (1, 2) if b.optional(n, k) is not None]
    known = [values for t in given if (values := b.known(t)) is not None]
    if len(known) < len(given):
        return False
    weight = not isinstance(value, Tensor) or b.is_weight(value)
    if n.integer("block_size", 0):
        fits = weight and all(t.shape == _blocks(n, value.shape) for t in given)
        return fits and _of_channels(known[0], known[1] if len(known) > 1 else None, value.shape) is not None
    if weight:
        return True
    return stored in ("int8", "uint8") and given[0].elems == 1


_OUTPUT_TYPES = {0: "uint8", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}


def rounded(b: Builder, n: SourceNode, x: Tensor, zero: Tensor | None, dtype: DType) -> Tensor:
    """Whole numbers of `dtype` nearest to `x`, plus `zero`, halves to even; saturating."""
    y = apply(b, n, "round", [x])
    if zero is not None:
        y = apply(b, n, "add", [y, to_type(b, n, zero, DType.FLOAT32)])
    low, high = dtype.int_range
    return to_type(b, n, apply(b, n, "clip", [y], float(low), float(high)), dtype)


def quantize_linear(b: Builder, n: SourceNode) -> Tensor:
    x = b.real(n, 0)
    zero = b.tensor(n, 2) if b.optional(n, 2) is not None else None
    wanted = n.integer("output_dtype", 0)
    if wanted not in _OUTPUT_TYPES or n.integer("precision", 0) not in (0, 1):
        raise n.unsupported(f"quantisation to type {wanted}", "quantise to 8 or 16 bits")
    stored = _OUTPUT_TYPES[wanted] if zero is None else zero.dtype.value
    if zero is not None and n.inputs[2] in b.four_bit:
        stored = "4 bits"
    if stored not in INTEGERS[:4]:
        raise n.unsupported(f"quantisation to {stored}", "quantise to 8 or 16 bits")
    if not _is_plain(b, n, x, stored):
        shifted = None if zero is None else _along(b, n, 2, x.shape)
        return rounded(b, n, apply(b, n, "div", [x, _scale(b, n, x.shape)]), shifted, DType(stored))
    quant, _ = parameters(b, n, 1, 2, n.integer("axis", 1), x.shape)
    if not b.is_weight(x):
        _check_activation(n, quant)
    return b.emit(n, "quantize", [x], QuantizeAttrs(half_even=True), dtype=DType(stored), quant=quant)


def _scale(b: Builder, n: SourceNode, shape: tuple[int, ...]) -> Tensor:
    if b.tensor(n, 1).dtype != DType.FLOAT32:
        raise n.unsupported(f"a scale of type {b.tensor(n, 1).dtype.value}", "use float32 scales")
    return _along(b, n, 1, shape)


def dequantize_linear(b: Builder, n: SourceNode) -> Tensor:
    value = b.value(n, 0)
    stored = value.dtype.value if isinstance(value, Tensor) else value.dtype.name
    if stored not in INTEGERS or _is_plain(b, n, value, stored):
        return dequantized(b, n, 0, 1, 2, n.integer("axis", 1))
    x = to_type(b, n, b.tensor(n, 0), DType.FLOAT32)
    if b.optional(n, 2) is not None:
        if b.tensor(n, 2).dtype.value != stored:
            raise MalformedModelError(
                "a zero point of another type than the values", str(n), "quantise the model again"
            )
        x = apply(b, n, "sub", [x, to_type(b, n, _along(b, n, 2, value.shape), DType.FLOAT32)])
    return apply(b, n, "mul", [x, _scale(b, n, value.shape)])
