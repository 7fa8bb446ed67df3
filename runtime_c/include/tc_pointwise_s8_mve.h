/* Convolution with a window of one pixel, over consecutive pixels; int8 weights, cores with MVE. */
#ifndef TC_POINTWISE_S8_MVE_H
#define TC_POINTWISE_S8_MVE_H

#include "tc_mve.h"

/* `filters` output channels of `pixels` pixels; arguments point at the first. */
TC_INLINE void tc_pointwise_s8_mve_block(int8_t *out, const int8_t *x, const int8_t *w, const int32_t *bias,
                                         const int32_t *multiplier, const int8_t *shift, int32_t pixels,
                                         int32_t filters, int32_t x_pitch, int32_t in_ch, int32_t out_ch,
                                         int32_t out_zero_point, int32_t lo, int32_t hi)
{
    int32_t acc[TC_MVE_PIXELS][TC_MVE_FILTERS] = {{0}};
    TC_UNROLL
    for (int32_t p = 0; p < pixels; ++p) {
        TC_UNROLL
        for (int32_t f = 0; f < filters; ++f) {
            acc[p][f] = bias[f];
        }
    }
    tc_mve_dot(acc, x, w, in_ch, x_pitch, pixels, filters);
    tc_mve_outputs(out, acc, multiplier, shift, out_ch, pixels, filters, out_zero_point, lo, hi);
}

/* All output channels of `pixels` pixels. */
TC_INLINE void tc_pointwise_s8_mve_pixels(int8_t *out, const int8_t *x, const int8_t *w, const int32_t *bias,
                                          const int32_t *multiplier, const int8_t *shift, int32_t pixels,
                                          int32_t x_pitch, int32_t in_ch, int32_t out_ch, int32_t out_zero_point,
                                          int32_t lo, int32_t hi)
{
    const int8_t *const last = shift + out_ch / TC_MVE_FILTERS * TC_MVE_FILTERS;
    while (shift != last) {
        tc_pointwise_s8_mve_block(out, x, w, bias, multiplier, shift, pixels, TC_MVE_FILTERS, x_pitch, in_ch, out_ch,
                                  out_zero_point, lo, hi);
        out += TC_MVE_FILTERS;
        w += TC_MVE_FILTERS * in_ch;
        bias += TC_MVE_FILTERS;
        multiplier += TC_MVE_FILTERS;
        shift += TC_MVE_FILTERS;
    }
    if (out_ch % TC_MVE_FILTERS != 0) {
        tc_pointwise_s8_mve_block(out, x, w, bias, multiplier, shift, pixels, out_ch % TC_MVE_FILTERS, x_pitch, in_ch,
                                  out_ch, out_zero_point, lo, hi);
    }
}

/* out: (pixels, out_ch). in0: pixels of in_ch channels, one every `stride` of them. weights: (out_ch, in_ch), each four
   output channels in the order of tc_mve_dot. bias:
   out_ch values, less the input's zero point times the sum of the channel's weights. multiplier, shift: out_ch each, see
   tc_requantize; no shift is to the left. lo, hi: output clamp, within int8. No alignment needed. out must not overlap
   in0. */
TC_INLINE void tc_pointwise_s8_mve(int8_t *out, const int8_t *in0, const int8_t *weights, const int32_t *bias,
                                   const int32_t *multiplier, const int8_t *shift, int32_t pixels, int32_t stride,
                                   int32_t in_ch, int32_t out_ch, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const int32_t pitch = stride * in_ch;
    for (int32_t k = 0; k < pixels / 2; ++k) {
        tc_pointwise_s8_mve_pixels(out, in0, weights, bias, multiplier, shift, 2, pitch, in_ch, out_ch, out_zero_point,
                                   lo, hi);
        in0 += 2 * pitch;
        out += 2 * out_ch;
    }
    if (pixels % 2 != 0) {
        tc_pointwise_s8_mve_pixels(out, in0, weights, bias, multiplier, shift, 1, pitch, in_ch, out_ch, out_zero_point,
                                   lo, hi);
    }
}

#endif
