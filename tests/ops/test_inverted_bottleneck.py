"""inverted_bottleneck against the operators that it stands for, and its padding and its MACs by brute force."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convolution_cases import count_macs, narrow_weights, random_weights, same_padding, weight_quant
from harness import Run, run_kernels
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Node, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import Region
from tinycompile.ops.add import Add, AddAttrs
from tinycompile.ops.base import KernelCall, Operator, whole
from tinycompile.ops.bottleneck_group import group_of
from tinycompile.ops.bottleneck_parts import InvertedBottleneckAttrs, addition, convolutions
from tinycompile.ops.bottleneck_ring import Ring, ring_of
from tinycompile.ops.conv2d import Conv2d, Conv2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2d, DepthwiseConv2dAttrs
from tinycompile.ops.inverted_bottleneck import InvertedBottleneck

Pair = tuple[int, int]
OPERATORS: tuple[Operator, ...] = (Conv2d(), DepthwiseConv2d(), Conv2d())


def bottleneck(
    size: Pair,
    channels: tuple[int, int, int],
    kernel: Pair = (3, 3),
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    pad: tuple[int, int, int, int] | str = "SAME",
    clamps: tuple[Pair | None, Pair | None, Pair | None] = ((-20, 127), (-9, 100), None),
    zero_points: tuple[int, int, int, int] = (-5, -20, -9, 7),
    bias: bool = True,
    per_channel: bool = True,
    extreme: bool = False,
    narrow: Collection[int] = (),
    w_zero_point: int = 0,
    seed: int = 0,
    residual: AddAttrs | None = None,
    residual_at: Pair = (0, 0),
    rows: int = 1,
) -> Node:
    """A node of (input, expanded, output) `channels`; zero points of the input, the two inner maps and the output.
    `narrow`: the convolutions, 0 to 2, whose weights are of 4 bits."""
    rng = np.random.default_rng(seed)
    taken, expanded, made = channels
    inputs: list[Tensor | None] = [activation("x", (1, *size, taken), 0.05, zero_points[0])]
    for k, (shape, axis) in enumerate(
        (((expanded, 1, 1, taken), 0), ((1, *kernel, expanded), 3), ((made, 1, 1, expanded), 0))
    ):
        w = random_weights(shape, rng, extreme, k in narrow)
        count = shape[axis]
        values = rng.integers(-3000, 3000, count).astype(np.int32)
        quant = weight_quant(count, axis, per_channel, w_zero_point, rng)
        if k in narrow:
            w, quant = narrow_weights(w, quant)
        inputs.append(constant(f"w{k}", w.astype(np.int8), quant))
        inputs.append(constant(f"b{k}", values) if bias else None)
    if pad == "SAME":
        pad = same_padding(size, kernel, stride, dilation)
    assert not isinstance(pad, str)
    attrs = InvertedBottleneckAttrs(
        Conv2dAttrs(clamp=clamps[0]),
        DepthwiseConv2dAttrs(stride, dilation, pad, clamps[1]),
        Conv2dAttrs(clamp=clamps[2]),
        Quant((float(np.float32(0.09)),), (zero_points[1],)),
        Quant((float(np.float32(0.06)),), (zero_points[2],)),
        residual,
        None if residual is None else Quant((float(np.float32(0.15)),), (-11,)),
        residual_at,
        rows=rows,
    )
    return make_node(InvertedBottleneck(), tuple(inputs), activation("y", (), 0.2, zero_points[3]), attrs)


NODES = {
    "3x3": bottleneck((6, 7), (5, 12, 6)),
    "3x3_stride2": bottleneck((8, 7), (4, 9, 3), stride=(2, 2)),
    "3x3_stride2_even": bottleneck((6, 8), (3, 8, 4), stride=(2, 2), pad=(0, 1, 0, 1)),
    "5x5": bottleneck((7, 6), (3, 7, 5), (5, 5), zero_points=(11, 0, 4, -3)),
    "5x5_stride2": bottleneck((9, 11), (2, 6, 5), (5, 5), (2, 2), clamps=(None, None, (-50, 60))),
    "3x1": bottleneck((7, 5), (3, 6, 4), (3, 1)),
    "1x3": bottleneck((4, 9), (3, 5, 4), (1, 3), (1, 2)),
    "1x1": bottleneck((3, 4), (3, 5, 2), (1, 1)),
    "7x7_small_map": bottleneck((3, 3), (3, 5, 2), (7, 7), zero_points=(-128, -128, 127, 3)),
    "width1": bottleneck((6, 1), (3, 5, 4)),
    "one_channel": bottleneck((5, 5), (1, 1, 1)),
    "asymmetric_pad": bottleneck((5, 6), (3, 8, 4), pad=(0, 2, 3, 1), bias=False),
    "valid": bottleneck((6, 7), (3, 8, 4), pad=(0, 0, 0, 0), per_channel=False),
    "dilated": bottleneck((9, 8), (3, 6, 4), dilation=(3, 2)),
    "dilated_stride2": bottleneck((9, 10), (3, 6, 4), (3, 3), (2, 2), (2, 2)),
    "stride_beyond_the_window": bottleneck((10, 11), (3, 6, 4), (2, 2), (3, 4), pad=(1, 0, 1, 2)),
    "window_in_the_padding": bottleneck((3, 3), (3, 4, 2), (2, 2), (1, 1), pad=(3, 2, 3, 3)),
    "extreme": bottleneck((4, 5), (9, 10, 7), extreme=True, zero_points=(127, -128, 127, -128)),
    "narrow": bottleneck((6, 7), (5, 12, 6), narrow=(0, 1, 2)),
    "narrow_expand": bottleneck((6, 7), (9, 13, 6), stride=(2, 1), narrow=(0,)),
    "narrow_depthwise": bottleneck((6, 5), (3, 17, 8), narrow=(1,)),
    "narrow_project_residual": bottleneck((6, 5), (8, 17, 8), narrow=(2,), residual=AddAttrs()),
    "narrow_rows2": bottleneck((6, 7), (5, 12, 6), rows=2, narrow=(0, 2)),
    "sums_narrow": bottleneck((4, 3), (5, 61, 6), rows=4, narrow=(0, 1, 2)),
    "sums_narrow_of_two": bottleneck((4, 3), (5, 24, 3), (5, 5), rows=4, narrow=(1, 2)),
    "residual": bottleneck((6, 7), (5, 12, 5), residual=AddAttrs()),
    "residual_clamp_8": bottleneck((5, 6), (8, 9, 8), residual=AddAttrs(clamp=(-40, 55))),
    "residual_less": bottleneck((5, 4), (3, 8, 3), (3, 2), residual=AddAttrs(subtract=True)),
    "residual_5x5": bottleneck((7, 6), (4, 7, 4), (5, 5), zero_points=(-128, 3, -7, 127), residual=AddAttrs()),
    "residual_1x1": bottleneck((3, 4), (3, 5, 3), (1, 1), residual=AddAttrs()),
    "residual_dilated_even": bottleneck((7, 8), (3, 6, 3), (2, 2), (1, 1), (2, 2), (1, 1, 1, 1), residual=AddAttrs()),
    "residual_all_pad_below": bottleneck((6, 7), (3, 6, 3), pad=(0, 2, 0, 2), residual=AddAttrs()),
    "residual_all_pad_above": bottleneck((6, 7), (3, 6, 3), pad=(2, 0, 2, 0), residual=AddAttrs()),
    "residual_tile_inside": bottleneck((6, 7), (5, 9, 5), pad=(0, 0, 0, 0), residual=AddAttrs(), residual_at=(1, 1)),
    "residual_tile_5x5": bottleneck(
        (7, 9), (4, 9, 4), (5, 5), pad=(0, 2, 1, 0), residual=AddAttrs(), residual_at=(2, 1)
    ),
    "rows2": bottleneck((6, 7), (5, 12, 6), rows=2),
    "rows3_of_7": bottleneck((7, 6), (3, 7, 5), (5, 5), rows=3),
    "rows4_of_3": bottleneck((3, 6), (3, 7, 2), (7, 7), rows=4),
    "rows2_stride2": bottleneck((9, 11), (2, 6, 5), (5, 5), (2, 2), rows=2),
    "rows3_stride2_even": bottleneck((8, 8), (4, 8, 4), stride=(2, 2), pad=(0, 1, 0, 1), rows=3),
    "rows2_dilated": bottleneck((9, 8), (3, 6, 4), dilation=(3, 2), rows=2),
    "rows3_dilated_stride2": bottleneck((13, 10), (3, 6, 4), (3, 3), (2, 2), (2, 2), rows=3),
    "rows2_stride_beyond_the_window": bottleneck((10, 11), (3, 6, 4), (2, 2), (3, 4), pad=(1, 0, 1, 2), rows=2),
    "rows3_window_in_the_padding": bottleneck((3, 3), (3, 4, 2), (2, 2), (1, 1), pad=(3, 2, 3, 3), rows=3),
    "rows2_residual": bottleneck((7, 7), (5, 12, 5), residual=AddAttrs(), rows=2),
    "rows3_residual_5x5": bottleneck((7, 6), (4, 7, 4), (5, 5), residual=AddAttrs(), rows=3),
    "rows2_residual_pad_above": bottleneck((6, 7), (3, 6, 3), pad=(2, 0, 2, 0), residual=AddAttrs(), rows=2),
    "rows2_residual_tile": bottleneck(
        (7, 9), (4, 9, 4), (5, 5), pad=(0, 2, 1, 0), residual=AddAttrs(), residual_at=(2, 1), rows=2
    ),
    "sums": bottleneck((4, 3), (3, 20, 2), (7, 7)),
    "sums_wide": bottleneck((6, 7), (2, 40, 5), (5, 5), zero_points=(11, -128, 4, -3), bias=False),
    "sums_rows2_stride2": bottleneck((9, 8), (2, 24, 4), (5, 5), (2, 2), rows=2, clamps=(None, None, (-50, 60))),
    "sums_rows3_of_4": bottleneck((4, 3), (3, 19, 2), (3, 3), rows=3, extreme=True),
    "sums_all_rows_dilated": bottleneck((9, 6), (3, 41, 6), (3, 3), dilation=(3, 2), rows=9),
    "sums_residual": bottleneck((5, 4), (3, 26, 3), (5, 5), residual=AddAttrs(clamp=(-40, 55))),
    "sums_rows2_residual": bottleneck((5, 4), (5, 30, 5), (5, 5), residual=AddAttrs(subtract=True), rows=2),
    "sums_rows2_residual_tile": bottleneck(
        (7, 7), (4, 25, 4), (5, 5), pad=(0, 2, 1, 0), residual=AddAttrs(), residual_at=(2, 1), rows=2
    ),
    "sums_one_channel_more": bottleneck((3, 3), (2, 9, 1), (7, 7)),
    "wide_output": bottleneck((5, 6), (2, 6, 3), (5, 5)),
    "wide_output_stride2": bottleneck((6, 8), (2, 6, 4), stride=(2, 2), pad=(0, 1, 0, 1)),
}
KEPT = {
    f"kept_{name}": replace(node, op=replace(node.op, attrs=replace(node.attrs, kept=True)))
    for name, node in NODES.items()
    if node.attrs.rows == 1
}
OVER_WINDOW = {
    "3x3": True,  # a sixth channel grows into the column that the window is ahead
    "wide_output": True,
    "wide_output_stride2": True,  # two columns of two channels make way for one of four
    "residual_all_pad_below": True,
    "residual_all_pad_above": True,
    "residual_dilated_even": True,
    "extreme": True,
    "stride_beyond_the_window": True,  # what lies between the windows is never read
    "rows2": True,
    "rows3_residual_5x5": True,
    "rows2_residual_tile": True,
    "sums_wide": True,
    "sums_rows2_residual_tile": True,
    "3x1": False,
    "5x5_stride2": False,
    "rows2_stride2": False,
    "asymmetric_pad": False,
    "window_in_the_padding": False,  # pixels are written before the input is read at all
}


def executed_macs(node: Node) -> int:
    """Multiply-accumulates, pixel by pixel as the kernel makes them."""
    expand, depthwise, project = convolutions(node)
    a: Any = node.attrs.depthwise
    (kh, kw), (height, width) = depthwise.tensor(1).shape[1:3], node.tensor(0).shape[1:3]
    macs = count_macs(depthwise) + count_macs(project)
    expanded: set[int] = set()
    each = node.attrs.rows
    for y in range(0, node.out.shape[1], each):
        below = (min(each, node.out.shape[1] - y) - 1) * a.stride[0]
        top, step = y * a.stride[0] - a.pad[0], 1 if node.attrs.kept or each > 1 else a.dilation[0]
        rows = [row for row in range(top, top + below + (kh - 1) * a.dilation[0] + 1, step) if 0 <= row < height]
        if node.attrs.kept:
            rows = [row for row in rows if row not in expanded]
            expanded |= set(rows)
        held: set[int] = set()
        for x in range(node.out.shape[2]):
            x0 = x * a.stride[1] - a.pad[2]
            window = {c for c in range(x0, x0 + (kw - 1) * a.dilation[1] + 1) if 0 <= c < width}
            macs += len(rows) * len(window - held) * int(np.prod(expand.tensor(1).shape))
            held = window
    return macs


def cases() -> list[Case]:
    return [Case(name, InvertedBottleneck(), node, macs=executed_macs) for name, node in (NODES | KEPT).items()]


def apart(node: Node, x: Array) -> Array:
    """What the operators make of the whole map one after the other."""
    parts, given = convolutions(node), x
    for oper, part in zip(OPERATORS, parts, strict=True):
        x = oper.reference(part, (x, *(None for _ in part.inputs[1:])))
    added, (y0, x0) = addition(node, parts[2]), node.attrs.residual_at
    if added is not None:
        x = Add().reference(added, (x, given[:, y0 : y0 + x.shape[1], x0 : x0 + x.shape[2]]))
    return x


def fused(node: Node, x: Array) -> Array:
    return InvertedBottleneck().reference(node, (x, *(None for _ in node.inputs[1:])))


@pytest.mark.parametrize("name", NODES)
def test_equals_its_operators(name: str) -> None:
    for seed in range(6):
        x = Case(name, InvertedBottleneck(), NODES[name]).inputs(seed)[0]
        assert x is not None
        np.testing.assert_array_equal(fused(NODES[name], x), apart(NODES[name], x))


@pytest.mark.parametrize("seed", range(8))
def test_zero_points_may_all_differ(seed: int) -> None:
    zeros = tuple(int(z) for z in np.random.default_rng(seed).integers(-128, 128, 4))
    node = bottleneck((5, 6), (3, 8, 4), zero_points=zeros, seed=seed)  # type: ignore[arg-type]
    x = Case("", InvertedBottleneck(), node).inputs(seed + 3)[0]
    assert x is not None
    out = fused(node, x)
    np.testing.assert_array_equal(out, apart(node, x))
    assert len(np.unique(out)) > 10, "nothing to tell apart"


def test_control_an_expanded_border_of_the_input_is_other_padding() -> None:
    """Padding the input with its zero point and expanding that gives the bias at the border, not the zero point."""
    node = NODES["3x3"]
    a, zero_point = node.attrs.depthwise, node.tensor(0).quant.scalar()[1]  # type: ignore[union-attr]
    x = Case("", InvertedBottleneck(), node).inputs(3)[0]
    assert x is not None
    bordered = np.pad(x, ((0, 0), a.pad[:2], a.pad[2:], (0, 0)), constant_values=zero_point)
    wrong = bottleneck((8, 9), (5, 12, 6), pad=(0, 0, 0, 0))  # the same weights
    out, other = fused(node, x), fused(wrong, bordered)
    assert out.shape == other.shape
    np.testing.assert_array_equal(out[:, 1:-1, 1:-1], other[:, 1:-1, 1:-1])
    assert (out != other).any()


def test_scratch_is_the_window_and_a_pixel() -> None:
    def scratch(name: str) -> int:
        return InvertedBottleneck().scratch_bytes(NODES[name])

    assert scratch("3x3") == (3 * 3 + 1) * 12
    assert scratch("5x5_stride2") == (5 * 5 + 1) * 6
    assert scratch("dilated") == (3 * 5 + 1) * 6  # the columns between the taps are taps of later windows
    assert scratch("1x1") == 2 * 5
    assert all(group_of(node).by_sums is name.startswith("sums") for name, node in NODES.items())
    assert scratch("sums") == (7 * 7 + 1) * 8 + 4 * 3 * 2
    assert scratch("sums_rows2_stride2") == (5 * 7 + 1) * 8 + 4 * 2 * 4 * 4
    assert scratch("rows2_stride2") == (5 * 7 + 1) * 6
    assert scratch("rows2_dilated") == (5 * 8 + 1) * 6  # also rows between the taps, which others may need


def in_order(node: Node, x: Array, damage: bool = False) -> Array:
    """All rows one after the other through scratch that is kept, whose bytes are anything at first; `damage`: and one
    byte of which is another between the rows."""
    oper, rows = InvertedBottleneck(), x[0]
    kept = np.random.default_rng(0).integers(0, 256, oper.scratch_bytes(node)).astype(np.uint8)
    made = []
    for y in range(node.out.form.rows):
        need = oper.step_region(node, y)[0]
        assert need is not None
        given = rows[need.region.y0 : need.region.y1].copy()
        made.append(oper.advance_kept(node, y, (given, *(None for _ in node.inputs[1:])), kept))
        kept[: -node.tensor(1).shape[0]] ^= np.uint8(64 * damage)
    return np.concatenate(made)[None]


@pytest.mark.parametrize("name", KEPT)
def test_rows_in_order_through_kept_scratch(name: str) -> None:
    for seed in range(6):
        x = Case(name, InvertedBottleneck(), KEPT[name]).inputs(seed)[0]
        assert x is not None
        np.testing.assert_array_equal(in_order(KEPT[name], x), fused(KEPT[name], x))


def test_control_kept_scratch_is_what_rows_are_made_from() -> None:
    node = KEPT["kept_residual"]
    x = Case("", InvertedBottleneck(), node).inputs(4)[0]
    assert x is not None
    assert (in_order(node, x, damage=True)[0, 0] == fused(node, x)[0, 0]).all()
    assert (in_order(node, x, damage=True)[0, 1:] != fused(node, x)[0, 1:]).any()


class ShortRing(InvertedBottleneck):
    """Its kernel has one slot too few."""

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        (call,) = super().calls(node, out, variant)
        return (replace(call, consts=tuple((n, v - (n == "slots")) for n, v in call.consts)),)


class OtherRow(InvertedBottleneck):
    """Its kernel takes each pixel from the row above."""

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        (call,) = super().calls(node, out, variant)
        return (replace(call, consts=tuple((n, v + (n == "given_h")) for n, v in call.consts)),)


SHORT = ["3x3", "3x3_stride2", "5x5", "dilated", "dilated_stride2", "valid", "residual", "3x1"]


@pytest.mark.parametrize("name", SHORT)
def test_a_ring_a_pixel_short_is_noticed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = KEPT[f"kept_{name}"]
    values = Case("", InvertedBottleneck(), node).inputs(5)
    want = InvertedBottleneck().reference(node, values)
    for oper, equal in ((InvertedBottleneck(), True), (ShortRing(), False)):
        (got,) = run_kernels([Run(oper, node, values)], tmp_path)
        assert np.array_equal(got, want.reshape(got.shape)) is equal
    assert values[0] is not None
    full = ring_of(node).slots
    monkeypatch.setattr(Ring, "slots", property(lambda ring: full - 1))
    assert not np.array_equal(in_order(node, values[0]), want)


def test_a_row_that_is_expanded_is_not_read_again(tmp_path: Path) -> None:
    node = KEPT["kept_3x3"]
    with pytest.raises(AssertionError, match="AddressSanitizer"):
        run_kernels([Run(OtherRow(), node, Case("", OtherRow(), node).inputs(5))], tmp_path)


def test_kept_blocks_expand_every_pixel_once_and_hold_two_rows_and_a_window() -> None:
    node = KEPT["kept_3x3"]
    assert InvertedBottleneck().scratch_bytes(node) == (2 * 7 + 3 + 1) * 12
    assert InvertedBottleneck().scratch_bytes(KEPT["kept_5x5_stride2"]) == (4 * 11 + 5 + 1) * 6
    assert InvertedBottleneck().scratch_bytes(KEPT["kept_7x7_small_map"]) == (3 * 3 + 1) * 5
    assert InvertedBottleneck().scratch_bytes(KEPT["kept_1x1"]) == (1 + 1) * 5
    for name in ("kept_3x3", "kept_5x5_stride2", "kept_dilated", "kept_residual_5x5", "kept_asymmetric_pad"):
        parts = convolutions(KEPT[name])
        layers = sum(oper.macs(part) for oper, part in zip(OPERATORS, parts, strict=True))
        assert InvertedBottleneck().macs(KEPT[name]) == layers


def test_what_a_step_of_a_kept_block_reads() -> None:
    def rows(name: str) -> list[tuple[int, int]]:
        node = KEPT[name]
        needs = [InvertedBottleneck().step_region(node, y)[0] for y in range(node.out.form.rows)]
        return [(n.region.y0, n.region.y1) for n in needs if n is not None]

    assert rows("kept_3x3")[:-1] == [(0, 2), (2, 3), (3, 4), (4, 5), (5, 6)]
    assert rows("kept_3x3")[-1] == (6, 6)
    assert rows("kept_residual") == [(0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6)]
    assert rows("kept_3x3_stride2_even") == [(0, 3), (3, 5), (5, 6)]


def test_every_row_of_a_window_is_expanded_again() -> None:
    node = bottleneck((6, 7), (5, 12, 6), pad=(0, 0, 0, 0))
    once = 6 * 7 * 5 * 12
    rest = 4 * 5 * (9 * 12 + 12 * 6)
    assert InvertedBottleneck().macs(node) == 4 * 3 * once // 6 + rest


def test_what_the_kernel_has_no_weights_for() -> None:
    assert InvertedBottleneck().unsupported(NODES["3x3"]) is None
    wide = bottleneck((4, 4), (3, 5, 2), w_zero_point=90)
    assert "zero points" in (InvertedBottleneck().unsupported(wide) or "")
    x = Case("", InvertedBottleneck(), wide).inputs(4)[0]
    assert x is not None
    np.testing.assert_array_equal(fused(wide, x), apart(wide, x))


def test_needs_are_those_of_the_depthwise_window() -> None:
    node = NODES["dilated_stride2"]
    depthwise = convolutions(node)[1]
    for region in (whole(node.out), Region(1, 2, 0, 2)):
        assert InvertedBottleneck().in_region(node, region)[0] == DepthwiseConv2d().in_region(depthwise, region)[0]


@pytest.mark.parametrize(
    "attrs",
    [
        {"expand": Conv2dAttrs(pad=(0, 0, 1, 0))},
        {"project": Conv2dAttrs(stride=(2, 1))},
    ],
)
def test_other_chains_are_refused(attrs: dict[str, Any]) -> None:
    node = NODES["3x3"]
    with pytest.raises(ShapeError, match="1x1"):
        make_node(InvertedBottleneck(), node.inputs, activation("y", ()), replace(node.attrs, **attrs))


@pytest.mark.parametrize(
    ("attrs", "at"),
    [
        ({}, (1, 0)),
        ({}, (0, -1)),
        ({"depthwise": DepthwiseConv2dAttrs((2, 2), pad=(1, 1, 1, 1))}, (0, 0)),
        ({"depthwise": DepthwiseConv2dAttrs()}, (0, 3)),
        ({"depthwise": DepthwiseConv2dAttrs(pad=(1, 1, 5, 0))}, (0, 0)),
    ],
)
def test_an_addition_from_outside_the_window_is_refused(attrs: dict[str, Any], at: Pair) -> None:
    node = NODES["residual"]
    wrong = replace(node.attrs, residual_at=at, **attrs)
    with pytest.raises(ShapeError, match="what is added"):
        make_node(InvertedBottleneck(), node.inputs, activation("y", (), 0.2), wrong)


@pytest.mark.parametrize("name", OVER_WINDOW)
def test_where_rows_may_be_written_over_the_window(name: str) -> None:
    assert bool(InvertedBottleneck().over_window(NODES[name])) is OVER_WINDOW[name]


@pytest.mark.parametrize(
    "name", [n for name, may in OVER_WINDOW.items() if not may for n in (name, f"kept_{name}") if n in NODES | KEPT]
)
def test_control_rows_written_over_the_window_where_they_may_not(name: str, tmp_path: Path) -> None:
    """The harness does write each row over a row of its window, and what is read too late is noticed."""
    node = (NODES | KEPT)[name]
    values = Case("", InvertedBottleneck(), node).inputs(6)
    for over, equal in ((False, True), (True, False)):
        (got,) = run_kernels([Run(InvertedBottleneck(), node, values, over_window=over)], tmp_path)
        want = InvertedBottleneck().reference(node, values).reshape(got.shape)
        assert np.array_equal(got, want) is equal


@pytest.mark.parametrize("name", ["residual_tile_inside", "residual_tile_5x5"])
def test_control_another_pixel_is_added(name: str, tmp_path: Path) -> None:
    node = NODES[name]
    values = Case("", InvertedBottleneck(), node).inputs(6)
    want = InvertedBottleneck().reference(node, values)
    for at in ((1, 0), (0, 1), (1, 1)):
        shifted = replace(node.attrs, residual_at=tuple(a - b for a, b in zip(node.attrs.residual_at, at, strict=True)))
        other = make_node(InvertedBottleneck(), node.inputs, node.out, shifted)
        (got,) = run_kernels([Run(InvertedBottleneck(), other, values)], tmp_path)
        assert not np.array_equal(got, want.reshape(got.shape))
        np.testing.assert_array_equal(got, InvertedBottleneck().reference(other, values).reshape(got.shape))
