/* Multiplication of int16 values, elementwise with broadcasting. */
#ifndef TC_MUL_S16_H
#define TC_MUL_S16_H

#include "tc_requantize.h"

/* As tc_mul_s8, but zero points are 0. lo, hi: output clamp, within int16. */
TC_INLINE void tc_mul_s16(int16_t *out, const int16_t *in0, const int16_t *in1, int32_t pixels, int32_t ch,
                          int32_t pixel_step0, int32_t ch_step0, int32_t pixel_step1, int32_t ch_step1,
                          int32_t multiplier, int32_t shift, int32_t lo, int32_t hi)
{
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t c = 0; c < ch; ++c) {
            const int32_t product = in0[p * pixel_step0 + c * ch_step0] * in1[p * pixel_step1 + c * ch_step1];
            out[p * ch + c] = (int16_t)tc_clamp(tc_requantize(product, multiplier, shift), lo, hi);
        }
    }
}

#endif
