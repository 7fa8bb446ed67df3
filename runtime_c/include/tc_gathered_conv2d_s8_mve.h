/* Convolution of a map, one output row; int8 weights, cores with MVE. */
#ifndef TC_GATHERED_CONV2D_S8_MVE_H
#define TC_GATHERED_CONV2D_S8_MVE_H

#include "tc_gather.h"
#include "tc_pointwise_s8_mve.h"

/* Arguments as tc_conv2d_s8, without groups and dilation, but no shift is to the left, and weights of each four output
   channels are in the order of tc_mve_dot. `pixels` (1 or 2) windows at a time are copied to `stack`, of that many times
   the weights of an output channel, and multiplied as pixels of so many channels. */
TC_INLINE void tc_gathered_conv2d_s8_mve(int8_t *out, const int8_t *const *in0, int8_t *stack, const int8_t *weights,
                                         const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                         int32_t in_w, int32_t in_ch, int32_t out_w, int32_t out_ch, int32_t kernel_h,
                                         int32_t kernel_w, int32_t stride_w, int32_t pad_left, int32_t pixels,
                                         int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const int32_t window = kernel_h * kernel_w * in_ch;
    for (int32_t x = 0; x < out_w; x += pixels) {
        const int32_t made = out_w - x < pixels ? out_w - x : pixels;
        for (int32_t p = 0; p < made; ++p) {
            tc_gather_window(stack + p * window, in0, (x + p) * stride_w - pad_left, in_w, in_ch, kernel_h, kernel_w,
                             in_zero_point);
        }
        if (pixels == 2 && made == 2) {
            tc_pointwise_s8_mve_pixels(out, stack, weights, bias, multiplier, shift, 2, window, window, out_ch,
                                       out_zero_point, lo, hi);
        } else {
            tc_pointwise_s8_mve_pixels(out, stack, weights, bias, multiplier, shift, 1, window, window, out_ch,
                                       out_zero_point, lo, hi);
        }
        out += made * out_ch;
    }
}

#endif
