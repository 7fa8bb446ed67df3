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

/* tc_dot_s8 with the n weights of one block of 4 bits. pitch: in bytes. */
TC_INLINE void tc_dot_s8_block(uint32_t acc[4], const int8_t *x, const int8_t *w, int32_t n, int32_t pitch,
                               int32_t filters)
{
    const int32_t half = (n + 1) / 2;
    for (int32_t k = 0; k < n / 2; ++k) {
        const int32_t low = x[k];
        const int32_t high = x[k + half];
        TC_UNROLL
        for (int32_t f = 0; f < filters; ++f) {
            const int8_t byte = w[k + f * pitch];
            acc[f] += (uint32_t)(low * tc_weight_in(byte, TC_LOW_HALF));
            acc[f] += (uint32_t)(high * tc_weight_in(byte, TC_HIGH_HALF));
        }
    }
    if (n % 2 != 0) {
        TC_UNROLL
        for (int32_t f = 0; f < filters; ++f) {
            acc[f] += (uint32_t)(x[half - 1] * tc_weight_in(w[half - 1 + f * pitch], TC_LOW_HALF));
        }
    }
}

/* The same with the weights of n / 8 blocks and, of a row that ends there, of a shorter one. */
TC_INLINE void tc_dot_s8_blocks(uint32_t acc[4], const int8_t *x, const int8_t *w, int32_t n, int32_t pitch,
                                int32_t filters)
{
    uint32_t sums[4] = {acc[0], acc[1], acc[2], acc[3]};
    int32_t i = 0;
    for (; i + 7 < n; i += 8) {
        tc_dot_s8_block(sums, x + i, w + i / 2, 8, pitch, filters);
    }
    tc_dot_s8_block(sums, x + i, w + i / 2, n - i, pitch, filters);
    TC_UNROLL
    for (int32_t f = 0; f < filters; ++f) {
        acc[f] = sums[f];
    }
}

/* The same with weights [first, first + n) of a row of row_weights that need not be blocks. x: NULL where the inputs are
   padding, which has the value of the input's zero point. */
TC_INLINE void tc_dot_s8_part(uint32_t acc[4], const int8_t *x, int32_t zero_point, const int8_t *w, int32_t first,
                              int32_t n, int32_t row_weights, int32_t pitch, int32_t filters)
{
    for (int32_t block = first & ~7; block < first + n; block += 8) {
        const int32_t half = row_weights - block < 8 ? (row_weights - block + 1) >> 1 : 4;
        for (int32_t k = 0; k < half; ++k) {
            const int32_t i = block + k - first;
            const int32_t j = i + half;
            const int32_t low = i < 0 || i >= n ? 0 : x != NULL ? x[i] : zero_point;
            const int32_t high = j < 0 || j >= n ? 0 : x != NULL ? x[j] : zero_point;
            for (int32_t f = 0; f < filters; ++f) {
                const int8_t byte = w[(block >> 1) + k + f * pitch];
                acc[f] += (uint32_t)(low * tc_weight_in(byte, TC_LOW_HALF));
                acc[f] += (uint32_t)(high * tc_weight_in(byte, TC_HIGH_HALF));
            }
        }
    }
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
        tc_dot_s8_part(acc, x, 0, w, first, n, row_weights, pitch, filters);
    }
}

/* The same where all n inputs are padding. */
TC_INLINE void tc_dot_s8_padding(uint32_t acc[4], int32_t zero_point, const int8_t *w, int32_t first, int32_t n,
                                 int32_t row_weights, int32_t pitch, int32_t filters, int32_t bits)
{
    if (zero_point != 0 && bits != 4) {
        for (int32_t f = 0; f < filters; ++f) {
            int32_t sum = 0;
            for (int32_t i = first; i < first + n; ++i) {
                sum += w[i + f * pitch];
            }
            acc[f] += (uint32_t)(zero_point * sum);
        }
    } else if (zero_point != 0) {
        tc_dot_s8_part(acc, NULL, zero_point, w, first, n, row_weights, pitch, filters);
    }
}

#endif
