"""float32 arithmetic of convolutions, fully connected layers and pooling: what their kernels add, in which order.

A sum begins with the bias and takes one product after the other, each product and each sum rounded to float32: no fused
multiply-add, no other order, so that a result is the same to the bit however the map is cut. Padding adds nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray

Clamp = tuple[float, float] | None
F32 = NDArray[np.float32]


def is_float(node: Node) -> bool:
    """Whether a node works on float32 activations."""
    return node.tensor(0).dtype == DType.FLOAT32


def float_unsupported(node: Node) -> str | None:
    """Why the float kernels cannot run a node, or None: any of its constants must be finite float32."""
    tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
    wrong = sorted({t.dtype.value for t in tensors if t.dtype != DType.FLOAT32})
    if wrong:
        return f"float32 together with {', '.join(wrong)}: quantise all of the operator, or none of it"
    if any(t.data is not None and not np.all(np.isfinite(t.data)) for t in tensors):
        return "constants that are not finite numbers"
    return None


def float_layer_unsupported(node: Node) -> str | None:
    """As `float_unsupported`, of a layer: weights and bias must be constants."""
    if any(t is not None and not t.is_const for t in node.inputs[1:]):
        return "weights or a bias computed at run time: only constant ones have kernels"
    return float_unsupported(node)


def float_bias(node: Node, channels: int) -> F32:
    """The bias per output channel, zeros when absent. Never -0: to a sum that is not, padding adds nothing."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(channels, dtype=np.float32)
    return np.asarray(node.const(2).reshape(-1) + np.float32(0))


def clamped(values: F32, clamp: Clamp) -> F32:
    """`values` within the real bounds `clamp`; a NaN stays."""
    if clamp is None:
        return values
    lo, hi = np.float32(clamp[0]), np.float32(clamp[1])
    values = np.where(values < lo, lo, values)
    return np.where(values > hi, hi, values)


def clamp_array(clamp: Clamp) -> ConstArray:
    """The finite ones of the bounds, for ``tc_clamp_f32``."""
    bounds = [0.0 if math.isinf(v) else v for v in clamp or (0.0, 0.0)]
    return ConstArray("limits", np.array(bounds, dtype=np.float32))


def clamp_consts(clamp: Clamp) -> tuple[tuple[str, int], tuple[str, int]]:
    """Which bounds there are."""
    lo, hi = clamp or (-math.inf, math.inf)
    return ("lower", int(not math.isinf(lo))), ("upper", int(not math.isinf(hi)))


def layer_arrays(node: Node, weights: Array) -> tuple[ConstArray, ...]:
    """Flash arrays of a layer's kernel; `weights` in the kernel's order, the output channels first or last."""
    channels = node.out.form.channels
    return (
        ConstArray("weights", weights.astype(np.float32)),
        ConstArray("bias", float_bias(node, channels)),
        clamp_array(node.attrs.clamp),
    )


def taps(x: Array, out: Region, ky: int, kx: int, node: Node) -> Array:
    """The inputs of one kernel tap for each pixel of `out`, from the padded input `x`."""
    (dy, dx), (sy, sx) = node.attrs.dilation, node.attrs.stride
    return x[ky * dy : ky * dy + out.rows * sy : sy, kx * dx : kx * dx + out.cols * sx : sx]


def float_convolution(node: Node, out: Region, x: F32, filters: F32, groups: int) -> F32:
    """The output region of a convolution. `x`: the padded input; `filters`: (output channels, KH, KW, inputs of a
    group)."""
    channels, kh, kw, depth = filters.shape
    acc = np.broadcast_to(float_bias(node, channels), (out.rows, out.cols, channels)).copy()
    first = np.arange(channels) // (channels // groups) * depth
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for ky in range(kh):
            for kx in range(kw):
                tap = taps(x, out, ky, kx, node)
                for c in range(depth):
                    inputs = tap[:, :, c : c + 1] if groups == 1 else tap[:, :, first + c]
                    acc += inputs * filters[:, ky, kx, c]
    return clamped(acc, node.attrs.clamp)


def float_products(x: F32, weights: F32, bias: F32) -> F32:
    """(pixels, K) times (N, K) plus (N,), product by product."""
    acc = np.broadcast_to(bias, (x.shape[0], weights.shape[0])).copy()
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for k in range(x.shape[1]):
            acc += x[:, k : k + 1] * weights[:, k]
    return acc
