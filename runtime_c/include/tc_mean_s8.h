/* Mean over any of rows, columns and channels, one output row. */
#ifndef TC_MEAN_S8_H
#define TC_MEAN_S8_H

#include "tc_requantize.h"

/* in0: the rows to average (one, when rows are kept), (width, ch) each. out: the columns and channels that are kept,
   each the mean over the others. sum_zero_point: the input zero point times the elements of one mean. multiplier,
   shift: s_in / (s_out * elements), see tc_requantize. No alignment needed. out must not overlap the input rows. */
TC_INLINE void tc_mean_s8(int8_t *out, const int8_t *const *in0, int32_t rows, int32_t width, int32_t ch,
                          int32_t reduce_width, int32_t reduce_ch, int32_t sum_zero_point, int32_t multiplier,
                          int32_t shift, int32_t out_zero_point)
{
    const int32_t outputs_w = reduce_width ? 1 : width;
    const int32_t outputs_ch = reduce_ch ? 1 : ch;
    const int32_t taps_w = reduce_width ? width : 1;
    const int32_t taps_ch = reduce_ch ? ch : 1;
    for (int32_t x = 0; x < outputs_w; ++x) {
        for (int32_t c = 0; c < outputs_ch; ++c) {
            int32_t sum = -sum_zero_point;
            for (int32_t r = 0; r < rows; ++r) {
                const int8_t *const first = in0[r] + x * ch + c;
                for (int32_t i = 0; i < taps_w; ++i) {
                    for (int32_t k = 0; k < taps_ch; ++k) {
                        sum += first[i * ch + k];
                    }
                }
            }
            out[x * outputs_ch + c] = tc_output_s8((uint32_t)sum, multiplier, shift, out_zero_point, -128, 127);
        }
    }
}

#endif
