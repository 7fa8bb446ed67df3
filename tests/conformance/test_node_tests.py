"""ONNX's own node tests for the operators and types that are supported: right through the whole compiler to C.

``benchmarks/conformance.py`` runs any list of them and reports what is right, refused or wrong (docs/conformance.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from conformance import node_tests, run_test

PASSING = [
    "test_and_bcast4v2d",
    "test_argmax_negative_axis_keepdims_example_select_last_index",
    "test_clip_default_int8_min",
    "test_div_uint8",
    "test_cumsum_1d_int32_exclusive",
    "test_dropout_default_mask",
    "test_dynamicquantizelinear",
    "test_edge_pad",
    "test_max_one_input",
    "test_shape_start_1_end_2",
    "test_gather_0",
    "test_gelu_default_1",
    "test_group_normalization_epsilon",
    "test_layer_normalization_2d_axis1",
    "test_logsoftmax_large_number",
    "test_max_int16",
    "test_mean_two_inputs",
    "test_onehot_negative_indices",
    "test_pow_types_float32_int64",
    "test_reduce_l2_negative_axes_keep_dims_random",
    "test_rms_normalization_3d_axis1_epsilon",
    "test_slice_neg_steps",
    "test_softmax_axis_0",
    "test_spacetodepth_crd_mode_example",
    "test_split_1d_uneven_split_opset18",
    "test_split_variable_parts_2d_opset18",
    "test_where_long_example",
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
    "test_averagepool_3d_dilations_small",
    "test_convtranspose_3d",
    "test_dft_inverse",
    "test_gridsample_bicubic",
    "test_hannwindow",
    "test_lrn",
    "test_lstm_with_peepholes",
    "test_maxpool_with_argmax_2d_precomputed_strides",
    "test_qlinearmatmul_3D_uint8_float32",
    "test_quantizelinear_blocked_asymmetric",
    "test_resize_downsample_scales_cubic_antialias",
    "test_resize_tf_crop_and_resize_extrapolation_value",
    "test_scatternd_multiply",
    "test_top_k_smallest",
]
REFUSED = [
    "test_deform_conv_with_mask_bias",
    "test_roialign_mode_max",
    "test_sequence_insert_at_back",
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


@pytest.mark.slow
def test_none_of_all_is_wrong() -> None:
    """Some minutes: every node test is right, or refused."""
    found = {}
    for name in node_tests():
        outcome, detail = run_test(name)
        if outcome == "wrong":
            found[name] = detail
    assert found == {}
