/* Transposed convolution of an int8 map, one output row. */
#ifndef TC_CONV_TRANSPOSE2D_S8_H
#define TC_CONV_TRANSPOSE2D_S8_H

#include "tc_requantize.h"

/* As tc_conv_transpose2d_f32, whose rows, windows and taps these are. weights: zero point 0. bias, multiplier, shift:
   out_ch each. lo, hi: output clamp, within int8. */
TC_INLINE void tc_conv_transpose2d_s8(int8_t *out, const int8_t *const *in0, int32_t y, const int8_t *weights,
                                      const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                      int32_t in_rows, int32_t in_w, int32_t in_ch, int32_t out_w, int32_t out_ch,
                                      int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w,
                                      int32_t dilation_h, int32_t dilation_w, int32_t pad_top, int32_t pad_left,
                                      int32_t groups, int32_t in_zero_point, int32_t out_zero_point, int32_t lo,
                                      int32_t hi)
{
    const int32_t group_ch = in_ch / groups;
    const int32_t group_out = out_ch / groups;
    const int32_t above = y + pad_top - (kernel_h - 1) * dilation_h;
    const int32_t first = above > 0 ? (above + stride_h - 1) / stride_h : 0;
    for (int32_t x = 0; x < out_w; ++x) {
        for (int32_t oc = 0; oc < out_ch; ++oc) {
            const int8_t *const filter = weights + oc * kernel_h * kernel_w * group_ch;
            const int32_t first_ch = oc / group_out * group_ch;
            uint32_t acc = (uint32_t)bias[oc];
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                const int32_t from_y = y + pad_top - ky * dilation_h;
                const int32_t row = from_y / stride_h - first;
                if (from_y < 0 || from_y % stride_h != 0 || row >= in_rows || in0[row] == NULL) {
                    continue;
                }
                for (int32_t kx = 0; kx < kernel_w; ++kx) {
                    const int32_t from_x = x + pad_left - kx * dilation_w;
                    const int32_t column = from_x / stride_w;
                    if (from_x < 0 || from_x % stride_w != 0 || column >= in_w) {
                        continue;
                    }
                    const int8_t *const x_ch = in0[row] + column * in_ch + first_ch;
                    const int8_t *const w_ch = filter + (ky * kernel_w + kx) * group_ch;
                    for (int32_t c = 0; c < group_ch; ++c) {
                        acc += (uint32_t)((x_ch[c] - in_zero_point) * w_ch[c]);
                    }
                }
            }
            out[x * out_ch + oc] = tc_output_s8(acc, multiplier[oc], shift[oc], out_zero_point, lo, hi);
        }
    }
}

#endif
