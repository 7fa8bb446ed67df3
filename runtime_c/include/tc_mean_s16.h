/* Mean of int16 values over any of rows, columns and channels, one output row. */
#ifndef TC_MEAN_S16_H
#define TC_MEAN_S16_H

#include "tc_requantize_s16.h"

/* As tc_mean_s8, but zero points are 0; a mean is of at most 2^16 values. */
TC_INLINE void tc_mean_s16(int16_t *out, const int16_t *const *in0, int32_t rows, int32_t width, int32_t ch,
                           int32_t reduce_width, int32_t reduce_ch, int32_t multiplier, int32_t shift)
{
    const int32_t outputs_w = reduce_width ? 1 : width;
    const int32_t outputs_ch = reduce_ch ? 1 : ch;
    const int32_t taps_w = reduce_width ? width : 1;
    const int32_t taps_ch = reduce_ch ? ch : 1;
    for (int32_t x = 0; x < outputs_w; ++x) {
        for (int32_t c = 0; c < outputs_ch; ++c) {
            int32_t sum = 0;
            for (int32_t r = 0; r < rows; ++r) {
                const int16_t *const first = in0[r] + x * ch + c;
                for (int32_t i = 0; i < taps_w; ++i) {
                    for (int32_t k = 0; k < taps_ch; ++k) {
                        sum += first[i * ch + k];
                    }
                }
            }
            out[x * outputs_ch + c] = tc_output_s16(sum, multiplier, shift, 0, -32768, 32767);
        }
    }
}

#endif
