/* Fully connected layer over consecutive pixels; int8 weights. */
#ifndef TC_FULLY_CONNECTED_S8_H
#define TC_FULLY_CONNECTED_S8_H

#include "tc_dot_s8.h"
#include "tc_requantize.h"

/* `filters` (1 or 4) outputs of one pixel from `oc` on. bits: of a weight, 8 or 4, in rows of in_ch. */
TC_INLINE void tc_fully_connected_s8_filters(int8_t *out, const int8_t *x, const int8_t *weights, const int32_t *bias,
                                             const int32_t *multiplier, const int8_t *shift, int32_t oc,
                                             int32_t filters, int32_t in_ch, int32_t out_zero_point, int32_t lo,
                                             int32_t hi, int32_t bits)
{
    const int32_t pitch = tc_weight_row_bytes(in_ch, bits);
    uint32_t acc[4] = {0};
    for (int32_t f = 0; f < filters; ++f) {
        acc[f] = (uint32_t)bias[oc + f];
    }
    tc_dot_s8_row(acc, x, weights + oc * pitch, 0, in_ch, in_ch, pitch, filters, bits);
    for (int32_t f = 0; f < filters; ++f) {
        out[oc + f] = tc_output_nearest_s8(acc[f], multiplier[oc + f], shift[oc + f], out_zero_point, lo, hi);
    }
}

/* All pixels, as below. */
TC_INLINE void tc_fully_connected_s8_pixels(int8_t *out, const int8_t *in0, const int8_t *weights, const int32_t *bias,
                                            const int32_t *multiplier, const int8_t *shift, int32_t pixels,
                                            int32_t in_ch, int32_t out_ch, int32_t out_zero_point, int32_t lo,
                                            int32_t hi, int32_t bits)
{
    for (int32_t p = 0; p < pixels; ++p) {
        const int8_t *const x = in0 + p * in_ch;
        int8_t *const y = out + p * out_ch;
        int32_t oc = 0;
        for (; oc + 3 < out_ch; oc += 4) {
            tc_fully_connected_s8_filters(y, x, weights, bias, multiplier, shift, oc, 4, in_ch, out_zero_point, lo, hi,
                                          bits);
        }
        if (out_ch % 4 != 0) {
            for (; oc < out_ch; ++oc) {
                tc_fully_connected_s8_filters(y, x, weights, bias, multiplier, shift, oc, 1, in_ch, out_zero_point, lo,
                                              hi, bits);
            }
        }
    }
}

/* out: (pixels, out_ch). in0: (pixels, in_ch). weights: (out_ch, in_ch). bias: out_ch values, less the input zero point
   times the sum of the channel's weights. multiplier, shift: out_ch each. lo, hi: output clamp, within int8.
   No alignment needed. out must not overlap in0. */
TC_INLINE void tc_fully_connected_s8(int8_t *out, const int8_t *in0, const int8_t *weights, const int32_t *bias,
                                     const int32_t *multiplier, const int8_t *shift, int32_t pixels, int32_t in_ch,
                                     int32_t out_ch, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    tc_fully_connected_s8_pixels(out, in0, weights, bias, multiplier, shift, pixels, in_ch, out_ch, out_zero_point, lo,
                                 hi, 8);
}

#endif
