/* Addition and subtraction of two maps of one shape; cores with the DSP extension. */
#ifndef TC_ADD_S8_DSP_H
#define TC_ADD_S8_DSP_H

#include "tc_dsp.h"

/* An operand less its zero point, times 2^20, scaled: the exact high product needs no more than the operand's bits. The
   operand of the larger scale is halved. */
TC_INLINE int32_t tc_add_s8_dsp_operand(int32_t x, int32_t zero_point, int32_t multiplier, int32_t shift)
{
    if (multiplier == 1 << 30 && shift == 0) {
        return (x - zero_point) * (1 << 19);
    }
    const int32_t high = tc_add_high_multiply(0, (x - zero_point) * (1 << 21), multiplier);
    if (shift == 0) {
        return high;
    }
    return (high + (high >> 31) + (tc_shift_left(1, -shift) >> 1)) >> -shift;
}

/* out: `elems` values of two operands. Arguments as tc_add_s8, no shift to the left; multiplier and shift as
   tc_dsp_stage_of has them. out may be an operand, or lie below it. */
TC_INLINE void tc_add_s8_dsp(int8_t *out, const int8_t *in0, const int8_t *in1, int32_t elems, int32_t zero_point0,
                             int32_t multiplier0, int32_t shift0, int32_t sign0, int32_t zero_point1,
                             int32_t multiplier1, int32_t shift1, int32_t sign1, int32_t multiplier, int32_t shift,
                             int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const tc_dsp_stage stage = tc_dsp_stage_of(multiplier, shift, out_zero_point);
    for (int32_t k = 0; k < elems; ++k) {
        const int32_t a = tc_add_s8_dsp_operand(in0[k], zero_point0, multiplier0, shift0);
        const int32_t b = tc_add_s8_dsp_operand(in1[k], zero_point1, multiplier1, shift1);
        out[k] = tc_dsp_output_s8((uint32_t)(sign0 * a + sign1 * b), stage, lo, hi);
    }
}

#endif
