/* Dot products of int16 inputs with int8 weights. */
#ifndef TC_DOT_S16_H
#define TC_DOT_S16_H

#include "tc_types.h"

#define TC_DOT_S16_RUN 256 /* products, of at most 2^22 each, that are added as int32 before they go to the int64 sum */

/* Adds the products of n inputs with the weights of `filters` (1 or 4) filters, `pitch` weights apart. */
TC_INLINE void tc_dot_s16(int64_t acc[4], const int16_t *x, const int8_t *w, int32_t n, int32_t pitch, int32_t filters)
{
    for (int32_t from = 0; from < n; from += TC_DOT_S16_RUN) {
        const int32_t to = n - from < TC_DOT_S16_RUN ? n : from + TC_DOT_S16_RUN;
        int32_t a0 = 0;
        if (filters == 1) {
            for (int32_t i = from; i < to; ++i) {
                a0 += x[i] * w[i];
            }
        } else {
            int32_t a1 = 0;
            int32_t a2 = 0;
            int32_t a3 = 0;
            for (int32_t i = from; i < to; ++i) {
                const int32_t v = x[i];
                a0 += v * w[i];
                a1 += v * w[i + pitch];
                a2 += v * w[i + 2 * pitch];
                a3 += v * w[i + 3 * pitch];
            }
            acc[1] += a1;
            acc[2] += a2;
            acc[3] += a3;
        }
        acc[0] += a0;
    }
}

#endif
