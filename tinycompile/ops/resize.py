"""Coordinates of resize operators: LiteRT's conventions and ONNX's, as tables over the output's rows and columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Operator
from tinycompile.ops.elementwise import ACTIVATIONS, integer_unsupported
from tinycompile.ops.float_layers import float_unsupported, is_float


@dataclass(frozen=True)
class ResizeAttrs(Attrs):
    """`mode`: "litert", or ONNX's coordinate_transformation_mode ("half_pixel", "asymmetric", "align_corners",
    "pytorch_half_pixel"), then with `nearest_mode` and the real `scales` (H, W) where the file gives them."""

    size: tuple[int, int] = (1, 1)
    align_corners: bool = False
    half_pixel: bool = False
    mode: str = "litert"
    nearest_mode: str = "round_prefer_floor"
    scales: tuple[float, float] | None = None


class Resize(Operator):
    attrs_class = ResizeAttrs

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x = node.tensor(0)
        if len(x.shape) != 4 or x.shape[0] != 1 or min(node.attrs.size) < 1:
            raise ShapeError(
                f"{self.kind} of a tensor of shape {list(x.shape)} to {list(node.attrs.size)}",
                str(node.op.source),
                "resize needs one NHWC map and a positive size",
            )
        return (1, *node.attrs.size, x.shape[3]), x.dtype

    def unsupported(self, node: Node) -> str | None:
        if node.tensor(0).quant != node.out.quant:
            return "resize that changes the quantisation parameters"
        return float_unsupported(node) if is_float(node) else integer_unsupported(node, ACTIVATIONS)


def onnx_coordinate(out: int, attrs: ResizeAttrs, axis: int, in_size: int) -> float:
    """The real input coordinate of output index `out` (ONNX Resize, coordinate_transformation_mode)."""
    out_size = attrs.size[axis]
    scale = attrs.scales[axis] if attrs.scales is not None else out_size / in_size
    if attrs.mode == "align_corners":
        return out * (in_size - 1) / (out_size - 1) if out_size > 1 else 0.0
    if attrs.mode == "asymmetric":
        return out / scale
    if attrs.mode == "pytorch_half_pixel" and out_size == 1:
        return 0.0
    return (out + 0.5) / scale - 0.5


def columns_given(node: Node, out: Region, columns: Sequence[int]) -> tuple[int, int]:
    """First and end of the input's columns that a kernel is given where it reads some: whole rows where it makes whole
    rows, else no more than it reads."""
    if out.cols == node.out.form.width:
        return 0, node.tensor(0).form.width
    return min(columns), max(columns) + 1


def nearest_index(out: int, attrs: ResizeAttrs, axis: int, in_size: int) -> int:
    """Input index that output index `out` copies."""
    out_size = attrs.size[axis]
    if attrs.mode != "litert":
        x = onnx_coordinate(out, attrs, axis, in_size)
        rounding = {
            "floor": math.floor,
            "ceil": math.ceil,
            "round_prefer_floor": lambda v: math.ceil(v - 0.5),
            "round_prefer_ceil": lambda v: math.floor(v + 0.5),
        }[attrs.nearest_mode]
        return min(max(int(rounding(x)), 0), in_size - 1)
    # reference_ops::ResizeNearestNeighbor, in float32 there; sizes are small enough for doubles to agree.
    if attrs.align_corners and out_size > 1:
        return min(math.floor(out * ((in_size - 1) / (out_size - 1)) + 0.5), in_size - 1)
    position = (out + 0.5 if attrs.half_pixel else out) * (in_size / out_size)
    return max(min(math.floor(position), in_size - 1), 0)


def bilinear_taps(out: int, attrs: ResizeAttrs, axis: int, in_size: int) -> tuple[int, int, int]:
    """(first index, second index, weight of the second in 1/1024) for output index `out`.

    LiteRT ``ComputeInterpolationValuesInteger``; ONNX coordinates are rounded to 1/1024.
    """
    out_size = attrs.size[axis]
    if attrs.mode == "litert":
        scale = ((1 << 10) * in_size + out_size // 2) // out_size
        if attrs.align_corners and out_size > 1:
            scale = ((1 << 10) * (in_size - 1) + (out_size - 1) // 2) // (out_size - 1)
        value = out * scale + (scale // 2 - (1 << 9) if attrs.half_pixel else 0)
        first = max(int(value / 1024), 0)  # truncation towards zero, as C divides
        second = min(int((value + 1023) / 1024), in_size - 1)
        return min(first, in_size - 1), max(second, 0), value - 1024 * first
    value = round(min(max(onnx_coordinate(out, attrs, axis, in_size), 0.0), in_size - 1.0) * 1024)
    first = value // 1024
    return first, min(first + 1, in_size - 1), value - 1024 * first


def linear_taps(out: int, attrs: ResizeAttrs, axis: int, in_size: int) -> tuple[int, int, float]:
    """(first index, second index, weight of the second) for output index `out`, of floats (LiteRT
    ``ComputeInterpolationValues``, ONNX Resize)."""
    out_size = attrs.size[axis]
    if attrs.mode != "litert":
        value = onnx_coordinate(out, attrs, axis, in_size)
    elif attrs.align_corners and out_size > 1:
        value = out * ((in_size - 1) / (out_size - 1))
    else:
        value = (out + 0.5) * (in_size / out_size) - 0.5 if attrs.half_pixel else out * (in_size / out_size)
    value = min(max(value, 0.0), in_size - 1.0)
    first = math.floor(value)
    return first, min(first + 1, in_size - 1), value - first
