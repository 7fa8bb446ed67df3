/* Inverted bottleneck, one output row or several, a few expanded channels at a time: what these add to the projection is
   kept as sums of int32. */
#ifndef TC_INVERTED_BOTTLENECK_SUMS_S8_H
#define TC_INVERTED_BOTTLENECK_SUMS_S8_H

#include "tc_inverted_bottleneck_s8.h"

/* Adds to the sums of pixel x of `made` rows what a group of mid_ch expanded channels, all arrays theirs, gives it.
   sums: (made, out_w, out_ch). project_weights: (out_ch, mid_ch). The rest as tc_inverted_bottleneck_s8. */
TC_INLINE void tc_inverted_bottleneck_sums_s8_group(
    uint32_t *sums, const int8_t *const *in0, int8_t *ring, const int8_t *expand_weights, const int32_t *expand_bias,
    const int32_t *expand_multiplier, const int8_t *expand_shift, const int8_t *depthwise_weights,
    const int32_t *depthwise_bias, const int32_t *depthwise_multiplier, const int8_t *depthwise_shift,
    const int8_t *project_weights, int32_t in_w, int32_t in_ch, int32_t mid_ch, int32_t out_w, int32_t out_ch,
    int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left, int32_t made,
    int32_t held_h, int32_t stride_h, int32_t dilation_h, int32_t expand_zero_point, int32_t expand_lo,
    int32_t expand_hi, int32_t expand_bits, int32_t depthwise_zero_point, int32_t depthwise_lo, int32_t depthwise_hi,
    int32_t depthwise_bits, int32_t project_bits)
{
    const int32_t span = (kernel_w - 1) * dilation_w + 1;
    const int32_t given_h = (made - 1) * stride_h + (kernel_h - 1) * dilation_h + 1;
    const int32_t pitch = tc_weight_row_bytes(mid_ch, project_bits);
    int8_t *const filtered = ring + span * held_h * mid_ch;
    int32_t first = 0;
    for (int32_t x = 0; x < out_w; ++x) {
        tc_inverted_bottleneck_s8_advance(ring, in0, expand_weights, expand_bias, expand_multiplier, expand_shift, x,
                                          first, span, stride_w, pad_left, in_w, in_ch, mid_ch, held_h, given_h,
                                          expand_zero_point, expand_lo, expand_hi, expand_bits);
        for (int32_t t = 0; t < made; ++t) {
            uint32_t *const pixel = sums + (t * out_w + x) * out_ch;
            int32_t oc = 0;
            tc_inverted_bottleneck_s8_depthwise(filtered, ring + t * stride_h * mid_ch, depthwise_weights,
                                                depthwise_bias, depthwise_multiplier, depthwise_shift, first, span,
                                                mid_ch, kernel_h, kernel_w, dilation_w, held_h, dilation_h,
                                                depthwise_zero_point, depthwise_lo, depthwise_hi, depthwise_bits);
            for (; oc + 3 < out_ch; oc += 4) {
                tc_dot_s8_row(pixel + oc, filtered, project_weights + oc * pitch, 0, mid_ch, mid_ch, pitch, 4,
                              project_bits);
            }
            for (; oc < out_ch; ++oc) {
                tc_dot_s8_row(pixel + oc, filtered, project_weights + oc * pitch, 0, mid_ch, mid_ch, pitch, 1,
                              project_bits);
            }
        }
        first = (first + stride_w) % span;
    }
}

/* The rows of the block, see below. addends: the rows that are added, NULL where nothing is. */
TC_INLINE void tc_inverted_bottleneck_sums_s8_rows(
    int8_t *const *out, const int8_t *const *in0, uint8_t *scratch, const int8_t *expand_weights,
    const int32_t *expand_bias, const int32_t *expand_multiplier, const int8_t *expand_shift,
    const int8_t *depthwise_weights, const int32_t *depthwise_bias, const int32_t *depthwise_multiplier,
    const int8_t *depthwise_shift, const int8_t *project_weights, const int32_t *project_bias,
    const int32_t *project_multiplier, const int8_t *project_shift, int32_t in_w, int32_t in_ch, int32_t mid_ch,
    int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
    int32_t pad_left, int32_t rows, int32_t held_h, int32_t stride_h, int32_t dilation_h, int32_t group_ch,
    int32_t expand_zero_point, int32_t expand_lo, int32_t expand_hi, int32_t expand_bits, int32_t depthwise_zero_point,
    int32_t depthwise_lo, int32_t depthwise_hi, int32_t depthwise_bits, int32_t project_zero_point, int32_t project_lo,
    int32_t project_hi, int32_t project_bits, const int8_t *const *addends, int32_t column,
    tc_inverted_bottleneck_addend add)
{
    const int32_t taps = kernel_h * kernel_w;
    uint32_t *const sums = (uint32_t *)(void *)scratch;
    int8_t *const ring = (int8_t *)scratch + 4 * rows * out_w * out_ch;
    const int32_t made = tc_inverted_bottleneck_s8_made(out, rows);
    int32_t c = 0;
    for (int32_t i = 0; i < made * out_w; ++i) {
        for (int32_t oc = 0; oc < out_ch; ++oc) {
            sums[i * out_ch + oc] = (uint32_t)project_bias[oc];
        }
    }
    for (; c + group_ch <= mid_ch; c += group_ch) {
        tc_inverted_bottleneck_sums_s8_group(
            sums, in0, ring, expand_weights + c * tc_weight_row_bytes(in_ch, expand_bits), expand_bias + c,
            expand_multiplier + c, expand_shift + c, depthwise_weights + tc_weight_row_bytes(c, depthwise_bits) * taps,
            depthwise_bias + c, depthwise_multiplier + c, depthwise_shift + c,
            project_weights + tc_weight_row_bytes(c, project_bits) * out_ch, in_w, in_ch, group_ch, out_w, out_ch,
            kernel_h, kernel_w, stride_w, dilation_w, pad_left, made, held_h, stride_h, dilation_h, expand_zero_point,
            expand_lo, expand_hi, expand_bits, depthwise_zero_point, depthwise_lo, depthwise_hi, depthwise_bits,
            project_bits);
    }
    if (mid_ch % group_ch != 0) { /* apart, so that the number of channels is a constant in both calls */
        tc_inverted_bottleneck_sums_s8_group(
            sums, in0, ring, expand_weights + c * tc_weight_row_bytes(in_ch, expand_bits), expand_bias + c,
            expand_multiplier + c, expand_shift + c, depthwise_weights + tc_weight_row_bytes(c, depthwise_bits) * taps,
            depthwise_bias + c, depthwise_multiplier + c, depthwise_shift + c,
            project_weights + tc_weight_row_bytes(c, project_bits) * out_ch, in_w, in_ch, mid_ch % group_ch, out_w,
            out_ch, kernel_h, kernel_w, stride_w, dilation_w, pad_left, made, held_h, stride_h, dilation_h,
            expand_zero_point, expand_lo, expand_hi, expand_bits, depthwise_zero_point, depthwise_lo, depthwise_hi,
            depthwise_bits, project_bits);
    }
    for (int32_t t = 0; t < made; ++t) {
        for (int32_t i = 0; i < out_w * out_ch; ++i) {
            const int32_t oc = i % out_ch;
            int8_t y = tc_output_s8(sums[t * out_w * out_ch + i], project_multiplier[oc], project_shift[oc],
                                    project_zero_point, project_lo, project_hi);
            if (addends != NULL) {
                const int8_t projected = y;
                tc_add_s8(&y, &projected, addends[t] + column * in_ch + i, 1, 1, 0, 1, 0, 1, add.zero_point0,
                          add.multiplier0, add.shift0, add.sign0, add.zero_point1, add.multiplier1, add.shift1,
                          add.sign1, add.multiplier, add.shift, add.out_zero_point, add.lo, add.hi);
            }
            out[t][i] = y;
        }
    }
}

/* As tc_inverted_bottleneck_s8, but for these. group_ch: channels that are expanded at a time, the last time mid_ch %
   group_ch if that is not 0; a multiple of 8 where weights are of 4 bits. scratch:
   (((kernel_w - 1) * dilation_w + 1) * held_h + 1) * group_ch bytes behind 4 * rows * out_w * out_ch for the sums,
   aligned to 4. Each time, the input rows are read again.
   depthwise_weights: for each group (kernel_w, kernel_h, its channels), project_weights: (out_ch, its channels), the
   groups one behind the other. Rows may be written over input rows as there, whatever their channels: nothing is written
   before the last input row has been read, but for what is added. */
TC_INLINE void tc_inverted_bottleneck_sums_s8(
    int8_t *const *out, const int8_t *const *in0, uint8_t *scratch, const int8_t *expand_weights,
    const int32_t *expand_bias, const int32_t *expand_multiplier, const int8_t *expand_shift,
    const int8_t *depthwise_weights, const int32_t *depthwise_bias, const int32_t *depthwise_multiplier,
    const int8_t *depthwise_shift, const int8_t *project_weights, const int32_t *project_bias,
    const int32_t *project_multiplier, const int8_t *project_shift, int32_t in_w, int32_t in_ch, int32_t mid_ch,
    int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
    int32_t pad_left, int32_t rows, int32_t held_h, int32_t stride_h, int32_t dilation_h, int32_t group_ch,
    int32_t expand_zero_point, int32_t expand_lo, int32_t expand_hi, int32_t expand_bits, int32_t depthwise_zero_point,
    int32_t depthwise_lo, int32_t depthwise_hi, int32_t depthwise_bits, int32_t project_zero_point, int32_t project_lo,
    int32_t project_hi, int32_t project_bits)
{
    const tc_inverted_bottleneck_addend none = {0};
    tc_inverted_bottleneck_sums_s8_rows(
        out, in0, scratch, expand_weights, expand_bias, expand_multiplier, expand_shift, depthwise_weights,
        depthwise_bias, depthwise_multiplier, depthwise_shift, project_weights, project_bias, project_multiplier,
        project_shift, in_w, in_ch, mid_ch, out_w, out_ch, kernel_h, kernel_w, stride_w, dilation_w, pad_left, rows,
        held_h, stride_h, dilation_h, group_ch, expand_zero_point, expand_lo, expand_hi, expand_bits,
        depthwise_zero_point, depthwise_lo, depthwise_hi, depthwise_bits, project_zero_point, project_lo, project_hi,
        project_bits, NULL, 0, none);
}

#endif
