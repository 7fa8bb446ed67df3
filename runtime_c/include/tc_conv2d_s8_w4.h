/* Convolution of a map, one output row; weights of 4 bits. */
#ifndef TC_CONV2D_S8_W4_H
#define TC_CONV2D_S8_W4_H

#include "tc_conv2d_s8.h"

/* Arguments as tc_conv2d_s8, but weights are of 4 bits, in rows of kernel_w * in_ch / groups: see tc_weights_s4.h. */
TC_INLINE void tc_conv2d_s8_w4(int8_t *out, const int8_t *const *in0, const int8_t *weights, const int32_t *bias,
                               const int32_t *multiplier, const int8_t *shift, int32_t in_w, int32_t in_ch,
                               int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                               int32_t dilation_w, int32_t pad_left, int32_t groups, int32_t in_zero_point,
                               int32_t out_zero_point, int32_t lo, int32_t hi)
{
    tc_conv2d_s8_row(out, in0, weights, bias, multiplier, shift, in_w, in_ch, out_w, out_ch, kernel_h, kernel_w,
                     stride_w, dilation_w, pad_left, groups, in_zero_point, out_zero_point, lo, hi, 4);
}

#endif
