"""Kernel, stride, dilation and padding attributes of ONNX's windowed operators, axis by axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.frontends.limits import MAX_DIM
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ops.geometry import output_size

Pair = tuple[int, int]
MAX_TAPS = 1 << 22


@dataclass(frozen=True)
class AxisWindow:
    """A window along one axis; `before`, `after`: the padding. `grown`: how much of `after` ceil_mode added."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    grown: int = 0

    def outputs(self, size: int) -> int:
        """Positions along an axis of `size`; 0 or less where the window does not fit."""
        return output_size(size, self.kernel, self.stride, self.dilation, self.before, self.after)

    def taps(self, size: int, where: str) -> NDArray[np.int64]:
        """(outputs, kernel): the index of each tap along an axis of `size`; it may lie in the padding. ShapeError when
        there are too many for any microcontroller."""
        outputs = max(self.outputs(size), 0)
        if outputs * self.kernel > MAX_TAPS:
            raise ShapeError(f"a window of {self.kernel} at {outputs} places", where, "use a smaller model")
        starts = np.arange(outputs) * self.stride - self.before
        return starts[:, None] + np.arange(self.kernel) * self.dilation


NO_WINDOW = AxisWindow(1)


@dataclass(frozen=True)
class Window:
    """`pad` is (top, bottom, left, right); `grown`: how much of it ceil_mode added below and on the right."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    pad: tuple[int, int, int, int]
    grown: Pair = (0, 0)


def of_map(h: AxisWindow, w: AxisWindow = NO_WINDOW) -> Window:
    """The window over a map, or over a sequence, which runs as a map of width 1."""
    return Window(
        (h.kernel, w.kernel),
        (h.stride, w.stride),
        (h.dilation, w.dilation),
        (h.before, h.after, w.before, w.after),
        (h.grown, w.grown),
    )


def window(n: SourceNode, size: Sequence[int], kernel: Sequence[int] | None = None) -> Window:
    """The window of node `n` over a map of `size` (H, W) or (T,). Raises ShapeError."""
    return of_map(*axis_windows(n, size, kernel))


def axis_windows(n: SourceNode, size: Sequence[int], kernel: Sequence[int] | None = None) -> list[AxisWindow]:
    """The window of node `n` along each axis of its input of `size`.

    Formulas: ONNX operator specification, Conv and MaxPool (auto_pad, ceil_mode). Raises ShapeError.
    """
    dims = len(size)
    if kernel is None:
        kernel = n.ints("kernel_shape", dims)
        if kernel is None:
            raise ShapeError("no kernel_shape", str(n), "export the model again")
    stride = n.ints("strides", dims) or (1,) * dims
    dilation = n.ints("dilations", dims) or (1,) * dims
    pads = n.ints("pads", 2 * dims) or (0,) * (2 * dims)
    numbers = (*kernel, *stride, *dilation)
    if min(numbers) < 1 or max(numbers) > MAX_DIM or min(pads) < 0 or max(pads) > MAX_DIM:
        raise ShapeError("kernel, strides, dilations or pads out of range", str(n), "check this node's attributes")
    auto_pad = n.text("auto_pad", "NOTSET")
    found = []
    for d in range(dims):
        reach = (kernel[d] - 1) * dilation[d] + 1
        before, after = pads[d], pads[d + dims]
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            total = max((-(-size[d] // stride[d]) - 1) * stride[d] + reach - size[d], 0)
            less, more = total // 2, total - total // 2
            before, after = (less, more) if auto_pad == "SAME_UPPER" else (more, less)
        elif auto_pad == "VALID":
            before = after = 0
        elif auto_pad not in ("NOTSET", ""):
            raise ShapeError("unknown auto_pad", str(n), "export the model again")
        grown = 0
        if n.integer("ceil_mode", 0):
            outputs = -(-(size[d] + before + after - reach) // stride[d]) + 1
            if (outputs - 1) * stride[d] >= size[d] + before:
                outputs -= 1
            grown = max((outputs - 1) * stride[d] + reach - (size[d] + before + after), 0)
        found.append(AxisWindow(kernel[d], stride[d], dilation[d], before, after + grown, grown))
    return found


@dataclass(frozen=True)
class TransposedAxis:
    """A transposed window along one axis: `out` outputs, `before` cut away in front of them."""

    out: int
    kernel: int
    stride: int
    dilation: int
    before: int


def transposed_windows(n: SourceNode, size: Sequence[int], kernel: Sequence[int]) -> list[TransposedAxis]:
    """The window of the ConvTranspose node `n` along each axis of its input of `size`.

    Formulas: ONNX operator specification, ConvTranspose. Raises ShapeError.
    """
    dims = len(size)
    stride = n.ints("strides", dims) or (1,) * dims
    dilation = n.ints("dilations", dims) or (1,) * dims
    pads = n.ints("pads", 2 * dims) or (0,) * (2 * dims)
    added = n.ints("output_padding", dims) or (0,) * dims
    wanted = n.ints("output_shape")
    numbers = (*kernel, *stride, *dilation)
    if min(numbers) < 1 or max(numbers) > MAX_DIM or min(*pads, *added) < 0 or max(*pads, *added) > MAX_DIM:
        raise ShapeError("kernel, strides, dilations or pads out of range", str(n), "check this node's attributes")
    auto_pad = n.text("auto_pad", "NOTSET")
    if auto_pad not in ("NOTSET", "", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise ShapeError("unknown auto_pad", str(n), "export the model again")
    found = []
    for d in range(dims):
        full = (size[d] - 1) * stride[d] + (kernel[d] - 1) * dilation[d] + 1 + added[d]
        before, out = (pads[d], full - pads[d] - pads[d + dims]) if auto_pad in ("NOTSET", "") else (0, full)
        if wanted is not None or auto_pad.startswith("SAME"):
            out = wanted[len(wanted) - dims + d] if wanted is not None and len(wanted) >= dims else size[d] * stride[d]
            total = max(full - out, 0)
            before = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
        if not 1 <= out <= MAX_DIM:
            raise ShapeError(f"an output of size {out}", str(n), "check this node's attributes")
        found.append(TransposedAxis(out, kernel[d], stride[d], dilation[d], before))
    return found
