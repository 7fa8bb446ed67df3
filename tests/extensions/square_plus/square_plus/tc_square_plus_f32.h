/* x * x + b of floats. */
#ifndef TC_SQUARE_PLUS_F32_H
#define TC_SQUARE_PLUS_F32_H

#include "tc_float.h"

/* out and in0: `n` values; out may be in0. bias: one value. */
TC_INLINE void tc_square_plus_f32(float *out, const float *in0, const float *bias, int32_t n)
{
    for (int32_t i = 0; i < n; ++i) {
        out[i] = in0[i] * in0[i] + bias[0];
    }
}

#endif
