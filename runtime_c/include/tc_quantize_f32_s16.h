/* float32 to int16. */
#ifndef TC_QUANTIZE_F32_S16_H
#define TC_QUANTIZE_F32_S16_H

#include "tc_types.h"

/* out[i] = in0[i] / scale[0] to nearest, halves to even or away from zero, within int16; a NaN gives 0. out may be the
   same place as in0, or lie below it. */
TC_INLINE void tc_quantize_f32_s16(int16_t *out, const float *in0, const float *scale, int32_t elems, int32_t half_even)
{
    for (int32_t i = 0; i < elems; ++i) {
        const float x = in0[i] / scale[0];
        int32_t y = 0;
        if (x >= 32767.0f) {
            y = 32767;
        } else if (x <= -32768.0f) {
            y = -32768;
        } else if (x == x) {
            y = (int32_t)x;
            const float rest = (x < 0.0f ? -1.0f : 1.0f) * (x - (float)y);
            if (rest > 0.5f || (rest >= 0.5f && (!half_even || (y & 1) != 0))) {
                y += x < 0.0f ? -1 : 1;
            }
        }
        out[i] = (int16_t)y;
    }
}

#endif
