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


def has_narrow_weights(node: Node) -> bool:
    """Whether the model gives a layer's weights (input 1) in 4 bits."""
    quant = node.tensor(1).quant
    return quant is not None and quant.bits == NARROW_BITS


def packed(node: Node, arrays: tuple[ConstArray, ...], row_dims: int) -> tuple[ConstArray, ...]:
    """A layer's flash arrays, weights first, with these two to a byte where the model gives them in 4 bits; their last
    `row_dims` dimensions are a row."""
    if not has_narrow_weights(node):
        return arrays
    weights = arrays[0].data
    rows = weights.reshape(*weights.shape[: weights.ndim - row_dims], -1)
    return (replace(arrays[0], data=packed_rows(rows), packed_elems=weights.size), *arrays[1:])


def kernel_for(kernel: str, weights: ConstArray) -> str:
    """The kernel of int8 weights, or its form for the width that they have."""
    if weights.packed_elems is not None:
        return f"{kernel}_w4"
    return f"{kernel}_w16" if weights.data.dtype == np.int16 else kernel
