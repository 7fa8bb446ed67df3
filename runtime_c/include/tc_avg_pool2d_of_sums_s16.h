/* Average pooling over a whole map of int16 values from its sums; output of the map's scale. */
#ifndef TC_AVG_POOL2D_OF_SUMS_S16_H
#define TC_AVG_POOL2D_OF_SUMS_S16_H

#include "tc_requantize.h"

/* As tc_avg_pool2d_of_sums_s8. lo, hi: output clamp, within int16. out must not overlap in0. */
TC_INLINE void tc_avg_pool2d_of_sums_s16(int16_t *out, const int32_t *in0, int32_t ch, int32_t count, int32_t lo,
                                         int32_t hi)
{
    for (int32_t c = 0; c < ch; ++c) {
        const int32_t mean = in0[c] > 0 ? (in0[c] + count / 2) / count : (in0[c] - count / 2) / count;
        out[c] = (int16_t)tc_clamp(mean, lo, hi);
    }
}

#endif
