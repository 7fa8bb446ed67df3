/* Bilinear resize, one output row. */
#ifndef TC_RESIZE_BILINEAR_S8_H
#define TC_RESIZE_BILINEAR_S8_H

#include "tc_types.h"

/* out: one row, (out_w, ch), between input rows in0 and in1 (ch per pixel). row_weights: weight of in1 in 1/1024, per
   output row y. columns: the two input columns of each output column; column_weights: weight of the second in 1/1024.
   out must not overlap the input rows. */
TC_INLINE void tc_resize_bilinear_s8(int8_t *out, const int8_t *in0, const int8_t *in1, int32_t y,
                                     const int16_t *row_weights, const uint16_t *columns, const int16_t *column_weights,
                                     int32_t out_w, int32_t ch)
{
    const int32_t wy = row_weights[y];
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t wx = column_weights[x];
        const int32_t first = columns[2 * x] * ch;
        const int32_t second = columns[2 * x + 1] * ch;
        for (int32_t c = 0; c < ch; ++c) {
            const int32_t sum = in0[first + c] * (1024 - wy) * (1024 - wx) + in1[first + c] * wy * (1024 - wx) +
                                in0[second + c] * (1024 - wy) * wx + in1[second + c] * wy * wx;
            out[x * ch + c] = (int8_t)(sum > 0 ? (sum + (1 << 19)) >> 20 : -((-sum + (1 << 19)) >> 20));
        }
    }
}

#endif
