"""depthwise_conv2d: input [1,H,W,C], weights [1,KH,KW,C*M]; output channel c*M+m reads input channel c alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops import dsp_convolution, mve_convolution
from tinycompile.ops.base import (
    DSP,
    GENERIC,
    MVE,
    ConstArray,
    KernelCall,
    Need,
    Operator,
    Variant,
    WeightAxes,
    pad_region,
)
from tinycompile.ops.conv2d import conv_consts
from tinycompile.ops.convolution import (
    bias_values,
    layer_unsupported,
    offset_weights,
    output_arrays,
    requantize_output,
    tensor_quant,
)
from tinycompile.ops.dsp_output import dsp_arrays
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.float_layers import Clamp, float_convolution, is_float, layer_arrays
from tinycompile.ops.geometry import Padding, Pair, row_windows, tile_padding, window_need, windowed_shape
from tinycompile.ops.mve_convolution import mve_arrays
from tinycompile.ops.packed_weights import kernel_for, packed, weight_bits


@dataclass(frozen=True)
class DepthwiseConv2dAttrs(Attrs):
    """`pad` is (top, bottom, left, right); `clamp` the activation's range in quantised output units, of floats in real
    ones."""

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pad: Padding = (0, 0, 0, 0)
    clamp: Clamp = None


IN_PLACE = Variant("in place")
IN_PLACE_DSP = Variant("in place, dsp", DSP.requires)
IN_PLACE_MVE = Variant("in place, mve", MVE.requires)
MAX_LATE_PIXELS = 16  # TC_DEPTHWISE_LATE of its kernel


class DepthwiseConv2d(Operator):
    kind = "depthwise_conv2d"
    attrs_class = DepthwiseConv2dAttrs
    weight_axes = WeightAxes(outputs=3, inputs=0)

    def _kernel(self, node: Node) -> Pair:
        return node.tensor(1).shape[1], node.tensor(1).shape[2]

    def _filters(self, node: Node) -> NDArray[np.int64]:
        """Weights less zero points, output channel first: (C*M, KH, KW)."""
        w = np.moveaxis(node.const(1)[0], -1, 0)
        return offset_weights(node, w, w.shape[0])

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, w, a = node.tensor(0), node.tensor(1), node.attrs
        if len(w.shape) != 4 or w.shape[0] != 1 or len(x.shape) != 4 or w.shape[3] % x.shape[3]:
            raise ShapeError(
                f"depthwise weights {list(w.shape)} do not fit input {list(x.shape)}",
                str(node.op.source),
                "the last weight dimension must be a multiple of the input channels",
            )
        return windowed_shape(node, self._kernel(node), a.stride, a.dilation, a.pad, w.shape[3]), x.dtype

    def unsupported(self, node: Node) -> str | None:
        if math.prod(self._kernel(node)) >= 1 << 16:
            return "a depthwise window of 65536 taps or more"
        if node.tensor(0).dtype == DType.INT16 and self._kernel(node)[1] >= 1 << 9:
            return "a depthwise window of 512 columns or more over int16"
        return layer_unsupported(node)

    def _arrays(self, node: Node, variant: Variant) -> tuple[ConstArray, ...] | None:
        """Arrays of the kernels for the DSP extension or MVE, None where they cannot run the node."""
        channels = node.tensor(0).form.channels
        one_each = node.out.form.channels == channels and node.attrs.dilation[1] == 1
        if node.out.dtype != DType.INT8 or weight_bits(node) != 8 or not one_each:
            return None
        if variant is MVE:
            return mve_arrays(node, self._filters(node))
        return None if channels % 4 else dsp_arrays(node, self._filters(node), folded=False)

    def variants(self, node: Node) -> tuple[Variant, ...]:
        return (*(v for v in (MVE, DSP) if self._arrays(node, v) is not None), GENERIC)

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
            filters = np.moveaxis(node.const(1)[0], -1, 0)[..., None]
            x = pad_region(inputs[0], need, 0)
            return float_convolution(node, out, x, filters, node.tensor(0).form.channels)
        _, zp_x = tensor_quant(node, node.tensor(0))
        filters = self._filters(node)
        channels, kh, kw = filters.shape
        x = pad_region(inputs[0], need, zp_x).astype(np.int64) - zp_x
        x = np.repeat(x, channels // x.shape[2], axis=2)
        acc = np.zeros((out.rows, out.cols, channels), dtype=np.int64)
        for ky in range(kh):
            for kx in range(kw):
                y0, x0 = ky * a.dilation[0], kx * a.dilation[1]
                tap = x[y0 : y0 + out.rows * a.stride[0] : a.stride[0], x0 : x0 + out.cols * a.stride[1] : a.stride[1]]
                acc += tap * filters[:, ky, kx]
        return requantize_output(node, acc + bias_values(node, channels))

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        pad = tile_padding(needs)
        return None if pad is None else replace(node.attrs, pad=pad)

    def macs(self, node: Node) -> int:
        kh, kw = self._kernel(node)
        return node.out.elems * kh * kw

    def over_window(self, node: Node) -> tuple[Variant, ...]:
        one_each = node.out.form.channels == node.tensor(0).form.channels
        if not one_each or node.attrs.pad[2] >= MAX_LATE_PIXELS:
            return ()
        if is_float(node):
            return (IN_PLACE,)
        filters = self._filters(node)
        if filters.min() < -128 or filters.max() > 127:
            return ()
        fits = mve_convolution.LANES * node.out.form.width <= mve_convolution.STACK_BYTES
        vector = (IN_PLACE_MVE,) if fits and self._arrays(node, MVE) is not None else ()
        late = dsp_convolution.blocks_are_late_enough(node, self._kernel(node)[1])
        pairs = (IN_PLACE_DSP,) if late and self._arrays(node, DSP) is not None else ()
        return (*vector, *pairs, IN_PLACE)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        kernel, in_channels, channels = self._kernel(node), node.tensor(0).form.channels, node.out.form.channels
        consts = dict(conv_consts(node, out, kernel, channels, in_channels))
        windows = row_windows(kernel, node.attrs.stride, node.attrs.dilation, node.attrs.pad)
        if variant in (MVE.name, IN_PLACE_MVE.name) and (vector := self._arrays(node, MVE)) is not None:
            return (mve_convolution.depthwise_call(node, out, vector, in_place=variant == IN_PLACE_MVE.name),)
        if variant in (DSP.name, IN_PLACE_DSP.name) and (pairs := self._arrays(node, DSP)) is not None:
            return (dsp_convolution.depthwise_call(node, out, pairs, in_place=variant == IN_PLACE_DSP.name),)
        if is_float(node):
            arrays, suffix = layer_arrays(node, node.const(1)[0]), "f32"
        else:
            arrays = output_arrays(self._filters(node), node)
            suffix = SUFFIX[node.out.dtype]
            if arrays[0].data.dtype == np.int16:
                # Weights with a zero point are rare: a grouped convolution of one channel each computes the same sums.
                return (KernelCall(kernel_for("tc_conv2d_s8", arrays[0]), windows, arrays, tuple(consts.items())),)
            # (KH, KW, C*M): channels run fastest
            arrays = packed(node, (ConstArray("weights", np.moveaxis(arrays[0].data, 0, -1)), *arrays[1:]))
        del consts["groups"]
        kernel_name = f"tc_depthwise_conv2d_{suffix}"
        if variant == IN_PLACE.name:
            kernel_name = f"tc_depthwise_conv2d_in_place_{suffix}"
            del consts["out_ch"]
        return (KernelCall(kernel_for(kernel_name, arrays[0]), windows, arrays, tuple(consts.items())),)
