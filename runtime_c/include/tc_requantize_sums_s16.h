/* int32 sums to int16 in one rounding: rescaling pools that are summed row by row. */
#ifndef TC_REQUANTIZE_SUMS_S16_H
#define TC_REQUANTIZE_SUMS_S16_H

#include "tc_requantize_s16.h"

/* As tc_requantize_sums_s8, but zero points are 0; see tc_output_nearest_s16. out must not overlap in0. */
TC_INLINE void tc_requantize_sums_s16(int16_t *out, const int32_t *in0, const int64_t *multiplier, const int8_t *shift,
                                      int32_t ch, int32_t per_channel, int32_t lo, int32_t hi)
{
    for (int32_t c = 0; c < ch; ++c) {
        const int32_t k = per_channel ? c : 0;
        out[c] = tc_output_nearest_s16(in0[c], multiplier[k], shift[k], lo, hi);
    }
}

#endif
