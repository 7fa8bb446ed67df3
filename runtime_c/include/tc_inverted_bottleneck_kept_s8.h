/* Inverted bottleneck that keeps its expanded pixels from one output row to the next, one output row. */
#ifndef TC_INVERTED_BOTTLENECK_KEPT_S8_H
#define TC_INVERTED_BOTTLENECK_KEPT_S8_H

#include "tc_inverted_bottleneck_s8.h"

/* The slot of pixel (row, column) of the expanded map, which need not lie inside. */
TC_INLINE int32_t tc_inverted_bottleneck_kept_s8_slot(int32_t row, int32_t column, int32_t covered, int32_t slots)
{
    const int32_t number = (row * covered + column) % slots;
    return number < 0 ? number + slots : number;
}

/* One pixel of the depthwise convolution, the window's first tap at (row, column), in slot `first` of the ring. inside:
   whether all taps are; the others are zero_point. weights: (kernel_h, kernel_w, mid_ch). */
TC_INLINE void tc_inverted_bottleneck_kept_s8_depthwise(
    int8_t *out, const int8_t *ring, const int8_t *weights, const int32_t *bias, const int32_t *multiplier,
    const int8_t *shift, int32_t inside, int32_t row, int32_t column, int32_t first, int32_t in_h, int32_t in_w,
    int32_t mid_ch, int32_t kernel_h, int32_t kernel_w, int32_t dilation_h, int32_t dilation_w, int32_t covered,
    int32_t slots, int32_t zero_point, int32_t out_zero_point, int32_t lo, int32_t hi, int32_t bits)
{
    const int32_t down = dilation_h * covered % slots;
    const int32_t right = dilation_w % slots;
    const int32_t pitch = tc_weight_row_bytes(mid_ch, bits);
    for (int32_t c = 0; c < mid_ch; ++c) {
        const tc_weight_place at = tc_weight_at(c, mid_ch, bits);
        int32_t sum = 0;
        int32_t left = first;
        TC_UNROLL
        for (int32_t ky = 0; ky < kernel_h; ++ky) {
            const int32_t y = row + ky * dilation_h;
            int32_t slot = left;
            TC_UNROLL
            for (int32_t kx = 0; kx < kernel_w; ++kx) {
                const int32_t x = column + kx * dilation_w;
                const int32_t there = inside || (y >= 0 && y < in_h && x >= 0 && x < in_w);
                sum += (there ? ring[slot * mid_ch + c] : zero_point) *
                       tc_weight_in(weights[(ky * kernel_w + kx) * pitch + at.byte], at.part);
                slot = slot + right < slots ? slot + right : slot + right - slots;
            }
            left = left + down < slots ? left + down : left + down - slots;
        }
        out[c] = tc_output_s8((uint32_t)bias[c] + (uint32_t)sum, multiplier[c], shift[c], out_zero_point, lo, hi);
    }
}

/* One row of the block, see below. */
TC_INLINE void tc_inverted_bottleneck_kept_s8_row(
    int8_t *out, const int8_t *const *in0, int32_t y, uint8_t *scratch, const int8_t *expand_weights,
    const int32_t *expand_bias, const int32_t *expand_multiplier, const int8_t *expand_shift,
    const int8_t *depthwise_weights, const int32_t *depthwise_bias, const int32_t *depthwise_multiplier,
    const int8_t *depthwise_shift, const int8_t *project_weights, const int32_t *project_bias,
    const int32_t *project_multiplier, const int8_t *project_shift, int32_t in_w, int32_t in_ch, int32_t mid_ch,
    int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
    int32_t pad_left, int32_t in_h, int32_t stride_h, int32_t dilation_h, int32_t pad_top, int32_t given_h,
    int32_t covered, int32_t slots, int32_t expand_zero_point, int32_t expand_lo, int32_t expand_hi,
    int32_t expand_bits, int32_t depthwise_zero_point, int32_t depthwise_lo, int32_t depthwise_hi,
    int32_t depthwise_bits, int32_t project_zero_point, int32_t project_lo, int32_t project_hi, int32_t project_bits,
    tc_inverted_bottleneck_addend add)
{
    const int32_t span_h = (kernel_h - 1) * dilation_h + 1;
    const int32_t span_w = (kernel_w - 1) * dilation_w + 1;
    int8_t *const ring = (int8_t *)scratch;
    int8_t *const filtered = ring + slots * mid_ch;
    const int32_t top = y * stride_h - pad_top;
    const int32_t given = top + span_h - given_h; /* the row that in0 begins with */
    const int32_t last = top + span_h < in_h ? top + span_h - 1 : in_h - 1;
    /* The first row that no output row above has expanded. */
    int32_t row = y > 0 && top - stride_h + span_h > top ? top - stride_h + span_h : top;
    int32_t column = 0;
    row = row > 0 ? row : 0;
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        const int32_t end = tc_clamp(x0 + span_w, 0, covered);
        for (; row <= last; ++row) {
            for (; column < (row < last ? covered : end); ++column) {
                if (stride_w > span_w && (column + pad_left) % stride_w >= span_w) {
                    continue; /* between two windows */
                }
                tc_inverted_bottleneck_s8_pointwise(
                    ring + tc_inverted_bottleneck_kept_s8_slot(row, column, covered, slots) * mid_ch,
                    in0[row - given] + column * in_ch, expand_weights, expand_bias, expand_multiplier, expand_shift,
                    in_ch, mid_ch, expand_zero_point, expand_lo, expand_hi, expand_bits);
            }
            if (row == last) {
                break;
            }
            column = 0;
        }
        const int32_t first = tc_inverted_bottleneck_kept_s8_slot(top, x0, covered, slots);
        if (top >= 0 && top + span_h <= in_h && x0 >= 0 && x0 + span_w <= in_w) {
            tc_inverted_bottleneck_kept_s8_depthwise(filtered, ring, depthwise_weights, depthwise_bias,
                                                     depthwise_multiplier, depthwise_shift, 1, top, x0, first, in_h,
                                                     in_w, mid_ch, kernel_h, kernel_w, dilation_h, dilation_w, covered,
                                                     slots, expand_zero_point, depthwise_zero_point, depthwise_lo,
                                                     depthwise_hi, depthwise_bits);
        } else {
            tc_inverted_bottleneck_kept_s8_depthwise(filtered, ring, depthwise_weights, depthwise_bias,
                                                     depthwise_multiplier, depthwise_shift, 0, top, x0, first, in_h,
                                                     in_w, mid_ch, kernel_h, kernel_w, dilation_h, dilation_w, covered,
                                                     slots, expand_zero_point, depthwise_zero_point, depthwise_lo,
                                                     depthwise_hi, depthwise_bits);
        }
        tc_inverted_bottleneck_s8_project(out, filtered, project_weights, project_bias, project_multiplier,
                                          project_shift, x, mid_ch, out_ch, project_zero_point, project_lo, project_hi,
                                          project_bits, add);
    }
}

/* As tc_inverted_bottleneck_s8, called for all output rows y in turn with one scratch, which is not touched in between.
   in0: the last given_h input rows of the window, of which only those are read that no output row above has read.
   scratch: (slots + 1) * mid_ch bytes: pixel (r, c) of the expanded map in slot (r * covered + c) % slots, and one
   pixel of the depthwise convolution. covered: columns up to the last that some window reaches. Pixels are expanded in
   raster order, each just before the first output pixel that needs it; slots: at least a window's width more than the
   pixels in (kernel_h - 1) * dilation_h rows of `covered`. depthwise_weights: (kernel_h, kernel_w, mid_ch). */
TC_INLINE void tc_inverted_bottleneck_kept_s8(
    int8_t *out, const int8_t *const *in0, int32_t y, uint8_t *scratch, const int8_t *expand_weights,
    const int32_t *expand_bias, const int32_t *expand_multiplier, const int8_t *expand_shift,
    const int8_t *depthwise_weights, const int32_t *depthwise_bias, const int32_t *depthwise_multiplier,
    const int8_t *depthwise_shift, const int8_t *project_weights, const int32_t *project_bias,
    const int32_t *project_multiplier, const int8_t *project_shift, int32_t in_w, int32_t in_ch, int32_t mid_ch,
    int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
    int32_t pad_left, int32_t in_h, int32_t stride_h, int32_t dilation_h, int32_t pad_top, int32_t given_h,
    int32_t covered, int32_t slots, int32_t expand_zero_point, int32_t expand_lo, int32_t expand_hi,
    int32_t expand_bits, int32_t depthwise_zero_point, int32_t depthwise_lo, int32_t depthwise_hi,
    int32_t depthwise_bits, int32_t project_zero_point, int32_t project_lo, int32_t project_hi, int32_t project_bits)
{
    const tc_inverted_bottleneck_addend none = {0};
    tc_inverted_bottleneck_kept_s8_row(out, in0, y, scratch, expand_weights, expand_bias, expand_multiplier,
                                       expand_shift, depthwise_weights, depthwise_bias, depthwise_multiplier,
                                       depthwise_shift, project_weights, project_bias, project_multiplier,
                                       project_shift, in_w, in_ch, mid_ch, out_w, out_ch, kernel_h, kernel_w, stride_w,
                                       dilation_w, pad_left, in_h, stride_h, dilation_h, pad_top, given_h, covered,
                                       slots, expand_zero_point, expand_lo, expand_hi, expand_bits,
                                       depthwise_zero_point, depthwise_lo, depthwise_hi, depthwise_bits,
                                       project_zero_point, project_lo, project_hi, project_bits, none);
}

#endif
