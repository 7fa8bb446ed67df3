/* Convolution of a map, one output row; int8 weights. */
#ifndef TC_CONV2D_S8_H
#define TC_CONV2D_S8_H

#include "tc_dot_s8.h"
#include "tc_requantize.h"
#include "tc_taps.h"

/* `filters` (1 or 4) output channels from `oc` on, at the pixel whose first tap is input column x0. bits: of a weight, 8
   or 4, whose rows are those of the kernel (kernel_w * group_ch weights). */
TC_INLINE void tc_conv2d_s8_filters(int8_t *out, const int8_t *const *in0, const int8_t *weights, const int32_t *bias,
                                    const int32_t *multiplier, const int8_t *shift, int32_t oc, int32_t filters,
                                    int32_t x0, tc_taps taps, int32_t in_ch, int32_t first_ch, int32_t group_ch,
                                    int32_t kernel_h, int32_t kernel_w, int32_t dilation_w, int32_t in_zero_point,
                                    int32_t out_zero_point, int32_t lo, int32_t hi, int32_t bits)
{
    const int32_t row_weights = kernel_w * group_ch;
    const int32_t row_bytes = tc_weight_row_bytes(row_weights, bits);
    const int32_t pitch = kernel_h * row_bytes;
    const int32_t from = taps.from * group_ch;
    const int32_t to = taps.to * group_ch;
    uint32_t acc[4] = {0};
    for (int32_t f = 0; f < filters; ++f) {
        acc[f] = (uint32_t)bias[oc + f];
    }
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        const int8_t *const row = in0[ky];
        const int8_t *const w = weights + oc * pitch + ky * row_bytes;
        if (row == NULL) {
            tc_dot_s8_padding(acc, in_zero_point, w, 0, row_weights, row_weights, pitch, filters, bits);
            continue;
        }
        tc_dot_s8_padding(acc, in_zero_point, w, 0, from, row_weights, pitch, filters, bits);
        tc_dot_s8_padding(acc, in_zero_point, w, to, row_weights - to, row_weights, pitch, filters, bits);
        if (group_ch == in_ch && dilation_w == 1) {
            tc_dot_s8_row(acc, row + (x0 + taps.from) * in_ch, w, from, to - from, row_weights, pitch, filters, bits);
        } else {
            for (int32_t kx = taps.from; kx < taps.to; ++kx) {
                tc_dot_s8_row(acc, row + (x0 + kx * dilation_w) * in_ch + first_ch, w, kx * group_ch, group_ch,
                              row_weights, pitch, filters, bits);
            }
        }
    }
    for (int32_t f = 0; f < filters; ++f) {
        out[oc + f] = tc_output_s8(acc[f], multiplier[oc + f], shift[oc + f], out_zero_point, lo, hi);
    }
}

/* All output channels of one pixel. */
TC_INLINE void tc_conv2d_s8_pixel(int8_t *out, const int8_t *const *in0, const int8_t *weights, const int32_t *bias,
                                  const int32_t *multiplier, const int8_t *shift, int32_t x0, tc_taps taps,
                                  int32_t in_ch, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t dilation_w,
                                  int32_t groups, int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi,
                                  int32_t bits)
{
    const int32_t group_ch = in_ch / groups;
    const int32_t group_out = out_ch / groups;
    for (int32_t g = 0; g < groups; ++g) {
        const int32_t end = (g + 1) * group_out;
        int32_t oc = g * group_out;
        for (; oc + 3 < end; oc += 4) {
            tc_conv2d_s8_filters(out, in0, weights, bias, multiplier, shift, oc, 4, x0, taps, in_ch, g * group_ch,
                                 group_ch, kernel_h, kernel_w, dilation_w, in_zero_point, out_zero_point, lo, hi, bits);
        }
        if (group_out % 4 != 0) {
            for (; oc < end; ++oc) {
                tc_conv2d_s8_filters(out, in0, weights, bias, multiplier, shift, oc, 1, x0, taps, in_ch, g * group_ch,
                                     group_ch, kernel_h, kernel_w, dilation_w, in_zero_point, out_zero_point, lo, hi,
                                     bits);
            }
        }
    }
}

/* One output row, as below. */
TC_INLINE void tc_conv2d_s8_row(int8_t *out, const int8_t *const *in0, const int8_t *weights, const int32_t *bias,
                                const int32_t *multiplier, const int8_t *shift, int32_t in_w, int32_t in_ch,
                                int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                int32_t dilation_w, int32_t pad_left, int32_t groups, int32_t in_zero_point,
                                int32_t out_zero_point, int32_t lo, int32_t hi, int32_t bits)
{
    const tc_taps all = {0, kernel_w};
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        int8_t *const y = out + x * out_ch;
        if (x0 >= 0 && x0 + (kernel_w - 1) * dilation_w < in_w) {
            tc_conv2d_s8_pixel(y, in0, weights, bias, multiplier, shift, x0, all, in_ch, out_ch, kernel_h, kernel_w,
                               dilation_w, groups, in_zero_point, out_zero_point, lo, hi, bits);
        } else {
            const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);
            tc_conv2d_s8_pixel(y, in0, weights, bias, multiplier, shift, x0, taps, in_ch, out_ch, kernel_h, kernel_w,
                               dilation_w, groups, in_zero_point, out_zero_point, lo, hi, bits);
        }
    }
}

/* out: one row, (out_w, out_ch). in0: kernel_h input rows, (in_w, in_ch) each; NULL for a row in the padding.
   weights: OHWI, (out_ch, kernel_h, kernel_w, in_ch / groups). bias: out_ch values, less in_zero_point times the sum of
   the channel's weights. multiplier, shift: out_ch each, see tc_requantize. lo, hi: output clamp, within int8.
   No alignment needed. out must not overlap the input rows. */
TC_INLINE void tc_conv2d_s8(int8_t *out, const int8_t *const *in0, const int8_t *weights, const int32_t *bias,
                            const int32_t *multiplier, const int8_t *shift, int32_t in_w, int32_t in_ch, int32_t out_w,
                            int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
                            int32_t pad_left, int32_t groups, int32_t in_zero_point, int32_t out_zero_point, int32_t lo,
                            int32_t hi)
{
    tc_conv2d_s8_row(out, in0, weights, bias, multiplier, shift, in_w, in_ch, out_w, out_ch, kernel_h, kernel_w,
                     stride_w, dilation_w, pad_left, groups, in_zero_point, out_zero_point, lo, hi, 8);
}

#endif
