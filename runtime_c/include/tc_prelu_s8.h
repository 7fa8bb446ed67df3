/* Values below zero times a slope, elementwise with broadcasting. */
#ifndef TC_PRELU_S8_H
#define TC_PRELU_S8_H

#include "tc_requantize.h"

/* out: (pixels, ch). in0: the values, in1: the slopes; operand k is read at in<k>[p * pixel_step<k> + c * ch_step<k>].
   lo, hi: output clamp, within int8. out may be an operand of its own shape, or lie below it. */
TC_INLINE void tc_prelu_s8(int8_t *out, const int8_t *in0, const int8_t *in1, int32_t pixels, int32_t ch,
                           int32_t pixel_step0, int32_t ch_step0, int32_t pixel_step1, int32_t ch_step1,
                           int32_t zero_point0, int32_t zero_point1, int32_t multiplier, int32_t shift,
                           int32_t slope_multiplier, int32_t slope_shift, int32_t out_zero_point, int32_t lo,
                           int32_t hi)
{
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t c = 0; c < ch; ++c) {
            const int32_t x = in0[p * pixel_step0 + c * ch_step0] - zero_point0;
            const int32_t slope = in1[p * pixel_step1 + c * ch_step1] - zero_point1;
            const uint32_t value = (uint32_t)(x >= 0 ? x : x * slope);
            out[p * ch + c] = tc_output_s8(value, x >= 0 ? multiplier : slope_multiplier, x >= 0 ? shift : slope_shift,
                                           out_zero_point, lo, hi);
        }
    }
}

#endif
