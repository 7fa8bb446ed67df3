/* Dot products of floats, added one product after the other. */
#ifndef TC_DOT_F32_H
#define TC_DOT_F32_H

#include "tc_float.h"

/* Adds the products of n inputs with the weights of `filters` (1 or 4) filters, `pitch` weights apart. */
TC_INLINE void tc_dot_f32(float acc[4], const float *x, const float *w, int32_t n, int32_t pitch, int32_t filters)
{
    float a0 = acc[0];
    if (filters == 1) {
        for (int32_t i = 0; i < n; ++i) {
            a0 += x[i] * w[i];
        }
    } else {
        float a1 = acc[1];
        float a2 = acc[2];
        float a3 = acc[3];
        for (int32_t i = 0; i < n; ++i) {
            const float v = x[i];
            a0 += v * w[i];
            a1 += v * w[i + pitch];
            a2 += v * w[i + 2 * pitch];
            a3 += v * w[i + 3 * pitch];
        }
        acc[1] = a1;
        acc[2] = a2;
        acc[3] = a3;
    }
    acc[0] = a0;
}

#endif
