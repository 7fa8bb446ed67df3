/* Bilinear resize of floats, one output row. */
#ifndef TC_RESIZE_BILINEAR_F32_H
#define TC_RESIZE_BILINEAR_F32_H

#include "tc_float.h"

/* out: one row, (out_w, ch), between input rows in0 and in1 (ch per pixel). row_weights: weight of in1, per output row
   y. columns: the two input columns of each output column; column_weights: weight of the second. out must not overlap
   the input rows. */
TC_INLINE void tc_resize_bilinear_f32(float *out, const float *in0, const float *in1, int32_t y,
                                      const float *row_weights, const uint16_t *columns, const float *column_weights,
                                      int32_t out_w, int32_t ch)
{
    const float wy = row_weights[y];
    for (int32_t x = 0; x < out_w; ++x) {
        const float wx = column_weights[x];
        const int32_t first = columns[2 * x] * ch;
        const int32_t second = columns[2 * x + 1] * ch;
        for (int32_t c = 0; c < ch; ++c) {
            const float above = in0[first + c] * (1.0f - wx) + in0[second + c] * wx;
            const float below = in1[first + c] * (1.0f - wx) + in1[second + c] * wx;
            out[x * ch + c] = above * (1.0f - wy) + below * wy;
        }
    }
}

#endif
