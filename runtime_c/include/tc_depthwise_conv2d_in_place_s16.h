/* Depthwise convolution of a map of int16 values, one output row, which may be written over a row that it is made
   from. */
#ifndef TC_DEPTHWISE_CONV2D_IN_PLACE_S16_H
#define TC_DEPTHWISE_CONV2D_IN_PLACE_S16_H

#include "tc_depthwise_conv2d_s16.h"

#define TC_DEPTHWISE_LATE_S16 16 /* pixels of one channel that are made and not yet written; a power of two */

/* As tc_depthwise_conv2d_s16 with as many output channels as input channels and pad_left < TC_DEPTHWISE_LATE_S16, but
   out may begin where one of the input rows begins: see tc_depthwise_conv2d_in_place_s8. */
TC_INLINE void tc_depthwise_conv2d_in_place_s16(int16_t *out, const int16_t *const *in0, const int8_t *weights,
                                                const int64_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                int32_t in_w, int32_t ch, int32_t out_w, int32_t kernel_h,
                                                int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
                                                int32_t pad_left, int32_t wide, int32_t lo, int32_t hi)
{
    for (int32_t c = 0; c < ch; ++c) {
        int16_t late[TC_DEPTHWISE_LATE_S16];
        for (int32_t x = 0; x < out_w; ++x) {
            const int32_t x0 = x * stride_w - pad_left;
            const int64_t sum = tc_depthwise_conv2d_s16_sum(in0, weights + c, x0 * ch + c,
                                                            tc_taps_inside(x0, in_w, kernel_w, dilation_w), ch, ch,
                                                            kernel_h, kernel_w, dilation_w);
            late[x & (TC_DEPTHWISE_LATE_S16 - 1)] = tc_output_s16(bias[c] + sum, multiplier[c], shift[c], wide, lo, hi);
            if (x >= pad_left) {
                out[(x - pad_left) * ch + c] = late[(x - pad_left) & (TC_DEPTHWISE_LATE_S16 - 1)];
            }
        }
        for (int32_t x = out_w < pad_left ? 0 : out_w - pad_left; x < out_w; ++x) {
            out[x * ch + c] = late[x & (TC_DEPTHWISE_LATE_S16 - 1)];
        }
    }
}

#endif
