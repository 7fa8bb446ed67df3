/* Convolution of a map of floats, one output row. */
#ifndef TC_CONV2D_F32_H
#define TC_CONV2D_F32_H

#include "tc_dot_f32.h"
#include "tc_taps.h"

/* `filters` (1 or 4) output channels from `oc` on, at the pixel whose first tap is input column x0. */
TC_INLINE void tc_conv2d_f32_filters(float *out, const float *const *in0, const float *weights, const float *bias,
                                     const float *limits, int32_t oc, int32_t filters, int32_t x0, tc_taps taps,
                                     int32_t in_ch, int32_t first_ch, int32_t group_ch, int32_t kernel_h,
                                     int32_t kernel_w, int32_t dilation_w, int32_t lower, int32_t upper)
{
    const int32_t row_weights = kernel_w * group_ch;
    const int32_t pitch = kernel_h * row_weights;
    float acc[4] = {0};
    for (int32_t f = 0; f < filters; ++f) {
        acc[f] = bias[oc + f];
    }
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        const float *const row = in0[ky];
        const float *const w = weights + oc * pitch + ky * row_weights;
        if (row == NULL) {
            continue;
        }
        if (group_ch == in_ch && dilation_w == 1) {
            tc_dot_f32(acc, row + (x0 + taps.from) * in_ch, w + taps.from * group_ch, (taps.to - taps.from) * group_ch,
                       pitch, filters);
        } else {
            for (int32_t kx = taps.from; kx < taps.to; ++kx) {
                tc_dot_f32(acc, row + (x0 + kx * dilation_w) * in_ch + first_ch, w + kx * group_ch, group_ch, pitch,
                           filters);
            }
        }
    }
    for (int32_t f = 0; f < filters; ++f) {
        out[oc + f] = tc_clamp_f32(acc[f], limits, lower, upper);
    }
}

/* All output channels of one pixel. */
TC_INLINE void tc_conv2d_f32_pixel(float *out, const float *const *in0, const float *weights, const float *bias,
                                   const float *limits, int32_t x0, tc_taps taps, int32_t in_ch, int32_t out_ch,
                                   int32_t kernel_h, int32_t kernel_w, int32_t dilation_w, int32_t groups,
                                   int32_t lower, int32_t upper)
{
    const int32_t group_ch = in_ch / groups;
    const int32_t group_out = out_ch / groups;
    for (int32_t g = 0; g < groups; ++g) {
        const int32_t end = (g + 1) * group_out;
        int32_t oc = g * group_out;
        for (; oc + 3 < end; oc += 4) {
            tc_conv2d_f32_filters(out, in0, weights, bias, limits, oc, 4, x0, taps, in_ch, g * group_ch, group_ch,
                                  kernel_h, kernel_w, dilation_w, lower, upper);
        }
        if (group_out % 4 != 0) {
            for (; oc < end; ++oc) {
                tc_conv2d_f32_filters(out, in0, weights, bias, limits, oc, 1, x0, taps, in_ch, g * group_ch, group_ch,
                                      kernel_h, kernel_w, dilation_w, lower, upper);
            }
        }
    }
}

/* out: one row, (out_w, out_ch). in0: kernel_h input rows, (in_w, in_ch) each; NULL for a row in the padding, which is
   left out of the sums. weights: OHWI, (out_ch, kernel_h, kernel_w, in_ch / groups), finite. bias: out_ch values.
   limits, lower, upper: output clamp, see tc_clamp_f32. A sum begins with the bias; products are added in the order of
   the weights. out must not overlap the input rows. */
TC_INLINE void tc_conv2d_f32(float *out, const float *const *in0, const float *weights, const float *bias,
                             const float *limits, int32_t in_w, int32_t in_ch, int32_t out_w, int32_t out_ch,
                             int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                             int32_t groups, int32_t lower, int32_t upper)
{
    const tc_taps all = {0, kernel_w};
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        float *const y = out + x * out_ch;
        if (x0 >= 0 && x0 + (kernel_w - 1) * dilation_w < in_w) {
            tc_conv2d_f32_pixel(y, in0, weights, bias, limits, x0, all, in_ch, out_ch, kernel_h, kernel_w, dilation_w,
                                groups, lower, upper);
        } else {
            const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);
            tc_conv2d_f32_pixel(y, in0, weights, bias, limits, x0, taps, in_ch, out_ch, kernel_h, kernel_w, dilation_w,
                                groups, lower, upper);
        }
    }
}

#endif
