/* Depthwise convolution of a map of floats, one output row, which may be written over a row that it is made from. */
#ifndef TC_DEPTHWISE_CONV2D_IN_PLACE_F32_H
#define TC_DEPTHWISE_CONV2D_IN_PLACE_F32_H

#include "tc_depthwise_conv2d_f32.h"

#define TC_DEPTHWISE_LATE_F32 16 /* pixels of one channel that are made and not yet written; a power of two */

/* As tc_depthwise_conv2d_f32 with as many output channels as input channels and pad_left < TC_DEPTHWISE_LATE_F32, but
   out may begin where one of the input rows begins: see tc_depthwise_conv2d_in_place_s8. */
TC_INLINE void tc_depthwise_conv2d_in_place_f32(float *out, const float *const *in0, const float *weights,
                                                const float *bias, const float *limits, int32_t in_w, int32_t ch,
                                                int32_t out_w, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                                int32_t dilation_w, int32_t pad_left, int32_t lower, int32_t upper)
{
    for (int32_t c = 0; c < ch; ++c) {
        float late[TC_DEPTHWISE_LATE_F32];
        for (int32_t x = 0; x < out_w; ++x) {
            const int32_t x0 = x * stride_w - pad_left;
            const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);
            const float sum = tc_depthwise_conv2d_f32_window(bias[c], in0, weights + c, x0 * ch + c, taps, ch, ch,
                                                             kernel_h, kernel_w, dilation_w);
            late[x & (TC_DEPTHWISE_LATE_F32 - 1)] = tc_clamp_f32(sum, limits, lower, upper);
            if (x >= pad_left) {
                out[(x - pad_left) * ch + c] = late[(x - pad_left) & (TC_DEPTHWISE_LATE_F32 - 1)];
            }
        }
        for (int32_t x = out_w < pad_left ? 0 : out_w - pad_left; x < out_w; ++x) {
            out[x * ch + c] = late[x & (TC_DEPTHWISE_LATE_F32 - 1)];
        }
    }
}

#endif
