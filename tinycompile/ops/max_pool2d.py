"""max_pool2d: the largest value of each window, per channel; padding never wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import KernelCall, pad_region
from tinycompile.ops.convolution import clamp_range
from tinycompile.ops.geometry import Pair, row_windows
from tinycompile.ops.pooling import Pool, PoolAttrs


@dataclass(frozen=True)
class MaxPool2dAttrs(PoolAttrs):
    dilation: Pair = (1, 1)


class MaxPool2d(Pool):
    kind = "max_pool2d"
    attrs_class = MaxPool2dAttrs
    scale_free = True

    def dilation(self, node: Node) -> Pair:
        pair: Pair = node.attrs.dilation
        return pair

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
        x = pad_region(inputs[0], need, -128)
        result = np.full((out.rows, out.cols, x.shape[2]), -128, dtype=np.int8)
        for ky in range(a.kernel[0]):
            for kx in range(a.kernel[1]):
                y0, x0 = ky * a.dilation[0], kx * a.dilation[1]
                tap = x[y0 : y0 + out.rows * a.stride[0] : a.stride[0], x0 : x0 + out.cols * a.stride[1] : a.stride[1]]
                result = np.maximum(result, tap)
        return np.asarray(np.clip(result, *clamp_range(a.clamp)).astype(np.int8))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        a = node.attrs
        lo, hi = clamp_range(a.clamp)
        consts = (*self.window_consts(node, out), ("dilation_w", a.dilation[1]), ("lo", lo), ("hi", hi))
        return (KernelCall("tc_max_pool2d_s8", row_windows(a.kernel, a.stride, a.dilation, a.pad), (), consts),)
