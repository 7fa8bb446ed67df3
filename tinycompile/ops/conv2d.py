"""conv2d: 2-D convolution of a map; input [1,H,W,Ci], weights OHWI [Co,KH,KW,Ci/groups], bias [Co] or absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops import dsp_convolution, mve_convolution
from tinycompile.ops.base import (
    DSP,
    GENERIC,
    MVE,
    ConstArray,
    Grain,
    KernelCall,
    Need,
    Operator,
    Variant,
    WeightAxes,
    pad_region,
)
from tinycompile.ops.convolution import (
    bias_values,
    layer_unsupported,
    offset_weights,
    output_arrays,
    output_consts,
    requantize_output,
    tensor_quant,
    zero_point_consts,
)
from tinycompile.ops.dsp_output import dsp_arrays
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.float_layers import Clamp, clamp_consts, float_convolution, is_float, layer_arrays
from tinycompile.ops.geometry import Padding, Pair, row_windows, tile_padding, window_need, windowed_shape
from tinycompile.ops.mve_convolution import mve_arrays
from tinycompile.ops.packed_weights import kernel_for, packed, weight_bits


@dataclass(frozen=True)
class Conv2dAttrs(Attrs):
    """`pad` is (top, bottom, left, right); `clamp` the activation's range in quantised output units, of floats in real
    ones."""

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pad: Padding = (0, 0, 0, 0)
    groups: int = 1
    clamp: Clamp = None


class Conv2d(Operator):
    kind = "conv2d"
    attrs_class = Conv2dAttrs
    weight_axes = WeightAxes(outputs=0, inputs=3)

    def _kernel(self, node: Node) -> Pair:
        return node.tensor(1).shape[1], node.tensor(1).shape[2]

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, w, a = node.tensor(0), node.tensor(1), node.attrs
        if len(w.shape) != 4:
            raise ShapeError("weights are not OHWI", str(node.op.source), "report this bug")
        out = windowed_shape(node, self._kernel(node), a.stride, a.dilation, a.pad, w.shape[0])
        if a.groups < 1 or w.shape[3] * a.groups != x.shape[3] or w.shape[0] % a.groups:
            raise ShapeError(
                f"{x.shape[3]} input channels do not fit {w.shape[0]} filters of {w.shape[3]} x {a.groups} groups",
                str(node.op.source),
                "check the weights' shape and the group attribute of this node",
            )
        return out, x.dtype

    def unsupported(self, node: Node) -> str | None:
        return layer_unsupported(node)

    def _arrays(self, node: Node, variant: Variant) -> tuple[ConstArray, ...] | None:
        """Arrays of the kernels for the DSP extension or MVE, None where they cannot run the node."""
        a, w = node.attrs, node.const(1)
        if node.out.dtype != DType.INT8 or weight_bits(node) != 8 or a.groups != 1 or a.dilation[1] != 1:
            return None
        weights = offset_weights(node, w, w.shape[0])
        return mve_arrays(node, weights) if variant is MVE else dsp_arrays(node, weights, folded=True)

    def variants(self, node: Node) -> tuple[Variant, ...]:
        return (*(v for v in (MVE, DSP) if self._arrays(node, v) is not None), GENERIC)

    def grain(self, node: Node) -> Grain:
        """A pointwise one makes any run of adjacent rows at once."""
        a = node.attrs
        pointwise = self._kernel(node) == (1, 1) and a.stride == (1, 1) and a.pad == (0, 0, 0, 0)
        return Grain.FLAT if pointwise else Grain.ROW

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        a = node.attrs
        need = window_need(node, out, self._kernel(node), a.stride, a.dilation, a.pad)
        return (need, *(None for _ in node.inputs[1:]))

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        a = node.attrs
        need = self.in_region(node, out)[0]
        assert need is not None
        assert inputs[0] is not None
        if is_float(node):
            return float_convolution(node, out, pad_region(inputs[0], need, 0), node.const(1), a.groups)
        _, zp_x = tensor_quant(node, node.tensor(0))
        w = node.const(1)
        co, kh, kw, ci = w.shape
        # Products of integer sums stay far below 2^53, so double-precision matrix products are exact.
        weights = offset_weights(node, w, co).astype(np.float64)
        x = pad_region(inputs[0], need, zp_x).astype(np.float64) - zp_x
        acc = np.zeros((out.rows, out.cols, co))
        per_group = co // a.groups
        for ky in range(kh):
            for kx in range(kw):
                y0, x0 = ky * a.dilation[0], kx * a.dilation[1]
                tap = x[y0 : y0 + out.rows * a.stride[0] : a.stride[0], x0 : x0 + out.cols * a.stride[1] : a.stride[1]]
                for g in range(a.groups):
                    filters = slice(g * per_group, (g + 1) * per_group)
                    acc[:, :, filters] += tap[:, :, g * ci : (g + 1) * ci] @ weights[filters, ky, kx].T
        total = acc.astype(np.int64) + bias_values(node, co)
        return requantize_output(node, total)

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        pad = tile_padding(needs)
        return None if pad is None else replace(node.attrs, pad=pad)

    def macs(self, node: Node) -> int:
        _, kh, kw, ci = node.tensor(1).shape
        return node.out.elems * kh * kw * ci

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        w = node.const(1)
        co = w.shape[0]
        merged = out.rows if self.grain(node) is Grain.FLAT else 1
        consts = conv_consts(node, out, self._kernel(node), co, node.attrs.groups, merged)
        windows = row_windows(self._kernel(node), node.attrs.stride, node.attrs.dilation, node.attrs.pad)
        if is_float(node):
            return (KernelCall("tc_conv2d_f32", windows, layer_arrays(node, w), consts),)
        if variant == MVE.name and (vector := self._arrays(node, MVE)) is not None:
            return (mve_convolution.conv2d_call(node, out, vector, merged),)
        if variant == DSP.name and (pairs := self._arrays(node, DSP)) is not None:
            return (dsp_convolution.conv2d_call(node, out, pairs, merged),)
        arrays = packed(node, output_arrays(offset_weights(node, w, co), node), row_dims=2)
        kernel = kernel_for(f"tc_conv2d_{SUFFIX[node.out.dtype]}", arrays[0])
        return (KernelCall(kernel, windows, arrays, consts),)


def conv_consts(
    node: Node, out: Region, kernel: Pair, channels: int, groups: int, merged: int = 1
) -> tuple[tuple[str, int], ...]:
    """Compile-time parameters of ``tc_conv2d_s8`` and its forms for other weights, of ``tc_conv2d_s16`` or
    ``tc_conv2d_f32``, for one row of `out`, or `merged` of them as one."""
    a = node.attrs
    need = window_need(node, out, kernel, a.stride, a.dilation, a.pad)
    geometry = (
        ("in_w", merged * need.region.cols),
        ("in_ch", node.tensor(0).form.channels),
        ("out_w", merged * out.cols),
        ("out_ch", channels),
        ("kernel_h", kernel[0]),
        ("kernel_w", kernel[1]),
        ("stride_w", a.stride[1]),
        ("dilation_w", a.dilation[1]),
        ("pad_left", need.left),
        ("groups", groups),
    )
    if is_float(node):
        return (*geometry, *clamp_consts(a.clamp))
    zero_point = zero_point_consts(node.out.dtype, ("in_zero_point", tensor_quant(node, node.tensor(0))[1]))
    return (*geometry, *zero_point, *output_consts(node))
