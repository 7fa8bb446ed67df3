/* Fully connected layer over consecutive pixels; int8 weights, cores with the DSP extension. */
#ifndef TC_FULLY_CONNECTED_S8_DSP_H
#define TC_FULLY_CONNECTED_S8_DSP_H

#include "tc_dsp.h"

#define TC_FULLY_CONNECTED_FILTERS 4

/* acc[f] += the products of four inputs with four weights of each filter. */
TC_INLINE void tc_fully_connected_s8_dsp_four(uint32_t acc[TC_FULLY_CONNECTED_FILTERS], const int8_t *x,
                                              const int8_t *w, int32_t filters, int32_t in_ch)
{
    const uint32_t four = tc_load4(x);
    const uint32_t even = tc_even(0, four);
    const uint32_t odd = tc_odd(0, four);
    TC_UNROLL
    for (int32_t f = 0; f < filters; ++f) {
        const uint32_t w_four = tc_load4(w + f * in_ch);
        acc[f] = tc_add_products(acc[f], even, tc_even(0, w_four));
        acc[f] = tc_add_products(acc[f], odd, tc_odd(0, w_four));
    }
}

/* `filters` (1 or 4) outputs of one pixel; arguments point at the first. */
TC_INLINE void tc_fully_connected_s8_dsp_filters(int8_t *out, const int8_t *x, const int8_t *w, const int32_t *bias,
                                                 const int32_t *multiplier, const int8_t *shift, int32_t filters,
                                                 int32_t in_ch, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const int8_t *const end = x + in_ch / 16 * 16;
    uint32_t acc[TC_FULLY_CONNECTED_FILTERS];
    TC_UNROLL
    for (int32_t f = 0; f < filters; ++f) {
        acc[f] = (uint32_t)bias[f];
    }
    while (x != end) {
        TC_UNROLL
        for (int32_t k = 0; k < 16; k += 4) {
            tc_fully_connected_s8_dsp_four(acc, x + k, w + k, filters, in_ch);
        }
        x += 16;
        w += 16;
    }
    TC_UNROLL
    for (int32_t k = 0; k < in_ch % 16 / 4 * 4; k += 4) {
        tc_fully_connected_s8_dsp_four(acc, x + k, w + k, filters, in_ch);
    }
    TC_UNROLL
    for (int32_t f = 0; f < filters; ++f) {
        TC_UNROLL
        for (int32_t k = in_ch % 16 / 4 * 4; k < in_ch % 16; ++k) {
            acc[f] += (uint32_t)(x[k] * w[f * in_ch + k]);
        }
        out[f] = tc_dsp_nearest_s8(acc[f], tc_dsp_stage_of(multiplier[f], shift[f], out_zero_point), lo, hi);
    }
}

/* Arguments as tc_fully_connected_s8, but multiplier and shift as tc_dsp_nearest_s8 has them. */
TC_INLINE void tc_fully_connected_s8_dsp(int8_t *out, const int8_t *in0, const int8_t *weights, const int32_t *bias,
                                         const int32_t *multiplier, const int8_t *shift, int32_t pixels, int32_t in_ch,
                                         int32_t out_ch, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    TC_UNROLL
    for (int32_t p = 0; p < pixels; ++p) {
        int32_t oc = 0;
        for (; oc + TC_FULLY_CONNECTED_FILTERS <= out_ch; oc += TC_FULLY_CONNECTED_FILTERS) {
            tc_fully_connected_s8_dsp_filters(out + oc, in0, weights + oc * in_ch, bias + oc, multiplier + oc,
                                              shift + oc, TC_FULLY_CONNECTED_FILTERS, in_ch, out_zero_point, lo, hi);
        }
        if (out_ch % TC_FULLY_CONNECTED_FILTERS != 0) {
            for (; oc < out_ch; ++oc) {
                tc_fully_connected_s8_dsp_filters(out + oc, in0, weights + oc * in_ch, bias + oc, multiplier + oc,
                                                  shift + oc, 1, in_ch, out_zero_point, lo, hi);
            }
        }
        in0 += in_ch;
        out += out_ch;
    }
}

#endif
