/* Convolution of a map, one output row; weights widened to int16 because their zero point is not 0. */
#ifndef TC_CONV2D_S8_W16_H
#define TC_CONV2D_S8_W16_H

#include "tc_requantize.h"

/* Arguments as tc_conv2d_s8, but weights are int16 (w - zero_point). Rare: plain loops. */
TC_INLINE void tc_conv2d_s8_w16(int8_t *out, const int8_t *const *in0, const int16_t *weights, const int32_t *bias,
                                const int32_t *multiplier, const int8_t *shift, int32_t in_w, int32_t in_ch,
                                int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                int32_t dilation_w, int32_t pad_left, int32_t groups, int32_t in_zero_point,
                                int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const int32_t group_ch = in_ch / groups;
    const int32_t group_out = out_ch / groups;
    for (int32_t x = 0; x < out_w; ++x) {
        for (int32_t oc = 0; oc < out_ch; ++oc) {
            const int32_t first_ch = oc / group_out * group_ch;
            uint32_t acc = (uint32_t)bias[oc];
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                for (int32_t kx = 0; kx < kernel_w; ++kx) {
                    const int32_t column = x * stride_w - pad_left + kx * dilation_w;
                    const int16_t *const w = weights + ((oc * kernel_h + ky) * kernel_w + kx) * group_ch;
                    if (in0[ky] != NULL && column >= 0 && column < in_w) {
                        const int8_t *const pixel = in0[ky] + column * in_ch + first_ch;
                        for (int32_t c = 0; c < group_ch; ++c) {
                            acc += (uint32_t)(pixel[c] * w[c]);
                        }
                    } else {
                        for (int32_t c = 0; c < group_ch; ++c) {
                            acc += (uint32_t)(in_zero_point * w[c]);
                        }
                    }
                }
            }
            out[x * out_ch + oc] = tc_output_s8(acc, multiplier[oc], shift[oc], out_zero_point, lo, hi);
        }
    }
}

#endif
