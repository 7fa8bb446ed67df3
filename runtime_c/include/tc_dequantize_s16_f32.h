/* int16 to float32. */
#ifndef TC_DEQUANTIZE_S16_F32_H
#define TC_DEQUANTIZE_S16_F32_H

#include "tc_types.h"

/* out[i] = scale[0] * in0[i]: one rounding, so contraction cannot change it. out must not overlap in0. */
TC_INLINE void tc_dequantize_s16_f32(float *out, const int16_t *in0, const float *scale, int32_t elems)
{
    for (int32_t i = 0; i < elems; ++i) {
        out[i] = scale[0] * (float)in0[i];
    }
}

#endif
