/* Dot products of int8 inputs with weights of 8 or 4 bits (`bits`, see tc_weights_s4.h). Accumulators wrap as int32, so
   they are uint32_t. */
#ifndef TC_DOT_S8_H
#define TC_DOT_S8_H

#include "tc_weights_s4.h"

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

/* The products of two inputs with the weights in the halves of a byte. */
TC_INLINE uint32_t tc_dot_s8_halves(int32_t low, int32_t high, int8_t byte)
{
    return (uint32_t)(low * tc_weight_in(byte, TC_LOW_HALF) + high * tc_weight_in(byte, TC_HIGH_HALF));
}

/* tc_dot_s8 with weights of 4 bits: n whole blocks' weights, or what is left of a row. pitch: in bytes. */
TC_INLINE void tc_dot_s8_blocks(uint32_t acc[4], const int8_t *x, const int8_t *w, int32_t n, int32_t pitch,
                                int32_t filters)
{
    uint32_t a0 = acc[0];
    uint32_t a1 = acc[1];
    uint32_t a2 = acc[2];
    uint32_t a3 = acc[3];
    for (int32_t i = 0; i < n; i += 8) {
        const int32_t left = n - i;
        const int32_t half = left < 8 ? (left + 1) / 2 : 4;
        for (int32_t k = 0; k < half; ++k) {
            const int8_t *const byte = w + i / 2 + k;
            const int32_t low = x[i + k];
            const int32_t high = half + k < left ? x[i + k + half] : 0;
            a0 += tc_dot_s8_halves(low, high, byte[0]);
            if (filters != 1) {
                a1 += tc_dot_s8_halves(low, high, byte[pitch]);
                a2 += tc_dot_s8_halves(low, high, byte[2 * pitch]);
                a3 += tc_dot_s8_halves(low, high, byte[3 * pitch]);
            }
        }
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
}

/* tc_dot_s8 with weights [first, first + n) of rows of row_weights. w: the first filter's row; pitch: bytes from one
   filter to the next. */
TC_INLINE void tc_dot_s8_row(uint32_t acc[4], const int8_t *x, const int8_t *w, int32_t first, int32_t n,
                             int32_t row_weights, int32_t pitch, int32_t filters, int32_t bits)
{
    if (bits != 4) {
        tc_dot_s8(acc, x, w + first, n, pitch, filters);
    } else if (first % 8 == 0 && (n % 8 == 0 || first + n == row_weights)) {
        tc_dot_s8_blocks(acc, x, w + first / 2, n, pitch, filters);
    } else {
        for (int32_t i = 0; i < n; ++i) {
            const tc_weight_place at = tc_weight_at(first + i, row_weights, bits);
            for (int32_t f = 0; f < filters; ++f) {
                acc[f] += (uint32_t)(x[i] * tc_weight_in(w[at.byte + f * pitch], at.part));
            }
        }
    }
}

/* The same where all n inputs are padding, which has the value of the input's zero point. */
TC_INLINE void tc_dot_s8_padding(uint32_t acc[4], int32_t zero_point, const int8_t *w, int32_t first, int32_t n,
                                 int32_t row_weights, int32_t pitch, int32_t filters, int32_t bits)
{
    if (zero_point != 0) {
        for (int32_t f = 0; f < filters; ++f) {
            int32_t sum = 0;
            for (int32_t i = first; i < first + n; ++i) {
                const tc_weight_place at = tc_weight_at(i, row_weights, bits);
                sum += tc_weight_in(w[at.byte + f * pitch], at.part);
            }
            acc[f] += (uint32_t)(zero_point * sum);
        }
    }
}

#endif
