/* Dot products of int8 inputs with int8 weights. Accumulators wrap as int32, so they are uint32_t. */
#ifndef TC_DOT_S8_H
#define TC_DOT_S8_H

#include "tc_types.h"

/* Adds the products of n inputs with the weights of `filters` (1 or 4) filters, `pitch` weights apart. */
TC_INLINE void tc_dot_s8(uint32_t acc[4], const int8_t *x, const int8_t *w, int32_t n, int32_t pitch, int32_t filters)
{
    uint32_t a0 = acc[0];
    if (filters == 1) {
        for (int32_t i = 0; i < n; ++i) {
            a0 += (uint32_t)(x[i] * w[i]);
        }
    } else {
        uint32_t a1 = acc[1];
        uint32_t a2 = acc[2];
        uint32_t a3 = acc[3];
        for (int32_t i = 0; i < n; ++i) {
            const int32_t v = x[i];
            a0 += (uint32_t)(v * w[i]);
            a1 += (uint32_t)(v * w[i + pitch]);
            a2 += (uint32_t)(v * w[i + 2 * pitch]);
            a3 += (uint32_t)(v * w[i + 3 * pitch]);
        }
        acc[1] = a1;
        acc[2] = a2;
        acc[3] = a3;
    }
    acc[0] = a0;
}

/* The same where all n inputs are padding, which has the value of the input's zero point. */
TC_INLINE void tc_dot_s8_padding(uint32_t acc[4], int32_t zero_point, const int8_t *w, int32_t n, int32_t pitch,
                                 int32_t filters)
{
    if (zero_point != 0) {
        for (int32_t f = 0; f < filters; ++f) {
            int32_t sum = 0;
            for (int32_t i = 0; i < n; ++i) {
                sum += w[i + f * pitch];
            }
            acc[f] += (uint32_t)(zero_point * sum);
        }
    }
}

#endif
