/* Fully connected layer over consecutive pixels of int16 values; int8 weights. */
#ifndef TC_FULLY_CONNECTED_S16_H
#define TC_FULLY_CONNECTED_S16_H

#include "tc_dot_s16.h"
#include "tc_requantize_s16.h"

/* `filters` (1 or 4) outputs of one pixel from `oc` on. */
TC_INLINE void tc_fully_connected_s16_filters(int16_t *out, const int16_t *x, const int8_t *weights,
                                              const int64_t *bias, const int64_t *multiplier, const int8_t *shift,
                                              int32_t oc, int32_t filters, int32_t in_ch, int32_t wide, int32_t lo,
                                              int32_t hi)
{
    int64_t acc[4] = {0};
    for (int32_t f = 0; f < filters; ++f) {
        acc[f] = bias[oc + f];
    }
    tc_dot_s16(acc, x, weights + oc * in_ch, in_ch, in_ch, filters);
    for (int32_t f = 0; f < filters; ++f) {
        const int64_t sum = wide ? acc[f] : (int32_t)acc[f];
        out[oc + f] = tc_output_nearest_s16(sum, multiplier[oc + f], shift[oc + f], lo, hi);
    }
}

/* out: (pixels, out_ch). in0: (pixels, in_ch). weights: (out_ch, in_ch). bias: out_ch values. multiplier, shift: out_ch
   each, see tc_output_nearest_s16. wide: sums are int64; else they wrap as int32. lo, hi: output clamp, within int16.
   out must not overlap in0. */
TC_INLINE void tc_fully_connected_s16(int16_t *out, const int16_t *in0, const int8_t *weights, const int64_t *bias,
                                      const int64_t *multiplier, const int8_t *shift, int32_t pixels, int32_t in_ch,
                                      int32_t out_ch, int32_t wide, int32_t lo, int32_t hi)
{
    for (int32_t p = 0; p < pixels; ++p) {
        const int16_t *const x = in0 + p * in_ch;
        int16_t *const y = out + p * out_ch;
        int32_t oc = 0;
        for (; oc + 3 < out_ch; oc += 4) {
            tc_fully_connected_s16_filters(y, x, weights, bias, multiplier, shift, oc, 4, in_ch, wide, lo, hi);
        }
        if (out_ch % 4 != 0) {
            for (; oc < out_ch; ++oc) {
                tc_fully_connected_s16_filters(y, x, weights, bias, multiplier, shift, oc, 1, in_ch, wide, lo, hi);
            }
        }
    }
}

#endif
