/* The outputs of an SVDF layer from its memory. */
#ifndef TC_SVDF_TIME_S16_H
#define TC_SVDF_TIME_S16_H

#include "tc_requantize.h"

/* out: units values. in0, weights: (units, taps). bias: units values. The sum wraps. */
TC_INLINE void tc_svdf_time_s16(int8_t *out, const int16_t *in0, const int16_t *weights, const int32_t *bias,
                                int32_t units, int32_t taps, int32_t multiplier, int32_t shift, int32_t out_zero_point)
{
    for (int32_t u = 0; u < units; ++u) {
        uint32_t acc = (uint32_t)bias[u];
        for (int32_t t = u * taps; t < (u + 1) * taps; ++t) {
            acc += (uint32_t)(in0[t] * weights[t]);
        }
        out[u] = tc_output_s8(acc, multiplier, shift, out_zero_point, -128, 127);
    }
}

#endif
