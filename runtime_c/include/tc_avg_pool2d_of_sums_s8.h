/* Average pooling over a whole map from its sums; output quantised as the map. */
#ifndef TC_AVG_POOL2D_OF_SUMS_S8_H
#define TC_AVG_POOL2D_OF_SUMS_S8_H

#include "tc_requantize.h"
#include "tc_rounded_mean.h"

/* out: ch means. in0: ch sums of count int8 values each. lo, hi: output clamp, within int8. in0 is aligned to int32_t.
   out may start at or below in0. */
TC_INLINE void tc_avg_pool2d_of_sums_s8(int8_t *out, const int32_t *in0, int32_t ch, int32_t count, int32_t lo,
                                        int32_t hi)
{
    const uint32_t reciprocal = tc_rounded_mean_reciprocal(count);
    for (int32_t c = 0; c < ch; ++c) {
        out[c] = (int8_t)tc_clamp(tc_rounded_mean(in0[c], count, reciprocal), lo, hi);
    }
}

#endif
