/* Convolution of a map of int16 values, one output row; int8 weights. */
#ifndef TC_CONV2D_S16_H
#define TC_CONV2D_S16_H

#include "tc_dot_s16.h"
#include "tc_requantize_s16.h"
#include "tc_taps.h"

/* `filters` (1 or 4) output channels from `oc` on, at the pixel whose first tap is input column x0. */
TC_INLINE void tc_conv2d_s16_filters(int16_t *out, const int16_t *const *in0, const int8_t *weights,
                                     const int64_t *bias, const int32_t *multiplier, const int8_t *shift, int32_t oc,
                                     int32_t filters, int32_t x0, tc_taps taps, int32_t in_ch, int32_t first_ch,
                                     int32_t group_ch, int32_t kernel_h, int32_t kernel_w, int32_t dilation_w,
                                     int32_t wide, int32_t lo, int32_t hi)
{
    const int32_t pitch = kernel_h * kernel_w * group_ch;
    int64_t acc[4] = {0};
    for (int32_t f = 0; f < filters; ++f) {
        acc[f] = bias[oc + f];
    }
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        const int16_t *const row = in0[ky];
        const int8_t *const w = weights + oc * pitch + ky * kernel_w * group_ch;
        if (row == NULL) {
            continue;
        }
        if (group_ch == in_ch && dilation_w == 1) {
            tc_dot_s16(acc, row + (x0 + taps.from) * in_ch, w + taps.from * group_ch, (taps.to - taps.from) * group_ch,
                       pitch, filters);
        } else {
            for (int32_t kx = taps.from; kx < taps.to; ++kx) {
                tc_dot_s16(acc, row + (x0 + kx * dilation_w) * in_ch + first_ch, w + kx * group_ch, group_ch, pitch,
                           filters);
            }
        }
    }
    for (int32_t f = 0; f < filters; ++f) {
        out[oc + f] = tc_output_s16(acc[f], multiplier[oc + f], shift[oc + f], wide, lo, hi);
    }
}

/* out: one row, (out_w, out_ch). in0: kernel_h input rows, (in_w, in_ch) each; NULL for a row in the padding, which
   adds nothing: zero points are 0. weights: OHWI, (out_ch, kernel_h, kernel_w, in_ch / groups). bias, multiplier, shift:
   out_ch each, see tc_output_s16, as for `wide`. lo, hi: output clamp, within int16. out must not overlap the input
   rows. */
TC_INLINE void tc_conv2d_s16(int16_t *out, const int16_t *const *in0, const int8_t *weights, const int64_t *bias,
                             const int32_t *multiplier, const int8_t *shift, int32_t in_w, int32_t in_ch, int32_t out_w,
                             int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
                             int32_t pad_left, int32_t groups, int32_t wide, int32_t lo, int32_t hi)
{
    const int32_t group_ch = in_ch / groups;
    const int32_t group_out = out_ch / groups;
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);
        int16_t *const y = out + x * out_ch;
        for (int32_t g = 0; g < groups; ++g) {
            const int32_t end = (g + 1) * group_out;
            int32_t oc = g * group_out;
            for (; oc + 3 < end; oc += 4) {
                tc_conv2d_s16_filters(y, in0, weights, bias, multiplier, shift, oc, 4, x0, taps, in_ch, g * group_ch,
                                      group_ch, kernel_h, kernel_w, dilation_w, wide, lo, hi);
            }
            if (group_out % 4 != 0) {
                for (; oc < end; ++oc) {
                    tc_conv2d_s16_filters(y, in0, weights, bias, multiplier, shift, oc, 1, x0, taps, in_ch,
                                          g * group_ch, group_ch, kernel_h, kernel_w, dilation_w, wide, lo, hi);
                }
            }
        }
    }
}

#endif
