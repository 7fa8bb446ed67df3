/* Fully connected layer over consecutive pixels; int8 weights, cores with MVE. */
#ifndef TC_FULLY_CONNECTED_S8_MVE_H
#define TC_FULLY_CONNECTED_S8_MVE_H

#include "tc_dsp.h"
#include "tc_mve.h"

/* `filters` (1..4) outputs of one pixel; arguments point at the first. */
TC_INLINE void tc_fully_connected_s8_mve_filters(int8_t *out, const int8_t *x, const int8_t *w, const int32_t *bias,
                                                 const int32_t *multiplier, const int8_t *shift, int32_t filters,
                                                 int32_t in_ch, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    int32_t acc[TC_MVE_PIXELS][TC_MVE_FILTERS] = {{0}};
    TC_UNROLL
    for (int32_t f = 0; f < filters; ++f) {
        acc[0][f] = bias[f];
    }
    tc_mve_dot(acc, x, w, in_ch, in_ch, 1, filters);
    TC_UNROLL
    for (int32_t f = 0; f < filters; ++f) {
        const tc_dsp_stage stage = tc_dsp_stage_of(multiplier[f], shift[f], out_zero_point);
        out[f] = tc_dsp_nearest_s8((uint32_t)acc[0][f], stage, lo, hi);
    }
}

/* Arguments as tc_fully_connected_s8, but weights of each four outputs in the order of tc_mve_dot, and multiplier and shift as tc_dsp_nearest_s8 has them. */
TC_INLINE void tc_fully_connected_s8_mve(int8_t *out, const int8_t *in0, const int8_t *weights, const int32_t *bias,
                                         const int32_t *multiplier, const int8_t *shift, int32_t pixels, int32_t in_ch,
                                         int32_t out_ch, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    for (int32_t p = 0; p < pixels; ++p) {
        int32_t oc = 0;
        for (; oc + TC_MVE_FILTERS <= out_ch; oc += TC_MVE_FILTERS) {
            tc_fully_connected_s8_mve_filters(out + oc, in0, weights + oc * in_ch, bias + oc, multiplier + oc,
                                              shift + oc, TC_MVE_FILTERS, in_ch, out_zero_point, lo, hi);
        }
        if (out_ch % TC_MVE_FILTERS != 0) {
            tc_fully_connected_s8_mve_filters(out + oc, in0, weights + oc * in_ch, bias + oc, multiplier + oc,
                                              shift + oc, out_ch % TC_MVE_FILTERS, in_ch, out_zero_point, lo, hi);
        }
        in0 += in_ch;
        out += out_ch;
    }
}

#endif
