/* Addition and subtraction of two maps of one shape; cores with MVE. */
#ifndef TC_ADD_S8_MVE_H
#define TC_ADD_S8_MVE_H

#include "tc_add_s8.h"
#include "tc_mve.h"

#if defined(__ARM_FEATURE_MVE)
/* Four values less their zero point, times 2^20, scaled; the operand of the larger scale is halved. */
TC_INLINE int32x4_t tc_add_s8_mve_operand(int32x4_t x, int32_t zero_point, int32_t multiplier, int32_t shift)
{
    const int32x4_t above = vsubq_n_s32(x, zero_point);
    if (multiplier == 1 << 30 && shift == 0) {
        return vshlq_n_s32(above, 19);
    }
    return tc_mve_requantize(vshlq_n_s32(above, 20), vdupq_n_s32(multiplier), vdupq_n_s32(shift));
}

/* Four outputs. */
TC_INLINE int32x4_t tc_add_s8_mve_four(int32x4_t x0, int32x4_t x1, int32_t zero_point0, int32_t multiplier0,
                                       int32_t shift0, int32_t sign0, int32_t zero_point1, int32_t multiplier1,
                                       int32_t shift1, int32_t sign1, int32_t multiplier, int32_t shift,
                                       int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const int32x4_t a = tc_add_s8_mve_operand(x0, zero_point0, multiplier0, shift0);
    const int32x4_t b = tc_add_s8_mve_operand(x1, zero_point1, multiplier1, shift1);
    const int32x4_t total = vaddq_s32(sign0 < 0 ? vnegq_s32(a) : a, sign1 < 0 ? vnegq_s32(b) : b);
    const int32x4_t sum = tc_mve_requantize(total, vdupq_n_s32(multiplier), vdupq_n_s32(shift));
    return vminq_s32(vmaxq_s32(vqaddq_n_s32(sum, out_zero_point), vdupq_n_s32(lo)), vdupq_n_s32(hi));
}
#endif

/* out: `elems` values of two operands. Arguments as tc_add_s8, no shift to the left. out may be an operand, or lie below
   it. */
TC_INLINE void tc_add_s8_mve(int8_t *out, const int8_t *in0, const int8_t *in1, int32_t elems, int32_t zero_point0,
                             int32_t multiplier0, int32_t shift0, int32_t sign0, int32_t zero_point1,
                             int32_t multiplier1, int32_t shift1, int32_t sign1, int32_t multiplier, int32_t shift,
                             int32_t out_zero_point, int32_t lo, int32_t hi)
{
#if defined(__ARM_FEATURE_MVE)
    const int32_t whole = elems / 4 * 4;
    for (int32_t k = 0; k < whole; k += 4) {
        vstrbq_s32(out + k, tc_add_s8_mve_four(vldrbq_s32(in0 + k), vldrbq_s32(in1 + k), zero_point0, multiplier0,
                                               shift0, sign0, zero_point1, multiplier1, shift1, sign1, multiplier,
                                               shift, out_zero_point, lo, hi));
    }
    if (whole != elems) {
        const mve_pred16_t some = vctp32q((uint32_t)(elems - whole));
        const int32x4_t x0 = vldrbq_z_s32(in0 + whole, some);
        const int32x4_t x1 = vldrbq_z_s32(in1 + whole, some);
        vstrbq_p_s32(out + whole,
                     tc_add_s8_mve_four(x0, x1, zero_point0, multiplier0, shift0, sign0, zero_point1, multiplier1,
                                        shift1, sign1, multiplier, shift, out_zero_point, lo, hi),
                     some);
    }
#else
    tc_add_s8(out, in0, in1, elems, 1, 1, 0, 1, 0, zero_point0, multiplier0, shift0, sign0, zero_point1, multiplier1,
              shift1, sign1, multiplier, shift, out_zero_point, lo, hi);
#endif
}

#endif
