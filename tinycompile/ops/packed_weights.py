"""Weights of 4 bits as kernels read them: two to a byte, in rows that a kernel reads from one end to the other.

A row is cut into blocks of 8 weights, the last one shorter. In a block of m weights byte k holds weight k in its low
half and weight k + ceil(m / 2) in its high half (``runtime_c/include/tc_weights_s4.h`` says why).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.quant import NARROW_BITS
from tinycompile.ops.base import ConstArray

_BLOCK = 8


def packed_rows(weights: Array) -> NDArray[np.int8]:
    """Weights (..., n) in [-8, 7] as bytes (..., ceil(n / 2))."""
    halves = (weights.astype(np.int64) & 15).astype(np.uint8)
    parts = []
    for first in range(0, weights.shape[-1], _BLOCK):
        block = halves[..., first : first + _BLOCK]
        count = -(-block.shape[-1] // 2)
        low, high = block[..., :count].copy(), block[..., count:]
        low[..., : high.shape[-1]] |= high << 4
        parts.append(low)
    return np.ascontiguousarray(np.concatenate(parts, axis=-1)).view(np.int8)


def weight_bits(node: Node) -> int:
    """Of a layer's weights (input 1) as the model gives them, 8 or 4."""
    quant = node.tensor(1).quant
    return 8 if quant is None or quant.bits is None else quant.bits


def in_bytes(node: Node) -> Node:
    """The layer with a byte for each of its weights."""
    quant = node.tensor(1).quant
    weights = replace(node.tensor(1), quant=None if quant is None else replace(quant, bits=None))
    return replace(node, inputs=(node.inputs[0], weights, *node.inputs[2:]))


def flash_weights(node: Node, *parts: Array, row_dims: int = 1) -> ConstArray:
    """A layer's weights, `parts` one behind the other, two to a byte where the model gives them in 4 bits; the last
    `row_dims` dimensions of each part are a row."""
    packed_elems = None
    if weight_bits(node) == NARROW_BITS:
        packed_elems = sum(part.size for part in parts)
        parts = tuple(packed_rows(part.reshape(*part.shape[: part.ndim - row_dims], -1)) for part in parts)
    data = parts[0] if len(parts) == 1 else np.concatenate([part.reshape(-1) for part in parts])
    return ConstArray("weights", data, packed_elems)


def packed(node: Node, arrays: tuple[ConstArray, ...], row_dims: int = 1) -> tuple[ConstArray, ...]:
    """A layer's flash arrays, weights first, with these as `flash_weights`."""
    return (flash_weights(node, arrays[0].data, row_dims=row_dims), *arrays[1:])


def kernel_for(kernel: str, weights: ConstArray) -> str:
    """The kernel of int8 weights, or its form for the width that they have."""
    if weights.packed_elems is not None:
        return f"{kernel}_w4"
    return f"{kernel}_w16" if weights.data.dtype == np.int16 else kernel
