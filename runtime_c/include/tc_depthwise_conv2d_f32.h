/* Depthwise convolution of a map of floats, one output row. */
#ifndef TC_DEPTHWISE_CONV2D_F32_H
#define TC_DEPTHWISE_CONV2D_F32_H

#include "tc_float.h"
#include "tc_taps.h"

/* `acc` and the products of one output channel's window. x: the first tap's column and channel, in elements of a row; w:
   the channel's first weight, others out_ch apart. */
TC_INLINE float tc_depthwise_conv2d_f32_window(float acc, const float *const *in0, const float *w, int32_t x,
                                               tc_taps taps, int32_t in_ch, int32_t out_ch, int32_t kernel_h,
                                               int32_t kernel_w, int32_t dilation_w)
{
    TC_UNROLL
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        const float *const row = in0[ky];
        if (row != NULL) {
            TC_UNROLL
            for (int32_t kx = taps.from; kx < taps.to; ++kx) {
                acc += row[x + kx * dilation_w * in_ch] * w[(ky * kernel_w + kx) * out_ch];
            }
        }
    }
    return acc;
}

/* out: one row, (out_w, out_ch). in0: kernel_h input rows, (in_w, in_ch) each; NULL for a row in the padding.
   weights: (kernel_h, kernel_w, out_ch), finite; output channel c * (out_ch / in_ch) + m reads input channel c. The rest
   as tc_conv2d_f32. out must not overlap the input rows. */
TC_INLINE void tc_depthwise_conv2d_f32(float *out, const float *const *in0, const float *weights, const float *bias,
                                       const float *limits, int32_t in_w, int32_t in_ch, int32_t out_w, int32_t out_ch,
                                       int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
                                       int32_t pad_left, int32_t lower, int32_t upper)
{
    const int32_t per_channel = out_ch / in_ch;
    const tc_taps all = {0, kernel_w};
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        float *const y = out + x * out_ch;
        if (x0 >= 0 && x0 + (kernel_w - 1) * dilation_w < in_w) {
            for (int32_t oc = 0; oc < out_ch; ++oc) {
                const float sum =
                    tc_depthwise_conv2d_f32_window(bias[oc], in0, weights + oc, x0 * in_ch + oc / per_channel, all,
                                                   in_ch, out_ch, kernel_h, kernel_w, dilation_w);
                y[oc] = tc_clamp_f32(sum, limits, lower, upper);
            }
        } else {
            const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);
            for (int32_t oc = 0; oc < out_ch; ++oc) {
                const float sum =
                    tc_depthwise_conv2d_f32_window(bias[oc], in0, weights + oc, x0 * in_ch + oc / per_channel, taps,
                                                   in_ch, out_ch, kernel_h, kernel_w, dilation_w);
                y[oc] = tc_clamp_f32(sum, limits, lower, upper);
            }
        }
    }
}

#endif
