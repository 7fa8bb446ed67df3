/* Squared difference, elementwise with broadcasting. */
#ifndef TC_SQUARED_DIFFERENCE_S8_H
#define TC_SQUARED_DIFFERENCE_S8_H

#include "tc_requantize.h"

/* out: (pixels, ch). Operand k is read at in<k>[p * pixel_step<k> + c * ch_step<k>]. Each, less its zero point and shifted
   left by 7, is scaled by its multiplier and shift; the square of their difference by `multiplier` and `shift`. lo, hi:
   output clamp, within int8. out may be an operand of its own shape, or lie below it. */
TC_INLINE void tc_squared_difference_s8(int8_t *out, const int8_t *in0, const int8_t *in1, int32_t pixels, int32_t ch,
                                        int32_t pixel_step0, int32_t ch_step0, int32_t pixel_step1, int32_t ch_step1,
                                        int32_t zero_point0, int32_t multiplier0, int32_t shift0, int32_t zero_point1,
                                        int32_t multiplier1, int32_t shift1, int32_t multiplier, int32_t shift,
                                        int32_t out_zero_point, int32_t lo, int32_t hi)
{
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t c = 0; c < ch; ++c) {
            const int32_t a = (in0[p * pixel_step0 + c * ch_step0] - zero_point0) * (1 << 7);
            const int32_t b = (in1[p * pixel_step1 + c * ch_step1] - zero_point1) * (1 << 7);
            const int32_t difference = tc_requantize(a, multiplier0, shift0) - tc_requantize(b, multiplier1, shift1);
            out[p * ch + c] =
                tc_output_s8((uint32_t)(difference * difference), multiplier, shift, out_zero_point, lo, hi);
        }
    }
}

#endif
