"""What must hold for every operator, over the example nodes that each operator's test file gives in `cases()`.

Tiles cut by `in_region` and stitched together equal the whole, also where each is made from the row before; the C
kernels equal the reference, apart and in place, within their buffers and scratch; the rows they are given are rows that
`in_region` asked for, or the row before; MACs are counted right. The controls at the end break one of these and must be
noticed.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from convolution_cases import convolution, near_halves
from harness import Run, run_kernels
from operator_cases import Case, activation, make_node

from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import Region
from tinycompile.ops.base import DSP, GENERIC, OWN_OUTPUT, Grain, KernelCall, Need, Operator, RowWindow, whole
from tinycompile.ops.conv2d import Conv2d
from tinycompile.ops.depthwise_conv2d import IN_PLACE, IN_PLACE_DSP, DepthwiseConv2d
from tinycompile.ops.registry import OPERATORS
from tinycompile.ops.row_sum import RowSum
from tinycompile.ops.single_rounding import multiply_nearest

MODULES = sorted(
    p.stem for p in Path(__file__).parent.glob("test_*.py") if "\ndef cases()" in p.read_text(encoding="utf-8")
)


@functools.cache
def cases_of(module: str) -> list[Case]:
    found: list[Case] = importlib.import_module(module).cases()
    return found


ALL = [
    pytest.param(module, k, id=f"{module[5:]}-{c.name}") for module in MODULES for k, c in enumerate(cases_of(module))
]


def row_forms(case: Case, values: Sequence[Array | None]) -> list[Array | None]:
    forms = [None if t is None else t.form for t in case.node.inputs]
    return [
        None if v is None or f is None else v.reshape(f.rows, f.width, f.channels)
        for v, f in zip(values, forms, strict=True)
    ]


def compute(case: Case, region: Region, forms: Sequence[Array | None], made: Array | None = None) -> Array:
    """One region of the output from exactly what `in_region` asks for, and the row above of what is `made` where the
    operator carries."""
    needs = case.operator.in_region(case.node, region)
    parts: list[Array | None] = []
    for form, need in zip(forms, needs, strict=True):
        if form is None or need is None:
            parts.append(None)
            continue
        r = need.region
        assert 0 <= r.y0 <= r.y1 <= form.shape[0]
        assert 0 <= r.x0 <= r.x1 <= form.shape[1]
        assert min(need.top, need.bottom, need.left, need.right) >= 0
        parts.append(form[r.y0 : r.y1, r.x0 : r.x1].copy())
    if region.y0 > 0 and case.operator.carries(case.node):
        assert made is not None
        previous = made[region.y0 - 1 : region.y0, region.x0 : region.x1].copy()
        result = case.operator.advance(case.node, region, parts, previous)
    else:
        result = case.operator.compute(case.node, region, parts)
    assert result.shape == (region.rows, region.cols, case.node.out.form.channels)
    assert result.dtype == case.node.out.dtype.numpy
    return result


def cuts(size: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """[0, size) in random pieces."""
    inner = [k for k in range(1, size) if rng.random() < 0.4]
    edges = [0, *inner, size]
    return list(itertools.pairwise(edges))


def stitched(case: Case, forms: Sequence[Array | None], rows: list[tuple[int, int]], rng: np.random.Generator) -> Array:
    form = case.node.out.form
    result = np.zeros((form.rows, form.width, form.channels), dtype=case.node.out.dtype.numpy)
    for y0, y1 in rows:
        for x0, x1 in cuts(form.width, rng):
            result[y0:y1, x0:x1] = compute(case, Region(y0, y1, x0, x1), forms, result)
    return result


def reference(case: Case, seed: int) -> Array:
    """The whole output in row form."""
    form = case.node.out.form
    return case.operator.reference(case.node, case.inputs(seed)).reshape(form.rows, form.width, form.channels)


def same(a: Array, b: Array) -> bool:
    """Equal bit for bit."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def agrees(got: Array, expected: Array, ulp: int) -> bool:
    """Equal bit for bit; floats may be `ulp` apart, and any NaN equals any other."""
    if expected.dtype != np.float32 or same(got, expected):
        return same(got, expected)
    nan = np.isnan(expected)
    if got.shape != expected.shape or got.dtype != expected.dtype or not np.array_equal(np.isnan(got), nan):
        return False
    keys = [np.where(nan, np.float32(0), v).astype(np.float32).view(np.int32).astype(np.int64) for v in (got, expected)]
    ordered = [np.where(k < 0, -(k & 0x7FFFFFFF), k) for k in keys]
    return bool(np.all(np.abs(ordered[0] - ordered[1]) <= ulp))


def test_every_operator_has_cases() -> None:
    covered = {c.operator.kind for module in MODULES for c in cases_of(module)}
    assert set(OPERATORS) - covered == set()


@pytest.mark.parametrize(("module", "index"), ALL)
def test_tiles_stitch_to_the_whole(module: str, index: int) -> None:
    case = cases_of(module)[index]
    rng = np.random.default_rng(index)
    forms = row_forms(case, case.inputs(5))
    expected = reference(case, 5)
    single = [(y, y + 1) for y in range(case.node.out.form.rows)]
    assert same(stitched(case, forms, single, rng), expected)
    assert same(stitched(case, forms, cuts(case.node.out.form.rows, rng), rng), expected)


@pytest.mark.parametrize(("module", "index"), ALL)
def test_macs_equal_the_counted_ones(module: str, index: int) -> None:
    case = cases_of(module)[index]
    assert case.operator.macs(case.node) == (0 if case.macs is None else case.macs(case.node))


def tile_node(case: Case, region: Region) -> tuple[Node, tuple[Need | None, ...]] | None:
    """The operator cut to a rectangle of its output (`Operator.tile`), and what that needs; None where it cannot be."""
    operator, node = case.operator, case.node
    needs = operator.in_region(node, region)
    attrs = operator.tile(node, needs)
    if attrs is None:
        return None
    inputs = []
    for tensor, need in zip(node.inputs, needs, strict=True):
        shape = () if tensor is None or need is None else (1, need.region.rows, need.region.cols, tensor.shape[-1])
        inputs.append(tensor if tensor is None or tensor.is_const else replace(tensor, shape=shape))
    op = replace(node.op, attrs=attrs)
    shape, dtype = operator.infer(Node(op, tuple(inputs), node.outputs))
    return Node(op, tuple(inputs), (replace(node.out, shape=shape, dtype=dtype),)), needs


def of_maps(case: Case) -> bool:
    """Whether all that the operator works on are maps, as tiles are."""
    tensors = (case.node.out, *(case.node.tensor(k) for k in case.node.activations))
    return all(len(t.shape) == 4 for t in tensors)


@pytest.mark.parametrize(("module", "index"), [p for p in ALL if of_maps(cases_of(str(p.values[0]))[int(p.values[1])])])
def test_an_operator_cut_to_a_tile_makes_that_tile(module: str, index: int) -> None:
    """What `tile` promises: from tensors that hold just the rectangle's needs, the cut operator makes the rectangle."""
    case = cases_of(module)[index]
    form = case.node.out.form
    values = case.inputs(5)
    expected = reference(case, 5).reshape(form.rows, form.width, form.channels)
    rng = np.random.default_rng(index)
    for _ in range(6):
        y0, x0 = int(rng.integers(form.rows)), int(rng.integers(form.width))
        region = Region(y0, int(rng.integers(y0, form.rows)) + 1, x0, int(rng.integers(x0, form.width)) + 1)
        cut = tile_node(case, region)
        if cut is None:
            continue
        tile, needs = cut
        parts = [
            None if v is None or n is None else v[:, n.region.y0 : n.region.y1, n.region.x0 : n.region.x1]
            for v, n in zip(values, needs, strict=True)
        ]
        got = case.operator.reference(tile, parts).reshape(region.rows, region.cols, form.channels)
        assert same(got, expected[region.y0 : region.y1, region.x0 : region.x1])


def test_the_operators_that_can_be_cut() -> None:
    """So that an operator that loses its `tile` is seen."""
    cut = set()
    for module in MODULES:
        for case in cases_of(module):
            form = case.node.out.form
            if case.operator.tile(case.node, case.operator.in_region(case.node, Region(0, form.rows, 0, form.width))):
                cut.add(case.operator.kind)
    assert {"conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d", "inverted_bottleneck", "add", "mul"} <= cut
    assert {"clip", "logistic", "quantize", "dequantize", "requantize", "concat"} <= cut
    assert not cut & {"mean", "fully_connected", "softmax", "reshape", "crop", "row_sum"}


def rows_outside_needs(case: Case) -> list[str]:
    """Row pointers of kernel calls to rows that `in_region` does not ask for. (Where a call makes fewer rows than it
    could, it is given rows that it does not read: `Run` shows that.)"""
    operator, node = case.operator, case.node
    if operator.grain(node) is Grain.WHOLE:
        return []
    found, each = [], operator.step_rows(node)
    for y in range(0, node.out.form.rows + 1 - each, each):
        region = Region(y, y + each, 0, node.out.form.width)
        needs = operator.in_region(node, region)
        for call in operator.calls(node, region):
            for window in call.inputs:
                if window.index == OWN_OUTPUT:
                    continue
                first = window.table[y] if window.table is not None else y * window.stride - window.pad
                need = needs[window.index]
                for row in (first + window.dilation * j for j in range(window.count)):
                    inside = 0 <= row < node.tensor(window.index).form.rows
                    if inside and (need is None or not need.region.y0 <= row < need.region.y1):
                        found.append(f"output row {y}, input row {row}")
    return found


@pytest.mark.parametrize(("module", "index"), ALL)
def test_kernels_are_given_rows_that_in_region_asks_for(module: str, index: int) -> None:
    assert rows_outside_needs(cases_of(module)[index]) == []


@pytest.mark.parametrize(("module", "index"), ALL)
def test_kernels_that_carry_are_given_the_row_before(module: str, index: int) -> None:
    case = cases_of(module)[index]
    windows = [w for call in case.operator.calls(case.node, whole(case.node.out)) for w in call.inputs]
    carried = [w for w in windows if w.index == OWN_OUTPUT]
    assert carried == ([RowWindow(OWN_OUTPUT, stride=1, pad=1)] if case.operator.carries(case.node) else [])
    if carried:
        assert case.operator.grain(case.node) is Grain.ROW


def runs_of(case: Case) -> Iterator[tuple[str, Run, int]]:
    """Ways to run a case's kernels, with the seed of the inputs."""
    operator, node = case.operator, case.node
    if not operator.calls(node, whole(node.out)):  # a view
        assert operator.view(node) is not None or operator.rectangle(node) is not None
        return
    for variant in operator.variants(node):
        for name, run, seed in runs_of_variant(case):
            if variant != GENERIC and seed == 4:
                continue  # cores of their own run these too (test_on_target)
            yield f"{variant.name}, {name}", replace(run, variant=variant.name), seed
    for over in operator.over_window(node):
        run = Run(operator, node, case.inputs(6), variant=over.name, over_window=True)
        yield f"{over.name}, over a row of the window", run, 6
        yield f"{over.name}, apart", Run(operator, node, case.inputs(3), variant=over.name), 3


def runs_of_variant(case: Case) -> Iterator[tuple[str, Run, int]]:
    """The same of any variant whose output is not over its window."""
    operator, node = case.operator, case.node
    grain, full = operator.grain(node), whole(node.out)
    for seed in (2, 4):
        yield f"apart, inputs {seed}", Run(operator, node, case.inputs(seed)), seed
    if grain is not Grain.WHOLE and case.columns and full.x1 > 1 and not operator.keeps(node):
        left, right = full.x1 // 3, full.x1 - (full.x1 > 2)
        strip = Region(full.y1 // 2, full.y1, left, right)
        yield "a strip of columns", Run(operator, node, case.inputs(5), strip), 5
    if operator.carries(node):
        lower = Region(full.y1 // 2, full.y1, 0, full.x1)
        for region in (full, lower) if lower.y0 > 0 else (full,):
            name = f"rows {region.y0} to {region.y1 - 1}"
            yield f"{name}, apart", Run(operator, node, case.inputs(5), region), 5
            yield f"{name}, in one place", Run(operator, node, case.inputs(6), region, one_place=True), 6
    if grain is Grain.FLAT:
        yield "rows merged", Run(operator, node, case.inputs(5), merged=True), 5
    for k in operator.in_place(node):
        for shift in (0, 3):
            yield f"in place of input {k}, {shift} on", Run(operator, node, case.inputs(6), None, k, shift), 6
        if grain is Grain.FLAT:
            yield f"in place of input {k}, merged", Run(operator, node, case.inputs(6), None, k, 0, True), 6


@functools.cache
def kernel_failures(module: str) -> dict[int, list[str]]:
    """For each case of a test file, what the C kernels got wrong; one compilation for all."""
    plans = [(k, *r) for k, case in enumerate(cases_of(module)) for r in runs_of(case)]
    failures: dict[int, list[str]] = {k: [] for k in range(len(cases_of(module)))}
    if not plans:
        return failures
    with tempfile.TemporaryDirectory() as folder:
        try:
            outputs = run_kernels([run for _, _, run, _ in plans], Path(folder))
        except AssertionError as error:  # kept, so that it is not compiled again for each case
            return {k: [str(error)] for k in failures}
    for (k, name, run, seed), output in zip(plans, outputs, strict=True):
        case = cases_of(module)[k]
        expected = compute(case, run.out_region, row_forms(case, case.inputs(seed)), reference(case, seed))
        if not agrees(output, expected, case.operator.ulp(case.node)):
            where = np.argwhere(output != expected)[:1].tolist()
            failures[k].append(f"{name}: {int((output != expected).sum())} of {output.size} differ, first at {where}")
    return failures


@pytest.mark.parametrize(("module", "index"), ALL)
def test_c_kernels_equal_the_reference(module: str, index: int) -> None:
    assert kernel_failures(module)[index] == []


# Controls: each breaks one thing that the tests above must notice.


class ShortHalo(Conv2d):
    """Asks for one input row too few."""

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        need, *rest = super().in_region(node, out)
        assert need is not None
        short = replace(need, region=replace(need.region, y1=need.region.y1 - 1), bottom=need.bottom + 1)
        return (short, *rest)


class OtherConstant(Conv2d):
    """Passes one kernel constant that is off by one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        (call,) = super().calls(node, out, variant)
        return (replace(call, consts=tuple((n, v + (n == self.name)) for n, v in call.consts)),)


NODE = convolution((5, 6), 3, 5, (3, 3))


def output(operator: Operator, node: Node, folder: Path, in_place: int | None = None) -> tuple[Array, Array]:
    """Kernel output and reference output."""
    values = Case("control", operator, node).inputs(4)
    (got,) = run_kernels([Run(operator, node, values, in_place=in_place)], folder)
    return got, Conv2d().reference(node, values).reshape(got.shape)


def test_control_unbroken(tmp_path: Path) -> None:
    got, expected = output(Conv2d(), NODE, tmp_path)
    assert same(got, expected)


def test_control_halo_one_row_short() -> None:
    case = Case("short halo", ShortHalo(), NODE)
    assert rows_outside_needs(case)
    forms = row_forms(case, case.inputs(5))
    expected = Conv2d().reference(NODE, case.inputs(5)).reshape(5, 6, 5)
    assert not same(stitched(case, forms, [(0, 2), (2, 5)], np.random.default_rng(0)), expected)


def test_control_halo_one_row_short_in_c(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="AddressSanitizer"):
        output(ShortHalo(), NODE, tmp_path)


def test_control_wrong_padding_value(tmp_path: Path) -> None:
    got, expected = output(OtherConstant("in_zero_point"), NODE, tmp_path)
    assert not same(got, expected)


def test_control_a_row_read_beyond_its_end(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="AddressSanitizer"):
        output(OtherConstant("in_w"), NODE, tmp_path)


def test_control_a_row_written_beyond_its_end(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="AddressSanitizer"):
        output(OtherConstant("out_w"), NODE, tmp_path)


def test_control_in_place_where_it_is_not_allowed(tmp_path: Path) -> None:
    got, expected = output(Conv2d(), convolution((3, 8), 8, 8, (1, 1)), tmp_path, in_place=0)
    assert not same(got, expected)


def test_control_over_the_window_without_the_variant(tmp_path: Path) -> None:
    node = convolution((4, 8), 8, 0, (3, 3), multiplier=1)
    values = Case("control", DepthwiseConv2d(), node).inputs(4)
    expected = DepthwiseConv2d().reference(node, values).reshape(4, 8, 8)
    for variant, equal in ((IN_PLACE.name, True), (IN_PLACE_DSP.name, True), ("generic", False), ("dsp", False)):
        (got,) = run_kernels([Run(DepthwiseConv2d(), node, values, variant=variant, over_window=True)], tmp_path)
        assert same(got, expected) == equal


def test_control_other_rounding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = near_halves(depthwise=False)
    got, expected = output(Conv2d(), node, tmp_path)
    assert same(got, expected)
    monkeypatch.setattr("tinycompile.ops.convolution.multiply_by_quantized_multiplier", multiply_nearest)
    assert not same(got, output(Conv2d(), node, tmp_path)[1])


class SwappedLanes(Conv2d):
    """Packs its weights in another order than the inputs."""

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        (call,) = super().calls(node, out, variant)
        weights, *others = call.arrays
        flat = weights.data.reshape(-1, 4)[:, [1, 0, 2, 3]].reshape(weights.data.shape)
        return (replace(call, arrays=(replace(weights, data=flat), *others)),)


PACKED = {
    "pointwise": convolution((3, 4), 8, 4, (1, 1), ties=True),
    "gathered": convolution((4, 4), 4, 4, (3, 3), ties=True),
    "direct": convolution((4, 4), 20, 4, (3, 3), ties=True),
}


@pytest.mark.parametrize("name", PACKED)
def test_control_packed_weights_in_another_order(name: str, tmp_path: Path) -> None:
    node, expected = PACKED[name], reference(Case(name, Conv2d(), PACKED[name]), 4)
    values = Case(name, Conv2d(), node).inputs(4)
    for operator, equal in ((Conv2d(), True), (SwappedLanes(), False)):
        assert DSP in operator.variants(node)
        (got,) = run_kernels([Run(operator, node, values, variant=DSP.name)], tmp_path)
        assert same(got, expected) is equal


class OtherStage(DepthwiseConv2d):
    """Adds to one array of its output stage."""

    def __init__(self, param: str, more: int) -> None:
        self.param, self.more = param, more

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        (call,) = super().calls(node, out, variant)
        arrays = (replace(a, data=a.data + self.more) if a.param == self.param else a for a in call.arrays)
        return (replace(call, arrays=tuple(arrays)),)


@pytest.mark.parametrize(("param", "more"), [("bias", 1), ("shift", 1), ("multiplier", 1 << 20)])
def test_control_dsp_output_stage(param: str, more: int, tmp_path: Path) -> None:
    node = convolution((4, 6), 4, 0, (3, 3), multiplier=1, ties=True)
    values = Case("stage", DepthwiseConv2d(), node).inputs(4)
    expected = reference(Case("stage", DepthwiseConv2d(), node), 4)
    for operator, equal in ((OtherStage(param, 0), True), (OtherStage(param, more), False)):
        (got,) = run_kernels([Run(operator, node, values, variant=DSP.name)], tmp_path)
        assert same(got, expected) is equal


class ForgetfulSum(RowSum):
    """Adds each row to nothing, as the reference or as the kernel."""

    def advance(self, node: Node, out: Region, inputs: Sequence[Array | None], previous: Array) -> Array:
        return super().advance(node, out, inputs, np.zeros_like(previous))

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        (call,) = super().calls(node, out, variant)
        never = RowWindow(OWN_OUTPUT, stride=1, pad=1 + node.out.form.rows)
        return (replace(call, inputs=(call.inputs[0], never)),)


class LongerSum(RowSum):
    """Sums one channel more than there is."""

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        (call,) = super().calls(node, out, variant)
        return (replace(call, consts=tuple((n, v + (n == "ch")) for n, v in call.consts)),)


SUMMED = make_node(RowSum(), (activation("x", (1, 4, 3, 2)),), activation("y", ()), Attrs())


@pytest.mark.parametrize("one_place", [False, True])
def test_control_the_row_before_is_ignored(one_place: bool, tmp_path: Path) -> None:
    values = Case("control", RowSum(), SUMMED).inputs(4)
    expected = reference(Case("control", RowSum(), SUMMED), 4)
    for operator, equal in ((RowSum(), True), (ForgetfulSum(), False)):
        case = Case("control", operator, SUMMED)
        tiles = stitched(case, row_forms(case, values), [(0, 2), (2, 4)], np.random.default_rng(0))
        (got,) = run_kernels([Run(operator, SUMMED, values, one_place=one_place)], tmp_path)
        assert same(tiles, expected) is equal
        assert same(got, expected) is equal
        assert same(got[:1], expected[:1])


@pytest.mark.parametrize("one_place", [False, True])
def test_control_a_row_of_sums_written_beyond_its_end(one_place: bool, tmp_path: Path) -> None:
    values = Case("control", RowSum(), SUMMED).inputs(4)
    with pytest.raises(AssertionError, match="AddressSanitizer"):
        run_kernels([Run(LongerSum(), SUMMED, values, one_place=one_place)], tmp_path)
