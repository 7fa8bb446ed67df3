/* Means from their sums. */
#ifndef TC_MEAN_OF_SUMS_S8_H
#define TC_MEAN_OF_SUMS_S8_H

#include "tc_requantize.h"

/* out: ch means. in0: ch sums of int8. sum_zero_point: the zero point of the values times their number. multiplier,
   shift: s_in / (s_out * number), see tc_requantize. in0 is aligned to int32_t. out may start at or below in0. */
TC_INLINE void tc_mean_of_sums_s8(int8_t *out, const int32_t *in0, int32_t ch, int32_t sum_zero_point,
                                  int32_t multiplier, int32_t shift, int32_t out_zero_point)
{
    for (int32_t c = 0; c < ch; ++c) {
        out[c] = tc_output_s8((uint32_t)(in0[c] - sum_zero_point), multiplier, shift, out_zero_point, -128, 127);
    }
}

#endif
