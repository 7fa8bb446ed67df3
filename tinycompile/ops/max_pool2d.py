"""max_pool2d: the largest value of each window, per channel; padding never wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import KernelCall, pad_region
from tinycompile.ops.convolution import clamp_range
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.float_layers import clamp_array, clamp_consts, clamped, is_float, taps
from tinycompile.ops.geometry import row_windows
from tinycompile.ops.pooling import Pool, PoolAttrs


@dataclass(frozen=True)
class MaxPool2dAttrs(PoolAttrs):
    """As those of all pooling."""


class MaxPool2d(Pool):
    kind = "max_pool2d"
    attrs_class = MaxPool2dAttrs
    scale_free = True

    def unsupported(self, node: Node) -> str | None:
        reason = super().unsupported(node)
        if reason is None and node.tensor(0).quant != node.out.quant:
            return "maximum pooling with other quantisation parameters on its output than on its input"
        return reason

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        a = node.attrs
        need = self.in_region(node, out)[0]
        assert need is not None
        assert inputs[0] is not None
        least = -np.inf if is_float(node) else node.out.dtype.int_range[0]
        x = pad_region(inputs[0], need, least)
        result = np.full((out.rows, out.cols, x.shape[2]), least, dtype=x.dtype)
        for ky in range(a.kernel[0]):
            for kx in range(a.kernel[1]):
                tap = taps(x, out, ky, kx, node)
                result = np.where((tap <= result) | (result != result), result, tap)  # a NaN wins
        if is_float(node):
            return clamped(result, a.clamp)
        return np.asarray(np.clip(result, *clamp_range(a.clamp, node.out.dtype)).astype(result.dtype))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        a = node.attrs
        windows = row_windows(a.kernel, a.stride, a.dilation, a.pad)
        consts = (*self.window_consts(node, out), ("dilation_w", a.dilation[1]))
        if is_float(node):
            consts = (*consts, *clamp_consts(a.clamp))
            return (KernelCall("tc_max_pool2d_f32", windows, (clamp_array(a.clamp),), consts),)
        lo, hi = clamp_range(a.clamp, node.out.dtype)
        return (KernelCall(f"tc_max_pool2d_{SUFFIX[node.out.dtype]}", windows, (), (*consts, ("lo", lo), ("hi", hi))),)
