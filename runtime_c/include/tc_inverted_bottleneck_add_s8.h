/* Inverted bottleneck whose input is added to what it projects, one output row or several. */
#ifndef TC_INVERTED_BOTTLENECK_ADD_S8_H
#define TC_INVERTED_BOTTLENECK_ADD_S8_H

#include "tc_inverted_bottleneck_s8.h"

/* As tc_inverted_bottleneck_s8, then tc_add_s8 of each projected pixel and in1's. in1: the input rows that are added,
   one for each output row, from column add_column on: one of the rows of its window or between them. A single output row
   may also begin where that does: no pixel is added left of the output's own column. */
TC_INLINE void tc_inverted_bottleneck_add_s8(
    int8_t *const *out, const int8_t *const *in0, const int8_t *const *in1, uint8_t *scratch,
    const int8_t *expand_weights, const int32_t *expand_bias, const int32_t *expand_multiplier,
    const int8_t *expand_shift, const int8_t *depthwise_weights, const int32_t *depthwise_bias,
    const int32_t *depthwise_multiplier, const int8_t *depthwise_shift, const int8_t *project_weights,
    const int32_t *project_bias, const int32_t *project_multiplier, const int8_t *project_shift, int32_t in_w,
    int32_t in_ch, int32_t mid_ch, int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
    int32_t dilation_w, int32_t pad_left, int32_t rows, int32_t held_h, int32_t stride_h, int32_t dilation_h,
    int32_t expand_zero_point, int32_t expand_lo, int32_t expand_hi, int32_t expand_bits, int32_t depthwise_zero_point,
    int32_t depthwise_lo, int32_t depthwise_hi, int32_t depthwise_bits, int32_t project_zero_point, int32_t project_lo,
    int32_t project_hi, int32_t project_bits, int32_t add_column, int32_t add_zero_point0, int32_t add_multiplier0,
    int32_t add_shift0, int32_t add_sign0, int32_t add_zero_point1, int32_t add_multiplier1, int32_t add_shift1,
    int32_t add_sign1, int32_t add_multiplier, int32_t add_shift, int32_t add_out_zero_point, int32_t add_lo,
    int32_t add_hi)
{
    const tc_inverted_bottleneck_addend add = {NULL,           add_zero_point0, add_multiplier0,    add_shift0,
                                               add_sign0,      add_zero_point1, add_multiplier1,    add_shift1,
                                               add_sign1,      add_multiplier,  add_shift,          add_out_zero_point,
                                               add_lo,         add_hi};
    tc_inverted_bottleneck_s8_rows(out, in0, scratch, expand_weights, expand_bias, expand_multiplier, expand_shift,
                                   depthwise_weights, depthwise_bias, depthwise_multiplier, depthwise_shift,
                                   project_weights, project_bias, project_multiplier, project_shift, in_w, in_ch,
                                   mid_ch, out_w, out_ch, kernel_h, kernel_w, stride_w, dilation_w, pad_left, rows,
                                   held_h, stride_h, dilation_h, expand_zero_point, expand_lo, expand_hi, expand_bits,
                                   depthwise_zero_point, depthwise_lo, depthwise_hi, depthwise_bits, project_zero_point,
                                   project_lo, project_hi, project_bits, in1, add_column, add);
}

#endif
