"""ONNX's own node tests for the operators and types that are supported: right through the whole compiler to C.

``benchmarks/conformance.py`` runs any list of them and reports what is right, refused or wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from conformance import run_test

PASSING = [
    "test_relu",
    "test_add_bcast",
    "test_clip",
    "test_leakyrelu",
    "test_qlinearconv",
    "test_conv_with_strides_padding",
    "test_conv_with_autopad_same",
    "test_convtranspose_output_shape",
    "test_convtranspose_autopad_same",
    "test_averagepool_2d_ceil",
    "test_averagepool_2d_dilations",
    "test_maxpool_2d_ceil",
    "test_matmul_4d",
    "test_resize_upsample_scales_linear_align_corners",
    "test_qlinearmatmul_2D_int8_float32",
    "test_qlinearmatmul_2D_uint8_float32",
    "test_maxpool_2d_uint8",
    "test_quantizelinear",
    "test_dequantizelinear",
    "test_transpose_all_permutations_2",
    "test_transpose_all_permutations_5",
    "test_concat_1d_axis_0",
    "test_concat_3d_axis_1",
    "test_flatten_axis2",
    "test_squeeze",
    "test_reshape_reordered_all_dims",
]
REFUSED = [
    "test_lstm_defaults",
    "test_quantizelinear_blocked_asymmetric",
]


@pytest.mark.parametrize("name", PASSING)
def test_right(name: str) -> None:
    outcome, detail = run_test(name)
    assert outcome in ("passed", "frozen"), detail


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name: str) -> None:
    outcome, detail = run_test(name)
    assert outcome == "refused"
    assert detail.startswith("TC30")
