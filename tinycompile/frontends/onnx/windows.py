"""Kernel, stride, dilation and padding attributes of ONNX's windowed operators, for 1-D and 2-D maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinycompile.errors import ShapeError
from tinycompile.frontends.limits import MAX_DIM
from tinycompile.frontends.onnx.source import SourceNode

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """`pad` is (top, bottom, left, right); `grown`: how much of it ceil_mode added below and on the right."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    pad: tuple[int, int, int, int]
    grown: Pair = (0, 0)


def window(n: SourceNode, size: Sequence[int], kernel: Sequence[int] | None = None) -> Window:
    """The window of node `n` over a map of `size` (H, W) or (T,), which runs as a map of width 1.

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
    amounts: list[Pair] = []
    grown = [0, 0]
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
        if n.integer("ceil_mode", 0):
            outputs = -(-(size[d] + before + after - reach) // stride[d]) + 1
            if (outputs - 1) * stride[d] >= size[d] + before:
                outputs -= 1
            extra = max((outputs - 1) * stride[d] + reach - (size[d] + before + after), 0)
            grown[d] = extra
            after += extra
        amounts.append((before, after))
    if dims == 1:
        return Window((kernel[0], 1), (stride[0], 1), (dilation[0], 1), (*amounts[0], 0, 0), (grown[0], 0))
    pads = (*amounts[0], *amounts[1])
    return Window(
        (kernel[0], kernel[1]), (stride[0], stride[1]), (dilation[0], dilation[1]), pads, (grown[0], grown[1])
    )


@dataclass(frozen=True)
class TransposedWindow:
    """`size`: the output's (H, W); `pad`: what is cut away above and on the left of it."""

    size: Pair
    stride: Pair
    dilation: Pair
    pad: Pair


def transposed_window(n: SourceNode, size: Sequence[int], kernel: Sequence[int]) -> TransposedWindow:
    """The window of the ConvTranspose node `n` over a map of `size` (H, W) or (T,), which runs as a map of width 1.

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
    sizes, befores = [], []
    for d in range(dims):
        full = (size[d] - 1) * stride[d] + (kernel[d] - 1) * dilation[d] + 1 + added[d]
        before, out = (pads[d], full - pads[d] - pads[d + dims]) if auto_pad in ("NOTSET", "") else (0, full)
        if wanted is not None or auto_pad.startswith("SAME"):
            out = wanted[len(wanted) - dims + d] if wanted is not None and len(wanted) >= dims else size[d] * stride[d]
            total = max(full - out, 0)
            before = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
        if not 1 <= out <= MAX_DIM:
            raise ShapeError(f"an output of size {out}", str(n), "check this node's attributes")
        sizes.append(out)
        befores.append(before)
    if dims == 1:
        return TransposedWindow((sizes[0], 1), (stride[0], 1), (dilation[0], 1), (befores[0], 0))
    return TransposedWindow(
        (sizes[0], sizes[1]), (stride[0], stride[1]), (dilation[0], dilation[1]), (befores[0], befores[1])
    )
