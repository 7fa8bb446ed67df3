/* Convolution of a map, one output row; int8 weights, cores with the DSP extension. */
#ifndef TC_CONV2D_S8_DSP_H
#define TC_CONV2D_S8_DSP_H

#include "tc_dot_s8_dsp.h"
#include "tc_taps.h"

/* `filters` output channels, whose weights, bias, multiplier and shift begin at w, bias..., of `pixels` pixels that are
   out_ch elements apart in the output; the first one's first tap is input column x0, and all have the same taps. */
TC_INLINE void tc_conv2d_s8_dsp_block(int8_t *out, const int8_t *const *in0, const int8_t *w, const int32_t *bias,
                                      const int32_t *multiplier, const int8_t *shift, int32_t x0, tc_taps taps,
                                      int32_t pixels, int32_t filters, int32_t in_ch, int32_t out_ch, int32_t kernel_h,
                                      int32_t kernel_w, int32_t stride_w, int32_t in_zero_point, int32_t out_zero_point,
                                      int32_t lo, int32_t hi)
{
    const int32_t row_weights = kernel_w * in_ch;
    const int32_t pitch = kernel_h * row_weights;
    uint32_t acc[TC_DOT_PIXELS][TC_DOT_FILTERS];
    TC_UNROLL
    for (int32_t p = 0; p < pixels; ++p) {
        TC_UNROLL
        for (int32_t f = 0; f < filters; ++f) {
            acc[p][f] = (uint32_t)bias[f];
        }
    }
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        const int8_t *const row = in0[ky];
        if (row == NULL) {
            tc_dot_s8_dsp_padding(acc, in_zero_point, w, row_weights, pitch, pixels, filters);
        } else {
            const int8_t *const x = row + (x0 + taps.from) * in_ch;
            tc_dot_s8_dsp_padding(acc, in_zero_point, w, taps.from * in_ch, pitch, pixels, filters);
            tc_dot_s8_dsp(acc, x, w + taps.from * in_ch, (taps.to - taps.from) * in_ch, stride_w * in_ch, pitch, pixels,
                          filters);
            tc_dot_s8_dsp_padding(acc, in_zero_point, w + taps.to * in_ch, (kernel_w - taps.to) * in_ch, pitch, pixels,
                                  filters);
        }
        w += row_weights;
    }
    tc_dot_s8_dsp_outputs(out, acc, multiplier, shift, out_ch, pixels, filters, out_zero_point, lo, hi);
}

/* All output channels of `pixels` pixels. */
TC_INLINE void tc_conv2d_s8_dsp_pixels(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                       const int32_t *bias, const int32_t *multiplier, const int8_t *shift, int32_t x0,
                                       tc_taps taps, int32_t pixels, int32_t in_ch, int32_t out_ch, int32_t kernel_h,
                                       int32_t kernel_w, int32_t stride_w, int32_t in_zero_point,
                                       int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const int32_t pitch = kernel_h * kernel_w * in_ch;
    int32_t oc = 0;
    for (; oc + 1 < out_ch; oc += 2) {
        tc_conv2d_s8_dsp_block(out + oc, in0, weights + oc * pitch, bias + oc, multiplier + oc, shift + oc, x0, taps,
                               pixels, 2, in_ch, out_ch, kernel_h, kernel_w, stride_w, in_zero_point, out_zero_point,
                               lo, hi);
    }
    if (out_ch % 2 != 0) {
        tc_conv2d_s8_dsp_block(out + oc, in0, weights + oc * pitch, bias + oc, multiplier + oc, shift + oc, x0, taps,
                               pixels, 1, in_ch, out_ch, kernel_h, kernel_w, stride_w, in_zero_point, out_zero_point,
                               lo, hi);
    }
}

/* Pixels [from, to), some of whose taps lie in the padding: which ones is decided at compile time. */
TC_INLINE void tc_conv2d_s8_dsp_border(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                       const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                       int32_t from, int32_t to, int32_t in_w, int32_t in_ch, int32_t out_ch,
                                       int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t pad_left,
                                       int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    TC_UNROLL
    for (int32_t x = from; x < to; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        tc_conv2d_s8_dsp_pixels(out + x * out_ch, in0, weights, bias, multiplier, shift, x0,
                                tc_taps_inside(x0, in_w, kernel_w, 1), 1, in_ch, out_ch, kernel_h, kernel_w, stride_w,
                                in_zero_point, out_zero_point, lo, hi);
    }
}

/* Arguments as tc_conv2d_s8, without groups and dilation, but multiplier and shift as tc_dsp_stage has them. left,
   right: pixels at the ends of the row that have taps in the padding. */
TC_INLINE void tc_conv2d_s8_dsp(int8_t *out, const int8_t *const *in0, const int8_t *weights, const int32_t *bias,
                                const int32_t *multiplier, const int8_t *shift, int32_t in_w, int32_t in_ch,
                                int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                int32_t pad_left, int32_t left, int32_t right, int32_t in_zero_point,
                                int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const tc_taps all = {0, kernel_w};
    const int32_t pairs = tc_dot_pairs(out_w - left - right);
    const int32_t single = out_w - left - right == 1;
    int32_t x = left;
    tc_conv2d_s8_dsp_border(out, in0, weights, bias, multiplier, shift, 0, left, in_w, in_ch, out_ch, kernel_h,
                            kernel_w, stride_w, pad_left, in_zero_point, out_zero_point, lo, hi);
    for (; x < out_w - right - 2 * pairs - single; x += 3) {
        tc_conv2d_s8_dsp_pixels(out + x * out_ch, in0, weights, bias, multiplier, shift, x * stride_w - pad_left, all, 3,
                                in_ch, out_ch, kernel_h, kernel_w, stride_w, in_zero_point, out_zero_point, lo, hi);
    }
    for (; x < out_w - right - single; x += 2) {
        tc_conv2d_s8_dsp_pixels(out + x * out_ch, in0, weights, bias, multiplier, shift, x * stride_w - pad_left, all, 2,
                                in_ch, out_ch, kernel_h, kernel_w, stride_w, in_zero_point, out_zero_point, lo, hi);
    }
    if (single) {
        tc_conv2d_s8_dsp_pixels(out + x * out_ch, in0, weights, bias, multiplier, shift, x * stride_w - pad_left, all, 1,
                                in_ch, out_ch, kernel_h, kernel_w, stride_w, in_zero_point, out_zero_point, lo, hi);
    }
    tc_conv2d_s8_dsp_border(out, in0, weights, bias, multiplier, shift, out_w - right, out_w, in_w, in_ch, out_ch,
                            kernel_h, kernel_w, stride_w, pad_left, in_zero_point, out_zero_point, lo, hi);
}

#endif
