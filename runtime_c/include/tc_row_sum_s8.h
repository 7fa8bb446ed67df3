/* Running sums of a map's rows, per channel: one output row. */
#ifndef TC_ROW_SUM_S8_H
#define TC_ROW_SUM_S8_H

#include "tc_types.h"

/* Adds `pixels` (1..4) pixels of (pixels, ch) to ch sums. */
TC_INLINE void tc_row_sum_s8_pixels(int32_t *out, const int8_t *x, int32_t pixels, int32_t ch)
{
    for (int32_t c = 0; c < ch; ++c) {
        int32_t sum = out[c];
        TC_UNROLL
        for (int32_t p = 0; p < pixels; ++p) {
            sum += x[p * ch + c];
        }
        out[c] = sum;
    }
}

/* out: ch sums, those of in1 plus the row's. in0: one row, (width, ch). in1: the sums before, which may be out itself;
   NULL for the first row. Sums stay within int32 for up to 2^23 values. out and in1 are aligned to int32_t. out must
   not overlap in0, nor in1 otherwise. */
TC_INLINE void tc_row_sum_s8(int32_t *out, const int8_t *in0, const int32_t *in1, int32_t width, int32_t ch)
{
    if (in1 != out) {
        for (int32_t c = 0; c < ch; ++c) {
            out[c] = in1 != NULL ? in1[c] : 0;
        }
    }
    int32_t x = 0;
    for (; x + 3 < width; x += 4) { /* four pixels for each time that a sum is fetched and stored */
        tc_row_sum_s8_pixels(out, in0 + x * ch, 4, ch);
    }
    if (width % 4 != 0) {
        tc_row_sum_s8_pixels(out, in0 + x * ch, width % 4, ch);
    }
}

#endif
