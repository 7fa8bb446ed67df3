/* Depthwise convolution of a map, one output row, which may be written over a row that it is made from. */
#ifndef TC_DEPTHWISE_CONV2D_IN_PLACE_S8_H
#define TC_DEPTHWISE_CONV2D_IN_PLACE_S8_H

#include "tc_depthwise_conv2d_s8.h"

#define TC_DEPTHWISE_LATE 16 /* pixels of one channel that are made and not yet written; a power of two */

/* One output row, as below. bits: of a weight, 8 or 4; a tap's ch weights are a row of these. */
TC_INLINE void tc_depthwise_conv2d_in_place_s8_row(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                                   const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                   int32_t in_w, int32_t ch, int32_t out_w, int32_t kernel_h,
                                                   int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
                                                   int32_t pad_left, int32_t in_zero_point, int32_t out_zero_point,
                                                   int32_t lo, int32_t hi, int32_t bits)
{
    const int32_t pitch = tc_weight_row_bytes(ch, bits);
    int32_t present = 1;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        present = in0[ky] != NULL ? present : 0;
    }
    for (int32_t c = 0; c < ch; ++c) {
        int8_t late[TC_DEPTHWISE_LATE];
        const tc_weight_place at = tc_weight_at(c, ch, bits);
        const int8_t *const w = weights + at.byte;
        for (int32_t x = 0; x < out_w; ++x) {
            const int32_t x0 = x * stride_w - pad_left;
            uint32_t acc = (uint32_t)bias[c];
            if (present && x0 >= 0 && x0 + (kernel_w - 1) * dilation_w < in_w) {
                acc += (uint32_t)tc_depthwise_conv2d_s8_interior(in0, w, at.part, x0 * ch + c, ch, pitch, kernel_h,
                                                                 kernel_w, dilation_w);
            } else {
                acc = tc_depthwise_conv2d_s8_border(acc, in0, w, at.part, x0 * ch + c,
                                                    tc_taps_inside(x0, in_w, kernel_w, dilation_w), ch, pitch, kernel_h,
                                                    kernel_w, dilation_w, in_zero_point);
            }
            late[x & (TC_DEPTHWISE_LATE - 1)] = tc_output_s8(acc, multiplier[c], shift[c], out_zero_point, lo, hi);
            if (x >= pad_left) {
                out[(x - pad_left) * ch + c] = late[(x - pad_left) & (TC_DEPTHWISE_LATE - 1)];
            }
        }
        for (int32_t x = out_w < pad_left ? 0 : out_w - pad_left; x < out_w; ++x) {
            out[x * ch + c] = late[x & (TC_DEPTHWISE_LATE - 1)];
        }
    }
}

/* As tc_depthwise_conv2d_s8 with as many output channels as input channels and pad_left < TC_DEPTHWISE_LATE, but out may
   begin where one of the input rows begins. A window reaches pad_left columns back at most, so each channel is written
   that many columns late: whatever is overwritten has been read for the last time. */
TC_INLINE void tc_depthwise_conv2d_in_place_s8(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                               const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                               int32_t in_w, int32_t ch, int32_t out_w, int32_t kernel_h,
                                               int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                               int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    tc_depthwise_conv2d_in_place_s8_row(out, in0, weights, bias, multiplier, shift, in_w, ch, out_w, kernel_h, kernel_w,
                                        stride_w, dilation_w, pad_left, in_zero_point, out_zero_point, lo, hi, 8);
}

#endif
