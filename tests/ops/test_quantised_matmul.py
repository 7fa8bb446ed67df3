"""matmul of int8: operands made at run time or constant, exchanged dimensions, broadcast; sums that wrap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from operator_cases import Case, activation, constant, make_node

from tinycompile.ir.graph import Node
from tinycompile.ir.quant import Quant
from tinycompile.ops.matmul import Matmul, MatmulAttrs


def product(
    a: tuple[int, ...], b: tuple[int, ...], const: bool = False, first: bool = False, second: bool = False
) -> Node:
    right = activation("b", b, 0.03, 17)
    if const:
        values = np.random.default_rng(1).integers(-128, 128, b).astype(np.int8)
        right = constant("b", values, Quant((0.02,), (-128,)))
    tensors = (activation("a", a, 0.05, -9), right)
    return make_node(Matmul(), tensors, activation("y", (), 0.1, 5), MatmulAttrs(first, second))


NODES = {
    "plain": product((2, 3, 4), (2, 4, 5)),
    "exchanged": product((2, 4, 3), (2, 5, 4), first=True, second=True),
    "broadcast": product((3, 1, 2, 6), (2, 6, 3)),
    "constant": product((4, 9), (9, 3), const=True),
}


def macs(node: Node) -> int:
    return node.out.elems * node.tensor(0).shape[-2 if node.attrs.transpose_a else -1]


def cases() -> list[Case]:
    return [Case(name, Matmul(), node, macs) for name, node in NODES.items()]


def test_int8_without_scales_has_no_kernel() -> None:
    good = NODES["plain"]
    bare = make_node(Matmul(), good.inputs, activation("y", ()), MatmulAttrs())
    assert Matmul().unsupported(bare) is None
    bare = replace(bare, outputs=(replace(bare.out, quant=None),))
    assert "int8" in (Matmul().unsupported(bare) or "")
