/* Means of int16 values from their sums. */
#ifndef TC_MEAN_OF_SUMS_S16_H
#define TC_MEAN_OF_SUMS_S16_H

#include "tc_requantize_s16.h"

/* As tc_mean_of_sums_s8, but zero points are 0. out must not overlap in0. */
TC_INLINE void tc_mean_of_sums_s16(int16_t *out, const int32_t *in0, int32_t ch, int32_t multiplier, int32_t shift)
{
    for (int32_t c = 0; c < ch; ++c) {
        out[c] = tc_output_s16(in0[c], multiplier, shift, 0, -32768, 32767);
    }
}

#endif
