/* int32 sums to int8 in one rounding: fully connected layers and rescaling pools that are summed row by row. */
#ifndef TC_REQUANTIZE_SUMS_S8_H
#define TC_REQUANTIZE_SUMS_S8_H

#include "tc_requantize.h"

/* out: ch values. in0: ch sums. multiplier, shift: ch each with per_channel, else one for all; see
   tc_output_nearest_s8. sum_zero_point is subtracted from the sums. lo, hi: output clamp, within int8. in0 is aligned
   to int32_t. out may start at or below in0. */
TC_INLINE void tc_requantize_sums_s8(int8_t *out, const int32_t *in0, const int32_t *multiplier, const int8_t *shift,
                                     int32_t ch, int32_t per_channel, int32_t sum_zero_point, int32_t out_zero_point,
                                     int32_t lo, int32_t hi)
{
    for (int32_t c = 0; c < ch; ++c) {
        const int32_t k = per_channel ? c : 0;
        const uint32_t sum = (uint32_t)in0[c] - (uint32_t)sum_zero_point;
        out[c] = tc_output_nearest_s8(sum, multiplier[k], shift[k], out_zero_point, lo, hi);
    }
}

#endif
