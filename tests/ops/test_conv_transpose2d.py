"""conv_transpose2d of int8: strides, dilations, crops and groups, against the sums by their definition."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from convolution_cases import weight_quant
from operator_cases import Case, activation, constant, make_node

from tinycompile.ir.graph import Array, Node
from tinycompile.ir.quant import Quant, multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType
from tinycompile.ops.conv_transpose2d import ConvTranspose2d, ConvTranspose2dAttrs


def transposed(
    size: tuple[int, int],
    kernel: tuple[int, int],
    to: tuple[int, int],
    channels: tuple[int, int] = (3, 4),
    bias: bool = True,
    extreme: bool = False,
    **attrs: Any,
) -> Node:
    rng = np.random.default_rng(size[0])
    groups, (depth, filters) = attrs.get("groups", 1), channels
    w = rng.integers(-127, 128, (filters, *kernel, depth // groups))
    w = np.where(w & 1, -128, 127) if extreme else w
    inputs = (
        activation("x", (1, *size, depth), 0.04, -5),
        constant("w", w.astype(np.int8), weight_quant(filters, 0, True, 0, rng)),
        constant("b", rng.integers(-3000, 3000, filters).astype(np.int32)) if bias else None,
    )
    return make_node(ConvTranspose2d(), inputs, activation("y", (), 0.07, 11), ConvTranspose2dAttrs(to, **attrs))


NODES = {
    "plain": transposed((3, 4), (2, 2), (6, 8), stride=(2, 2)),
    "cropped": transposed((4, 5), (3, 3), (8, 10), stride=(2, 2), pad=(1, 0)),
    "beyond_the_taps": transposed((3, 3), (2, 1), (9, 8), stride=(3, 3), bias=False),
    "dilated": transposed((4, 3), (3, 2), (7, 9), stride=(1, 2), dilation=(2, 3), pad=(2, 1)),
    "groups": transposed((3, 3), (3, 3), (5, 5), (4, 6), stride=(1, 2), pad=(0, 2), groups=2),
    "clamped": transposed((3, 4), (3, 3), (6, 8), stride=(2, 2), clamp=(11, 40)),
    "extreme": transposed((4, 4), (3, 3), (4, 4), pad=(1, 1), extreme=True),
    "one_pixel": transposed((1, 1), (4, 4), (4, 4), stride=(4, 4)),
}


def by_force(node: Node, x: Array) -> tuple[Array, int]:
    """The sums, and the number of products."""
    a, w = node.attrs, node.const(1).astype(np.int64)
    (filters, kh, kw, depth), (_, height, width, _) = w.shape, node.out.shape
    bias = np.zeros(filters, np.int64) if node.inputs[2] is None else node.const(2).astype(np.int64)
    acc = np.broadcast_to(bias, (height, width, filters)).copy()
    offset, count, per_group = x[0].astype(np.int64) - node.tensor(0).quant.zero_point[0], 0, filters // a.groups  # type: ignore[union-attr]
    for iy, ix, ky, kx in itertools.product(*(range(n) for n in (*offset.shape[:2], kh, kw))):
        oy, ox = iy * a.stride[0] + ky * a.dilation[0] - a.pad[0], ix * a.stride[1] + kx * a.dilation[1] - a.pad[1]
        count += filters * depth
        if 0 <= oy < height and 0 <= ox < width:
            for f in range(filters):
                first = f // per_group * depth
                acc[oy, ox, f] += offset[iy, ix, first : first + depth] @ w[f, ky, kx]
    return acc, count


def macs(node: Node) -> int:
    return by_force(node, np.zeros(node.tensor(0).shape, np.int8))[1]


def cases() -> list[Case]:
    return [Case(name, ConvTranspose2d(), node, macs) for name, node in NODES.items()]


@pytest.mark.parametrize("name", NODES)
def test_sums_by_definition(name: str) -> None:
    node = NODES[name]
    scales = node.tensor(1).quant.scale  # type: ignore[union-attr]
    pairs = [quantize_multiplier(float(np.float32(0.04)) * s / float(np.float32(0.07))) for s in scales]
    lo, hi = node.attrs.clamp or (-128, 127)
    for seed in range(5):
        (x, *_) = Case(name, ConvTranspose2d(), node).inputs(seed)
        assert x is not None
        acc, _ = by_force(node, x)
        columns = [multiply_by_quantized_multiplier(acc[..., f], *pair) for f, pair in enumerate(pairs)]
        want = np.clip(np.stack(columns, axis=-1) + 11, lo, hi)
        np.testing.assert_array_equal(ConvTranspose2d().reference(node, [x, None, None])[0], want)


def test_what_has_no_kernel() -> None:
    good = NODES["plain"]
    quant = Quant((0.01,), (3,))
    w = constant("w", good.const(1), quant)
    odd = make_node(ConvTranspose2d(), (good.inputs[0], w, good.inputs[2]), good.out, good.attrs)
    assert "zero point" in (ConvTranspose2d().unsupported(odd) or "")
    w = activation("w", good.tensor(1).shape)
    late = make_node(ConvTranspose2d(), (good.inputs[0], w, good.inputs[2]), good.out, good.attrs)
    assert "run time" in (ConvTranspose2d().unsupported(late) or "")
    x = activation("x", good.tensor(0).shape, dtype=DType.INT16)
    wide = make_node(ConvTranspose2d(), (x, *good.inputs[1:]), good.out, good.attrs)
    assert "int16" in (ConvTranspose2d().unsupported(wide) or "")
