/* Bilinear resize of int16 values, one output row. */
#ifndef TC_RESIZE_BILINEAR_S16_H
#define TC_RESIZE_BILINEAR_S16_H

#include "tc_types.h"

/* As tc_resize_bilinear_s8. */
TC_INLINE void tc_resize_bilinear_s16(int16_t *out, const int16_t *in0, const int16_t *in1, int32_t y,
                                      const int16_t *row_weights, const uint16_t *columns,
                                      const int16_t *column_weights, int32_t out_w, int32_t ch)
{
    const int32_t wy = row_weights[y];
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t wx = column_weights[x];
        const int32_t first = columns[2 * x] * ch;
        const int32_t second = columns[2 * x + 1] * ch;
        for (int32_t c = 0; c < ch; ++c) {
            const int64_t left = in0[first + c] * (1024 - wy) + in1[first + c] * wy;
            const int64_t right = in0[second + c] * (1024 - wy) + in1[second + c] * wy;
            const int64_t sum = left * (1024 - wx) + right * wx;
            out[x * ch + c] = (int16_t)(sum > 0 ? (sum + (1 << 19)) >> 20 : -((-sum + (1 << 19)) >> 20));
        }
    }
}

#endif
