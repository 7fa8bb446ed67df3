"""fully_connected: input [...,K], weights [N,K], bias [N] or absent; out [prod(...),N], or [...,N] with keep_dims.

Unlike convolutions, LiteRT requantises it in one rounding (ops/single_rounding.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import (
    DSP,
    GENERIC,
    MVE,
    ConstArray,
    Grain,
    KernelCall,
    Need,
    Operator,
    RowWindow,
    Variant,
    WeightAxes,
)
from tinycompile.ops.convolution import (
    bias_values,
    layer_unsupported,
    offset_weights,
    output_consts,
    sum_arrays,
    tensor_quant,
    weight_quant,
    wide_sums,
)
from tinycompile.ops.dsp_output import dsp_nearest_arrays
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.float_layers import (
    Clamp,
    clamp_consts,
    clamped,
    float_bias,
    float_products,
    is_float,
    layer_arrays,
)
from tinycompile.ops.mve_convolution import dot_order
from tinycompile.ops.packed_weights import kernel_for, packed, weight_bits
from tinycompile.ops.single_rounding import nearest_arrays, nearest_multipliers, requantize_nearest


@dataclass(frozen=True)
class FullyConnectedAttrs(Attrs):
    keep_dims: bool = False
    clamp: Clamp = None


class FullyConnected(Operator):
    kind = "fully_connected"
    attrs_class = FullyConnectedAttrs
    weight_axes = WeightAxes(outputs=0, inputs=1)

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, w = node.tensor(0), node.tensor(1)
        if len(w.shape) != 2 or not x.shape or x.shape[-1] != w.shape[1]:
            raise ShapeError(
                f"weights {list(w.shape)} do not fit input {list(x.shape)}",
                str(node.op.source),
                "weights are [outputs, inputs] and the input's last dimension is its number of inputs",
            )
        lead = x.shape[:-1] if node.attrs.keep_dims else (math.prod(x.shape[:-1]),)
        return (*lead, w.shape[0]), x.dtype

    def unsupported(self, node: Node) -> str | None:
        return layer_unsupported(node)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        x, y = node.tensor(0).form, node.out.form
        if (x.rows, x.width) == (y.rows, y.width):
            need = Need(out)
        else:  # same pixels in the same order, other row lengths: whole rows of the input
            first, last = out.y0 * y.width + out.x0, (out.y1 - 1) * y.width + out.x1
            need = Need(Region(first // x.width, -(-last // x.width), 0, x.width))
        return (need, *(None for _ in node.inputs[1:]))

    def _multipliers(self, node: Node) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        scales, _ = weight_quant(node, node.tensor(1).shape[0])
        s_x, _ = tensor_quant(node, node.tensor(0))
        s_y, _ = tensor_quant(node, node.out)
        return nearest_multipliers([s_x * s_w / s_y for s_w in scales], node.out.dtype)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        n, k = node.tensor(1).shape
        pixels = x.reshape(-1, k)
        if pixels.shape[0] != out.rows * out.cols:
            y, form = node.out.form, node.tensor(0).form
            start = out.y0 * y.width + out.x0 - (out.y0 * y.width + out.x0) // form.width * form.width
            pixels = pixels[start : start + out.rows * out.cols]
        if is_float(node):
            values = clamped(float_products(pixels, node.const(1), float_bias(node, n)), node.attrs.clamp)
            return values.reshape(out.rows, out.cols, n)
        _, zp_x = tensor_quant(node, node.tensor(0))
        _, zp_y = tensor_quant(node, node.out)
        weights = offset_weights(node, node.const(1), n).astype(np.float64)
        acc = ((pixels.astype(np.float64) - zp_x) @ weights.T).astype(np.int64) + bias_values(node, n)
        if node.out.dtype == DType.INT16 and not wide_sums(node):
            acc = acc.astype(np.int32).astype(np.int64)
        rounded = requantize_nearest(acc, self._multipliers(node), zp_y, node.attrs.clamp, node.out.dtype)
        return rounded.reshape(out.rows, out.cols, n)

    def grain(self, node: Node) -> Grain:
        return Grain.FLAT if node.tensor(0).form.width == node.out.form.width else Grain.WHOLE

    def macs(self, node: Node) -> int:
        return node.out.elems * node.tensor(1).shape[1]

    def _special(self, node: Node) -> tuple[ConstArray, ...] | None:
        """Arrays of the kernels for the DSP extension and MVE, None where it cannot run the node."""
        if node.out.dtype != DType.INT8 or weight_bits(node) != 8:
            return None
        weights = offset_weights(node, node.const(1), node.tensor(1).shape[0])
        return dsp_nearest_arrays(node, weights, self._multipliers(node))

    def variants(self, node: Node) -> tuple[Variant, ...]:
        return (GENERIC,) if self._special(node) is None else (MVE, DSP, GENERIC)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        n, k = node.tensor(1).shape
        window = RowWindow(0, whole=self.grain(node) is Grain.WHOLE)
        sizes = (("pixels", out.rows * out.cols), ("in_ch", k), ("out_ch", n))
        if is_float(node):
            floats = (*sizes, *clamp_consts(node.attrs.clamp))
            return (KernelCall("tc_fully_connected_f32", (window,), layer_arrays(node, node.const(1)), floats),)
        consts = (*sizes, *output_consts(node))
        special = self._special(node) if variant != GENERIC.name else None
        if special is not None:
            if variant == MVE.name:
                special = (ConstArray("weights", dot_order(special[0].data)), *special[1:])
            return (KernelCall(f"tc_fully_connected_s8_{variant}", (window,), special, consts),)
        sums = sum_arrays(offset_weights(node, node.const(1), n), node)
        arrays = packed(node, (*sums, *nearest_arrays(self._multipliers(node), node.out.dtype)))
        kernel = kernel_for(f"tc_fully_connected_{SUFFIX[node.out.dtype]}", arrays[0])
        return (KernelCall(kernel, (window,), arrays, consts),)
