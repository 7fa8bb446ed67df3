/* Depthwise convolution of a map of int16 values, one output row; int8 weights. */
#ifndef TC_DEPTHWISE_CONV2D_S16_H
#define TC_DEPTHWISE_CONV2D_S16_H

#include "tc_requantize_s16.h"
#include "tc_taps.h"

/* Window sum of one output channel. x: the first tap's column and channel, in elements of a row; w: the channel's first
   weight, others out_ch apart. kernel_w < 512, so that a row of products fits int32. */
TC_INLINE int64_t tc_depthwise_conv2d_s16_sum(const int16_t *const *in0, const int8_t *w, int32_t x, tc_taps taps,
                                              int32_t in_ch, int32_t out_ch, int32_t kernel_h, int32_t kernel_w,
                                              int32_t dilation_w)
{
    int64_t sum = 0;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        if (in0[ky] != NULL) {
            int32_t row = 0;
            for (int32_t kx = taps.from; kx < taps.to; ++kx) {
                row += in0[ky][x + kx * dilation_w * in_ch] * w[(ky * kernel_w + kx) * out_ch];
            }
            sum += row;
        }
    }
    return sum;
}

/* out: one row, (out_w, out_ch). in0: kernel_h input rows, (in_w, in_ch) each; NULL for a row in the padding.
   weights: (kernel_h, kernel_w, out_ch); output channel c * (out_ch / in_ch) + m reads input channel c. The rest as
   tc_conv2d_s16. out must not overlap the input rows. */
TC_INLINE void tc_depthwise_conv2d_s16(int16_t *out, const int16_t *const *in0, const int8_t *weights,
                                       const int64_t *bias, const int32_t *multiplier, const int8_t *shift,
                                       int32_t in_w, int32_t in_ch, int32_t out_w, int32_t out_ch, int32_t kernel_h,
                                       int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                       int32_t wide, int32_t lo, int32_t hi)
{
    const int32_t per_channel = out_ch / in_ch;
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);
        for (int32_t oc = 0; oc < out_ch; ++oc) {
            const int64_t sum = tc_depthwise_conv2d_s16_sum(in0, weights + oc, x0 * in_ch + oc / per_channel, taps,
                                                            in_ch, out_ch, kernel_h, kernel_w, dilation_w);
            out[x * out_ch + oc] = tc_output_s16(bias[oc] + sum, multiplier[oc], shift[oc], wide, lo, hi);
        }
    }
}

#endif
