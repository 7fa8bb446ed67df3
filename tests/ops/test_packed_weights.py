"""Weights of 4 bits: the layout, and that kernels notice any other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from convolution_cases import convolution
from harness import INCLUDE, Run, run_kernels
from operator_cases import Case

from tinycompile.ir.graph import Array, Node
from tinycompile.ops.base import Operator
from tinycompile.ops.conv2d import Conv2d
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2d
from tinycompile.ops.packed_weights import packed_rows


def weight_at(row: Array, i: int, n: int) -> int:
    """Weight i of a row of n, as the layout is described."""
    block = i // 8 * 8
    half = (min(n - block, 8) + 1) // 2
    k = i - block
    byte = int(row[block // 2 + (k if k < half else k - half)]) & 255
    value = byte & 15 if k < half else byte >> 4
    return value - 16 if value > 7 else value


@pytest.mark.parametrize("n", range(1, 27))
def test_every_weight_is_where_the_layout_says(n: int) -> None:
    w = np.random.default_rng(n).integers(-8, 7, (3, n), endpoint=True)
    rows = packed_rows(w)
    assert rows.shape == (3, (n + 1) // 2)
    assert rows.dtype == np.int8
    for row, wanted in zip(rows, w, strict=True):
        assert [weight_at(row, i, n) for i in range(n)] == wanted.tolist()


def test_words_hold_the_weights_of_neighbouring_inputs() -> None:
    """What SIMD kernels are to rely on: the low halves of 4 bytes are 4 weights in order, the high halves the next."""
    word = packed_rows(np.arange(8)[None])[0]
    assert [b & 15 for b in word] == [0, 1, 2, 3]
    assert [b >> 4 & 15 for b in word] == [4, 5, 6, 7]


def halves_swapped(w: Array) -> Array:
    rows = packed_rows(w).view(np.uint8)
    return (rows << 4 | rows >> 4).view(np.int8)


def neighbours_in_a_byte(w: Array) -> Array:
    halves = (np.pad(w, [(0, 0)] * (w.ndim - 1) + [(0, w.shape[-1] % 2)]) & 15).astype(np.uint8)
    return (halves[..., ::2] | halves[..., 1::2] << 4).view(np.int8)


def without_signs(w: Array) -> Array:
    return packed_rows(np.maximum(w, 0))


NODES: tuple[tuple[Operator, Node], ...] = (
    (Conv2d(), convolution((3, 4), 11, 5, (3, 1), narrow=True)),
    (DepthwiseConv2d(), convolution((3, 4), 11, 0, (3, 3), multiplier=1, narrow=True)),
)


@pytest.mark.parametrize(("operator", "node"), NODES, ids=["conv2d", "depthwise_conv2d"])
@pytest.mark.parametrize("packing", [packed_rows, halves_swapped, neighbours_in_a_byte, without_signs])
def test_control_other_packings(
    packing: Callable[[Array], Array], operator: Operator, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = Case("control", operator, node).inputs(4)
    expected = operator.reference(node, values)
    monkeypatch.setattr("tinycompile.ops.packed_weights.packed_rows", packing)
    (got,) = run_kernels([Run(operator, node, values)], tmp_path)
    assert np.array_equal(got.reshape(expected.shape), expected) is (packing is packed_rows)


WEIGHTS, DOT = "tc_weights_s4.h", "tc_dot_s8.h"
# Header, what it says, what it says instead, and the operators whose kernels are wrong then.
MUTANTS = {
    "no sign extension": (WEIGHTS, "return ((byte & 15) ^ 8) - 8;", "return byte & 15;", NODES),
    "the other half": (WEIGHTS, "half ? TC_LOW_HALF : TC_HIGH_HALF", "half ? TC_HIGH_HALF : TC_LOW_HALF", NODES[1:]),
    "a last block like others": (DOT, "const int32_t j = i + half;", "const int32_t j = i + 4;", NODES[:1]),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_control_other_unpacking(mutant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(INCLUDE, tmp_path / "include")
    header, before, after, broken = MUTANTS[mutant]
    text = (tmp_path / "include" / header).read_text()
    assert before in text
    (tmp_path / "include" / header).write_text(text.replace(before, after))
    monkeypatch.setattr("harness.INCLUDE", tmp_path / "include")
    for operator, node in broken:
        values = Case("control", operator, node).inputs(4)
        (got,) = run_kernels([Run(operator, node, values)], tmp_path)
        assert not np.array_equal(got.reshape(node.out.shape), operator.reference(node, values))
