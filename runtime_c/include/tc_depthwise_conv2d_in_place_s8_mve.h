/* Depthwise convolution of a map, one output row, which may be written over a row that it is made from; int8 weights,
   cores with MVE. */
#ifndef TC_DEPTHWISE_CONV2D_IN_PLACE_S8_MVE_H
#define TC_DEPTHWISE_CONV2D_IN_PLACE_S8_MVE_H

#include "tc_depthwise_conv2d_s8_mve.h"
#include "tc_gather.h"

/* `channels` (1..16) channels of the row; out and the arrays point at the first, c is its number. */
TC_INLINE void tc_depthwise_conv2d_in_place_s8_mve_block(
    int8_t *out, const int8_t *const *in0, int8_t *made, int32_t c, const int8_t *w, const int32_t *bias,
    const int32_t *multiplier, const int8_t *shift, int32_t present, int32_t channels, int32_t in_w, int32_t ch,
    int32_t out_w, int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t pad_left, int32_t at_once,
    int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        if (present && x0 >= 0 && x0 + kernel_w <= in_w) {
            tc_depthwise_conv2d_s8_mve_block(made + x * TC_MVE_LANES, in0, c, w, bias, multiplier, shift, x0, 1,
                                             channels, in_w, ch, kernel_h, kernel_w, at_once, in_zero_point,
                                             out_zero_point, lo, hi);
        } else {
            tc_depthwise_conv2d_s8_mve_block(made + x * TC_MVE_LANES, in0, c, w, bias, multiplier, shift, x0, 0,
                                             channels, in_w, ch, kernel_h, kernel_w, at_once, in_zero_point,
                                             out_zero_point, lo, hi);
        }
    }
    for (int32_t x = 0; x < out_w; ++x) {
        tc_gather_run(out + x * ch, made + x * TC_MVE_LANES, channels);
    }
}

/* As tc_depthwise_conv2d_s8_mve, but out may begin where one of the input rows begins: 16 channels of the whole row at a
   time are made on the stack, out_w * 16 bytes, and then written. */
TC_INLINE void tc_depthwise_conv2d_in_place_s8_mve(int8_t *out, const int8_t *const *in0, int8_t *stack,
                                                   const int8_t *weights, const int32_t *bias,
                                                   const int32_t *multiplier, const int8_t *shift, int32_t in_w,
                                                   int32_t ch, int32_t out_w, int32_t kernel_h, int32_t kernel_w,
                                                   int32_t stride_w, int32_t pad_left, int32_t at_once,
                                                   int32_t in_zero_point, int32_t out_zero_point, int32_t lo,
                                                   int32_t hi)
{
    const int32_t blocks = ch / TC_MVE_LANES * TC_MVE_LANES;
    int32_t present = 1;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        present = in0[ky] != NULL ? present : 0;
    }
    for (int32_t c = 0; c < blocks; c += TC_MVE_LANES) {
        tc_depthwise_conv2d_in_place_s8_mve_block(out + c, in0, stack, c, weights + c, bias + c, multiplier + c,
                                                  shift + c, present, TC_MVE_LANES, in_w, ch, out_w, kernel_h, kernel_w,
                                                  stride_w, pad_left, at_once, in_zero_point, out_zero_point, lo, hi);
    }
    if (blocks < ch) {
        tc_depthwise_conv2d_in_place_s8_mve_block(out + blocks, in0, stack, blocks, weights + blocks, bias + blocks,
                                                  multiplier + blocks, shift + blocks, present, ch - blocks, in_w, ch,
                                                  out_w, kernel_h, kernel_w, stride_w, pad_left, at_once, in_zero_point,
                                                  out_zero_point, lo, hi);
    }
}

#endif
