/* Convolution with a window of one pixel, over consecutive pixels; int8 weights, cores with the DSP extension. */
#ifndef TC_POINTWISE_S8_DSP_H
#define TC_POINTWISE_S8_DSP_H

#include "tc_dot_s8_dsp.h"

/* `filters` output channels of `pixels` pixels; arguments point at the first. */
TC_INLINE void tc_pointwise_s8_dsp_block(int8_t *out, const int8_t *x, const int8_t *w, const int32_t *bias,
                                         const int32_t *multiplier, const int8_t *shift, int32_t pixels,
                                         int32_t filters, int32_t x_pitch, int32_t in_ch, int32_t out_ch,
                                         int32_t out_zero_point, int32_t lo, int32_t hi)
{
    uint32_t acc[TC_DOT_PIXELS][TC_DOT_FILTERS];
    TC_UNROLL
    for (int32_t p = 0; p < pixels; ++p) {
        TC_UNROLL
        for (int32_t f = 0; f < filters; ++f) {
            acc[p][f] = (uint32_t)bias[f];
        }
    }
    tc_dot_s8_dsp(acc, x, w, in_ch, x_pitch, in_ch, pixels, filters);
    tc_dot_s8_dsp_outputs(out, acc, multiplier, shift, out_ch, pixels, filters, out_zero_point, lo, hi);
}

/* All output channels of `pixels` pixels. */
TC_INLINE void tc_pointwise_s8_dsp_pixels(int8_t *out, const int8_t *x, const int8_t *w, const int32_t *bias,
                                          const int32_t *multiplier, const int8_t *shift, int32_t pixels,
                                          int32_t x_pitch, int32_t in_ch, int32_t out_ch, int32_t out_zero_point,
                                          int32_t lo, int32_t hi)
{
    const int8_t *const last = shift + out_ch / TC_DOT_FILTERS * TC_DOT_FILTERS;
    while (shift != last) {
        tc_pointwise_s8_dsp_block(out, x, w, bias, multiplier, shift, pixels, TC_DOT_FILTERS, x_pitch, in_ch, out_ch,
                                  out_zero_point, lo, hi);
        out += TC_DOT_FILTERS;
        w += TC_DOT_FILTERS * in_ch;
        bias += TC_DOT_FILTERS;
        multiplier += TC_DOT_FILTERS;
        shift += TC_DOT_FILTERS;
    }
    if (out_ch % TC_DOT_FILTERS != 0) {
        tc_pointwise_s8_dsp_block(out, x, w, bias, multiplier, shift, pixels, 1, x_pitch, in_ch, out_ch,
                                  out_zero_point, lo, hi);
    }
}

/* out: (pixels, out_ch). in0: pixels of in_ch channels, one every `stride` of them. weights: (out_ch, in_ch). bias:
   out_ch values, less the input's zero point times the sum of the channel's weights. multiplier, shift: out_ch each, as
   tc_dsp_stage has them. lo, hi: output clamp, within int8. No alignment needed. out must not overlap in0. */
TC_INLINE void tc_pointwise_s8_dsp(int8_t *out, const int8_t *in0, const int8_t *weights, const int32_t *bias,
                                   const int32_t *multiplier, const int8_t *shift, int32_t pixels, int32_t stride,
                                   int32_t in_ch, int32_t out_ch, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const int32_t pitch = stride * in_ch;
    const int32_t pairs = tc_dot_pairs(pixels);
    const int32_t triples = (pixels - 2 * pairs) / 3;
    for (int32_t k = 0; k < triples; ++k) {
        tc_pointwise_s8_dsp_pixels(out, in0, weights, bias, multiplier, shift, 3, pitch, in_ch, out_ch, out_zero_point,
                                   lo, hi);
        in0 += 3 * pitch;
        out += 3 * out_ch;
    }
    for (int32_t k = 0; k < pairs; ++k) {
        tc_pointwise_s8_dsp_pixels(out, in0, weights, bias, multiplier, shift, 2, pitch, in_ch, out_ch, out_zero_point,
                                   lo, hi);
        in0 += 2 * pitch;
        out += 2 * out_ch;
    }
    if (pixels == 1) {
        tc_pointwise_s8_dsp_pixels(out, in0, weights, bias, multiplier, shift, 1, pitch, in_ch, out_ch, out_zero_point,
                                   lo, hi);
    }
}

#endif
