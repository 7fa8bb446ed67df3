"""resize_nearest and resize_bilinear against LiteRT's reference kernels; ONNX's modes against onnx's own reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from litert_models import run_litert, single_op_model
from operator_cases import Case, activation, constant, make_node

from tinycompile.ir.graph import Node
from tinycompile.ops.resize import Resize, ResizeAttrs
from tinycompile.ops.resize_bilinear import ResizeBilinear
from tinycompile.ops.resize_nearest import ResizeNearest

OPERATORS: dict[str, Resize] = {"nearest": ResizeNearest(), "bilinear": ResizeBilinear()}
SIZES = [((4, 5), (8, 10)), ((8, 6), (4, 3)), ((3, 7), (7, 3)), ((5, 5), (1, 1)), ((1, 1), (3, 4)), ((6, 4), (9, 10))]
SIZES += [((4, 6), (3, 4)), ((6, 9), (2, 3))]  # the last, of half pixels, begins with the second column


def node(kind: str, size: tuple[int, int], to: tuple[int, int], channels: int = 3, **attrs: object) -> Node:
    x, y = activation("x", (1, *size, channels), 0.05, 3), activation("y", (), 0.05, 3)
    return make_node(OPERATORS[kind], (x,), y, ResizeAttrs(to, **attrs))  # type: ignore[arg-type]


def cases() -> list[Case]:
    result = []
    for kind in OPERATORS:
        for k, (size, to) in enumerate(SIZES):
            n = node(kind, size, to, half_pixel=bool(k & 1), align_corners=k == 2)
            result.append(Case(f"{kind}_{k}", OPERATORS[kind], n))
    return result


@pytest.mark.parametrize(("align", "half"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(("size", "to"), SIZES)
@pytest.mark.parametrize("kind", OPERATORS)
def test_equals_litert(kind: str, size: tuple[int, int], to: tuple[int, int], align: bool, half: bool) -> None:
    n = node(kind, size, to, align_corners=align, half_pixel=half)
    builtin, options = {
        "nearest": ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
        "bilinear": ("RESIZE_BILINEAR", "ResizeBilinearOptions"),
    }[kind]
    target = constant("size", np.array(to, dtype=np.int32))
    model = single_op_model(
        builtin, [n.inputs[0], target], n.out, options, version=3, alignCorners=align, halfPixelCenters=half
    )
    for seed in range(5):
        x = Case("", OPERATORS[kind], n).inputs(seed)[0]
        assert x is not None
        np.testing.assert_array_equal(OPERATORS[kind].reference(n, [x]), run_litert(model, [x]))


MODES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "to"), SIZES)
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_nearest_is_onnx(mode: str, size: tuple[int, int], to: tuple[int, int], rounding: str) -> None:
    from onnx.backend.test.case.node.resize import interpolate_nd, nearest_coeffs

    n = node("nearest", size, to, 1, mode=mode, nearest_mode=rounding)
    x = Case("", OPERATORS["nearest"], n).inputs(5)[0]
    assert x is not None
    want = interpolate_nd(
        x[0, :, :, 0].astype(float),
        lambda r, _: nearest_coeffs(r, mode=rounding),
        output_size=np.array(to),
        scale_factors=np.array([t / s for t, s in zip(to, size, strict=True)]),
        coordinate_transformation_mode=mode,
    )
    np.testing.assert_array_equal(OPERATORS["nearest"].reference(n, [x])[0, :, :, 0], want)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "to"), SIZES)
def test_bilinear_is_onnx_within_one_lsb(mode: str, size: tuple[int, int], to: tuple[int, int]) -> None:
    from onnx.backend.test.case.node.resize import interpolate_nd, linear_coeffs

    n = node("bilinear", size, to, 1, mode=mode)
    x = Case("", OPERATORS["bilinear"], n).inputs(5)[0]
    assert x is not None
    want = interpolate_nd(
        x[0, :, :, 0].astype(float),
        lambda r, _: linear_coeffs(r),
        output_size=np.array(to),
        scale_factors=np.array([t / s for t, s in zip(to, size, strict=True)]),
        coordinate_transformation_mode=mode,
    )
    assert np.abs(OPERATORS["bilinear"].reference(n, [x])[0, :, :, 0] - want).max() <= 1.0


def test_cases_cover_growing_and_shrinking() -> None:
    assert any(a[0] < b[0] for a, b in SIZES)
    assert any(a[0] > b[0] for a, b in itertools.chain(SIZES))
