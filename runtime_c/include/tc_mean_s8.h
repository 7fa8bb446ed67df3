/* Mean of a map over rows and columns, per channel. */
#ifndef TC_MEAN_S8_H
#define TC_MEAN_S8_H

#include "tc_requantize.h"

/* out: ch values. in0: `rows` rows, (in_w, ch) each. offset: minus the input zero point times the number of values.
   multiplier, shift: s_in / (s_out * count). out must not overlap the input rows. */
TC_INLINE void tc_mean_s8(int8_t *out, const int8_t *const *in0, int32_t rows, int32_t in_w, int32_t ch, int32_t offset,
                          int32_t multiplier, int32_t shift, int32_t out_zero_point)
{
    for (int32_t c = 0; c < ch; ++c) {
        int32_t sum = offset;
        for (int32_t y = 0; y < rows; ++y) {
            const int8_t *const row = in0[y];
            for (int32_t x = 0; x < in_w; ++x) {
                sum += row[x * ch + c];
            }
        }
        out[c] = (int8_t)tc_clamp(tc_requantize(sum, multiplier, shift) + out_zero_point, -128, 127);
    }
}

#endif
