"""quantize: float32 to int8 or int16, ``round(x / scale) + zero_point``, saturating.

The function is monotonic in x, so 255 thresholds give it exactly: the least float32 that reaches each output above
-128. The kernel finds the output by comparing bit patterns as integers and executes no floating-point instruction. NaN
maps as if it lay beyond the infinity of its sign.

int16 would take 65,535 thresholds: its kernel divides floats, zero points are 0, and NaN gives 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, Grain, KernelCall, Need, Operator, RowWindow
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.elementwise import ACTIVATIONS, same_region


@dataclass(frozen=True)
class QuantizeAttrs(Attrs):
    """`half_even`: ONNX rounds halves to even; LiteRT away from zero."""

    half_even: bool = False


def ordered(x: NDArray[np.float32]) -> NDArray[np.int32]:
    """Integers in the order of the floats (IEEE 754 total order)."""
    bits = np.ascontiguousarray(x).view(np.int32)
    return np.asarray(bits ^ ((bits >> 31) & 0x7FFFFFFF))


def from_ordered(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """The floats of `ordered` keys."""
    k = keys.astype(np.int32)
    return np.asarray((k ^ ((k >> 31) & 0x7FFFFFFF)).view(np.float32))


def direct(
    x: NDArray[np.float32], scale: float, zero_point: int, half_even: bool, dtype: DType = DType.INT8
) -> NDArray[np.int64]:
    """The formula in float32 arithmetic, for finite and infinite x (LiteRT ``AffineQuantize``; ONNX QuantizeLinear)."""
    with np.errstate(over="ignore"):
        ratio = x / np.float32(scale)
    limited = np.clip(ratio.astype(np.float64), -(2.0**17), 2.0**17)
    away = np.copysign(np.floor(np.abs(limited) + 0.5), limited)
    rounded = np.round(limited) if half_even else away
    return np.asarray(np.clip(rounded.astype(np.int64) + zero_point, *dtype.int_range))


def thresholds(scale: float, zero_point: int, half_even: bool) -> NDArray[np.int32]:
    """Ordered key of the least float32 that maps to at least -127, ..., 127: bisection over all floats at once."""
    low = np.full(255, int(ordered(np.array(-np.inf, dtype=np.float32)).item()), dtype=np.int64)
    high = np.full(255, int(ordered(np.array(np.inf, dtype=np.float32)).item()), dtype=np.int64)
    wanted = np.arange(-127, 128)
    while np.any(low < high):
        middle = (low + high) >> 1
        reached = direct(from_ordered(middle), scale, zero_point, half_even) >= wanted
        high = np.where(reached, middle, high)
        low = np.where(reached, low, middle + 1)
    return high.astype(np.int32)


def stored(x: NDArray[np.float32], scale: float, zero_point: int, half_even: bool) -> NDArray[np.int8]:
    """What the operator makes int8 of `x`."""
    keys = ordered(x.astype(np.float32))
    return (np.searchsorted(thresholds(scale, zero_point, half_even), keys, side="right") - 128).astype(np.int8)


class Quantize(Operator):
    kind = "quantize"
    attrs_class = QuantizeAttrs

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        return node.tensor(0).shape, node.out.dtype

    def unsupported(self, node: Node) -> str | None:
        x, quant, dtype = node.tensor(0), node.out.quant, node.out.dtype
        if x.dtype != DType.FLOAT32 or dtype not in ACTIVATIONS or quant is None:
            return f"quantisation {x.dtype.value} -> {dtype.value}: only float32 -> int8 or int16 has a kernel"
        if quant.per_channel:
            return "quantisation per channel"
        return "int16 with a zero point that is not 0" if dtype == DType.INT16 and quant.scalar()[1] else None

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return same_region(node, out)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        if node.out.dtype == DType.INT16:
            scale, _ = tensor_quant(node, node.out)
            finite = np.where(np.isnan(x), np.float32(0), x)
            return direct(finite, scale, 0, node.attrs.half_even, DType.INT16).astype(np.int16)
        return stored(x, *tensor_quant(node, node.out), node.attrs.half_even)

    def in_place(self, node: Node) -> tuple[int, ...]:
        """Only bytes may alias floats in C."""
        return (0,) if node.out.dtype == DType.INT8 else ()

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        attrs: Attrs = node.attrs
        return attrs

    def grain(self, node: Node) -> Grain:
        return Grain.FLAT

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        consts: tuple[tuple[str, int], ...] = (("elems", out.rows * out.cols * node.out.form.channels),)
        if node.out.dtype == DType.INT16:
            scale = ConstArray("scale", np.array([tensor_quant(node, node.out)[0]], dtype=np.float32))
            consts = (*consts, ("half_even", int(node.attrs.half_even)))
            return (KernelCall("tc_quantize_f32_s16", (RowWindow(0),), (scale,), consts),)
        arrays = (ConstArray("thresholds", thresholds(*tensor_quant(node, node.out), node.attrs.half_even)),)
        return (KernelCall("tc_quantize_f32_s8", (RowWindow(0),), arrays, consts),)
