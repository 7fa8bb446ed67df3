/* Running sums of a map's rows of int16 values, per channel: one output row. */
#ifndef TC_ROW_SUM_S16_H
#define TC_ROW_SUM_S16_H

#include "tc_types.h"

/* As tc_row_sum_s8. Sums stay within int32 for up to 2^16 values. */
TC_INLINE void tc_row_sum_s16(int32_t *out, const int16_t *in0, const int32_t *in1, int32_t width, int32_t ch)
{
    for (int32_t c = 0; c < ch; ++c) {
        int32_t sum = in1 != NULL ? in1[c] : 0;
        for (int32_t x = 0; x < width; ++x) {
            sum += in0[x * ch + c];
        }
        out[c] = sum;
    }
}

#endif
