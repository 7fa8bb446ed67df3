/* Transposed convolution of a map of floats, one output row. */
#ifndef TC_CONV_TRANSPOSE2D_F32_H
#define TC_CONV_TRANSPOSE2D_F32_H

#include "tc_dot_f32.h"

/* out: output row y, (out_w, out_ch). in0: in_rows input rows from row `first` on, (in_w, in_ch) each, NULL beyond the
   last one, where first is the least row that is not above 0 and has a tap in row y. weights: (out_ch, kernel_h,
   kernel_w, in_ch / groups), finite. bias: out_ch values. limits, lower, upper: output clamp, see tc_clamp_f32. Tap
   (ky, kx) carries input pixel (iy, ix) to the output pixel (iy * stride_h + ky * dilation_h - pad_top,
   ix * stride_w + kx * dilation_w - pad_left). A sum begins with the bias; products are added in the order of the
   weights. out must not overlap the input rows. */
TC_INLINE void tc_conv_transpose2d_f32(float *out, const float *const *in0, int32_t y, const float *weights,
                                       const float *bias, const float *limits, int32_t in_rows, int32_t in_w,
                                       int32_t in_ch, int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w,
                                       int32_t stride_h, int32_t stride_w, int32_t dilation_h, int32_t dilation_w,
                                       int32_t pad_top, int32_t pad_left, int32_t groups, int32_t lower, int32_t upper)
{
    const int32_t group_ch = in_ch / groups;
    const int32_t group_out = out_ch / groups;
    const int32_t above = y + pad_top - (kernel_h - 1) * dilation_h;
    const int32_t first = above > 0 ? (above + stride_h - 1) / stride_h : 0;
    for (int32_t x = 0; x < out_w; ++x) {
        for (int32_t oc = 0; oc < out_ch; ++oc) {
            const float *const filter = weights + oc * kernel_h * kernel_w * group_ch;
            const int32_t first_ch = oc / group_out * group_ch;
            float acc[4] = {bias[oc], 0.0f, 0.0f, 0.0f};
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                const int32_t from_y = y + pad_top - ky * dilation_h;
                const int32_t row = from_y / stride_h - first;
                if (from_y < 0 || from_y % stride_h != 0 || row >= in_rows || in0[row] == NULL) {
                    continue;
                }
                for (int32_t kx = 0; kx < kernel_w; ++kx) {
                    const int32_t from_x = x + pad_left - kx * dilation_w;
                    const int32_t column = from_x / stride_w;
                    if (from_x >= 0 && from_x % stride_w == 0 && column < in_w) {
                        tc_dot_f32(acc, in0[row] + column * in_ch + first_ch,
                                   filter + (ky * kernel_w + kx) * group_ch, group_ch, 0, 1);
                    }
                }
            }
            out[x * out_ch + oc] = tc_clamp_f32(acc[0], limits, lower, upper);
        }
    }
}

#endif
