/* Fully connected layer over consecutive pixels; weights widened to int16 because their zero point is not 0. */
#ifndef TC_FULLY_CONNECTED_S8_W16_H
#define TC_FULLY_CONNECTED_S8_W16_H

#include "tc_requantize.h"

/* Arguments as tc_fully_connected_s8, but weights are int16 (w - zero_point). Rare: plain loops. */
TC_INLINE void tc_fully_connected_s8_w16(int8_t *out, const int8_t *in0, const int16_t *weights, const int32_t *bias,
                                         const int32_t *multiplier, const int8_t *shift, int32_t pixels, int32_t in_ch,
                                         int32_t out_ch, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    for (int32_t p = 0; p < pixels; ++p) {
        const int8_t *const x = in0 + p * in_ch;
        for (int32_t oc = 0; oc < out_ch; ++oc) {
            const int16_t *const w = weights + oc * in_ch;
            uint32_t acc = (uint32_t)bias[oc];
            for (int32_t i = 0; i < in_ch; ++i) {
                acc += (uint32_t)(x[i] * w[i]);
            }
            out[p * out_ch + oc] = tc_output_nearest_s8(acc, multiplier[oc], shift[oc], out_zero_point, lo, hi);
        }
    }
}

#endif
