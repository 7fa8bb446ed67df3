/* Leaky relu of int16 values. */
#ifndef TC_LEAKY_RELU_S16_H
#define TC_LEAKY_RELU_S16_H

#include "tc_requantize.h"

/* out[i] = in0[i] scaled by multiplier0 and shift0 from 0 on, by multiplier1 and shift1 below. out may be in0, or lie
   below it. */
TC_INLINE void tc_leaky_relu_s16(int16_t *out, const int16_t *in0, int32_t elems, int32_t multiplier0, int32_t shift0,
                                 int32_t multiplier1, int32_t shift1)
{
    for (int32_t i = 0; i < elems; ++i) {
        const int32_t x = in0[i];
        const int32_t y = x >= 0 ? tc_requantize(x, multiplier0, shift0) : tc_requantize(x, multiplier1, shift1);
        out[i] = (int16_t)tc_clamp(y, -32768, 32767);
    }
}

#endif
