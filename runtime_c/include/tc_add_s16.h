/* Addition and subtraction of int16 values, elementwise with broadcasting. */
#ifndef TC_ADD_S16_H
#define TC_ADD_S16_H

#include "tc_requantize.h"

/* As tc_add_s8, but zero points are 0 and operands are shifted left by 15. lo, hi: output clamp, within int16. */
TC_INLINE void tc_add_s16(int16_t *out, const int16_t *in0, const int16_t *in1, int32_t pixels, int32_t ch,
                          int32_t pixel_step0, int32_t ch_step0, int32_t pixel_step1, int32_t ch_step1,
                          int32_t multiplier0, int32_t shift0, int32_t sign0, int32_t multiplier1, int32_t shift1,
                          int32_t sign1, int32_t multiplier, int32_t shift, int32_t lo, int32_t hi)
{
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t c = 0; c < ch; ++c) {
            const int32_t a = in0[p * pixel_step0 + c * ch_step0] * (1 << 15);
            const int32_t b = in1[p * pixel_step1 + c * ch_step1] * (1 << 15);
            const int32_t sum = sign0 * tc_requantize(a, multiplier0, shift0) + sign1 * tc_requantize(b, multiplier1, shift1);
            out[p * ch + c] = (int16_t)tc_clamp(tc_requantize(sum, multiplier, shift), lo, hi);
        }
    }
}

#endif
