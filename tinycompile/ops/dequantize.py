"""dequantize: int8 to float32, ``scale * (q - zero_point)``: one correctly rounded product."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinycompile.ir.graph import Array, Attrs, Node, Tensor
from tinycompile.ir.quant import offset_values
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, Grain, KernelCall, Need, Operator, RowWindow
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.elementwise import same_region


def real_values(tensor: Tensor, stored: Array | None = None) -> Array:
    """float32 values that the integers of a quantised tensor stand for, each along its own channel: `stored`, or those
    of a constant."""
    data = tensor.data if stored is None else stored
    assert data is not None
    assert tensor.quant is not None
    along = [1] * len(tensor.shape)
    if tensor.quant.axis is not None:
        along[tensor.quant.axis] = -1
    scale = np.array(tensor.quant.scale, dtype=np.float32).reshape(along)
    return np.asarray(offset_values(data, tensor.quant).astype(np.float32) * scale)


class Dequantize(Operator):
    kind = "dequantize"

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        return node.tensor(0).shape, DType.FLOAT32

    def unsupported(self, node: Node) -> str | None:
        x = node.tensor(0)
        if x.dtype != DType.INT8:
            return f"dequantisation of {x.dtype.value}: only int8 has a kernel"
        if x.is_const:
            return "a constant that is dequantised at run time"
        return "dequantisation per channel" if x.quant is None or x.quant.per_channel else None

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return same_region(node, out)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        scale, zero_point = tensor_quant(node, node.tensor(0))
        return np.asarray(np.float32(scale) * (x.astype(np.int32) - zero_point).astype(np.float32))

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        attrs: Attrs = node.attrs
        return attrs

    def grain(self, node: Node) -> Grain:
        return Grain.FLAT

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        scale, zero_point = tensor_quant(node, node.tensor(0))
        arrays = (ConstArray("scale", np.array([scale], dtype=np.float32)),)
        consts = (("elems", out.rows * out.cols * node.out.form.channels), ("zero_point", zero_point))
        return (KernelCall("tc_dequantize_s8_f32", (RowWindow(0),), arrays, consts),)
