/* Convolution of a map whose windows are small, one output row; int8 weights, cores with the DSP extension. */
#ifndef TC_GATHERED_CONV2D_S8_DSP_H
#define TC_GATHERED_CONV2D_S8_DSP_H

#include "tc_gather.h"
#include "tc_pointwise_s8_dsp.h"

/* Arguments as tc_conv2d_s8, without groups and dilation, but multiplier and shift as tc_dsp_stage has them, and
   weights: (out_ch, window), each channel's followed by zeros up to `window`, a multiple of four. Three windows at a
   time are copied to `stack`, 3 * window bytes, and multiplied as pixels of so many channels. */
TC_INLINE void tc_gathered_conv2d_s8_dsp(int8_t *out, const int8_t *const *in0, int8_t *stack,
                                         const int8_t *weights, const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                         int32_t in_w, int32_t in_ch, int32_t out_w, int32_t out_ch, int32_t kernel_h,
                                         int32_t kernel_w, int32_t stride_w, int32_t pad_left, int32_t window,
                                         int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const int32_t pairs = tc_dot_pairs(out_w);
    for (int32_t k = kernel_h * kernel_w * in_ch; k < window; ++k) {
        stack[k] = stack[window + k] = stack[2 * window + k] = 0;
    }
    for (int32_t x = 0; x < out_w;) {
        const int32_t pixels = out_w == 1 ? 1 : x < out_w - 2 * pairs ? 3 : 2;
        for (int32_t p = 0; p < pixels; ++p) {
            tc_gather_window(stack + p * window, in0, (x + p) * stride_w - pad_left, in_w, in_ch, kernel_h, kernel_w,
                             in_zero_point);
        }
        if (pixels == 3) {
            tc_pointwise_s8_dsp_pixels(out, stack, weights, bias, multiplier, shift, 3, window, window, out_ch,
                                       out_zero_point, lo, hi);
        } else if (pixels == 2) {
            tc_pointwise_s8_dsp_pixels(out, stack, weights, bias, multiplier, shift, 2, window, window, out_ch,
                                       out_zero_point, lo, hi);
        } else {
            tc_pointwise_s8_dsp_pixels(out, stack, weights, bias, multiplier, shift, 1, window, window, out_ch,
                                       out_zero_point, lo, hi);
        }
        out += pixels * out_ch;
        x += pixels;
    }
}

#endif
