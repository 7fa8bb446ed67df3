"""grid_sample: float32 maps [N,C,D,H,W] at run-time points [N,P,dims] -> [N,C,P]. Points are (x, y, z), in [-1, 1].

Formulas: ONNX operator specification, GridSample. All arithmetic is in float32, and in the kernel's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Grain, KernelCall, Need, Operator
from tinycompile.ops.float_layers import F32, float_unsupported
from tinycompile.ops.operands import whole_needs, whole_operands, whole_values

MODES = {"nearest": 1, "linear": 2, "cubic": 4}  # taps along each axis
PADDINGS = ("zeros", "border", "reflection")
FAR = np.float32(1 << 22)  # no map is that large; positions beyond it are taken as this
HALF, ONE, TWO = np.float32(0.5), np.float32(1), np.float32(2)


@dataclass(frozen=True)
class GridSampleAttrs(Attrs):
    """ONNX's mode and padding_mode."""

    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False


def _reflected(x: F32, low: np.float32, high: np.float32) -> F32:
    """`x` mirrored at the borders until it lies between them."""
    span = high - low
    if span <= 0:
        return np.full_like(x, low)
    over = np.where(x < low, low - x, x - high)
    times = np.trunc(over / span)
    rest = over - times * span
    even = np.fmod(times, TWO) == 0
    inner = np.where((x < low) == even, low + rest, high - rest)
    return np.where((x < low) | (x > high), inner, x).astype(np.float32)


def _weights(mode: str, t: F32) -> list[F32]:
    """Of the taps around a position `t` behind the first of the two in the middle. Cubic: Keys's kernel, a = -0.75."""
    if mode == "nearest":
        return [np.ones_like(t)]
    if mode == "linear":
        return [ONE - t, t]
    a = np.float32(-0.75)

    def outer(v: F32) -> F32:
        return np.asarray(((a * v - np.float32(5) * a) * v + np.float32(8) * a) * v - np.float32(4) * a)

    def inner(v: F32) -> F32:
        return np.asarray(((a + TWO) * v - (a + np.float32(3))) * v * v + ONE)

    return [outer(t + ONE), inner(t), inner(ONE - t), outer(TWO - t)]


class GridSample(Operator):
    kind = "grid_sample"
    attrs_class = GridSampleAttrs

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, points = node.tensor(0).shape, node.tensor(1).shape
        if len(x) != 5 or len(points) != 3 or points[0] != x[0] or not 1 <= points[2] <= 3:
            raise ShapeError(f"points {list(points)} of maps {list(x)}", str(node.op.source), "check the grid's shape")
        return (*x[:2], points[1]), node.tensor(0).dtype

    def unsupported(self, node: Node) -> str | None:
        return float_unsupported(node)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return whole_needs(node)

    def _axis(self, node: Node, at: F32, size: int) -> tuple[list[NDArray[np.int64]], list[F32]]:
        """Index of each tap along an axis of `size`, -1 where it is outside, and its weight."""
        a, length = node.attrs, np.float32(size)
        x = (at + ONE) * HALF * (length - ONE) if a.align_corners else ((at + ONE) * length - ONE) * HALF
        x = np.where(x != x, -ONE, np.clip(x, -FAR, FAR))
        x = np.rint(x) if a.mode == "nearest" else x
        low, high = (np.float32(0), length - ONE) if a.align_corners else (-HALF, length - HALF)
        if a.padding == "border":
            x = np.where((x < low) | (x > high), np.clip(x, np.float32(0), length - ONE), x)
        elif a.padding == "reflection":
            x = _reflected(x, low, high)
        first = np.trunc(x) if a.mode == "nearest" else np.floor(x)
        taps = MODES[a.mode]
        indices = []
        for k in range(taps):
            place = first + np.float32(k - (taps == 4))
            if a.padding == "reflection":
                place = np.trunc(_reflected(place, low, high))
            index = place.astype(np.int64)
            inside = (index >= 0) & (index < size)
            indices.append(np.where(inside, index, -1 if a.padding == "zeros" else np.clip(index, 0, size - 1)))
        return indices, _weights(a.mode, (x - first).astype(np.float32))

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x, points = whole_values(node, inputs)
        dims, total = points.shape[2], np.zeros(node.out.shape, dtype=np.float32)
        one = [np.zeros(points.shape[:2], dtype=np.int64)], [np.ones(points.shape[:2], dtype=np.float32)]
        with np.errstate(all="ignore"):
            axes = [self._axis(node, points[:, :, 2 - k], x.shape[2 + k]) if 2 - k < dims else one for k in range(3)]
            for z, wz in zip(*axes[0], strict=True):
                plane = np.zeros_like(total)
                for y, wy in zip(*axes[1], strict=True):
                    line = np.zeros_like(total)
                    for c, wc in zip(*axes[2], strict=True):
                        outside = (z < 0) | (y < 0) | (c < 0)
                        samples = np.arange(len(x))[:, None]
                        value = x[samples, :, z, y, c].transpose(0, 2, 1)
                        line += np.where(outside[:, None], np.float32(0), value) * wc[:, None]
                    plane += line * wy[:, None]
                total += plane * wz[:, None]
        form = node.out.form
        return total.reshape(form.rows, form.width, form.channels)[out.y0 : out.y1, out.x0 : out.x1]

    def grain(self, node: Node) -> Grain:
        return Grain.WHOLE

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        a, shape, points = node.attrs, node.tensor(0).shape, node.tensor(1).shape
        operands = whole_operands(node, 2)
        names = ("samples", "channels", "depth", "height", "width")
        consts = (
            *zip(names, shape, strict=True),
            ("points", points[1]),
            ("dims", points[2]),
            ("taps", MODES[a.mode]),
            ("padding", PADDINGS.index(a.padding)),
            ("align_corners", int(a.align_corners)),
        )
        kernel = "tc_grid_sample_f32"
        return (KernelCall(kernel, operands.windows, operands.arrays, consts, arguments=operands.arguments),)
