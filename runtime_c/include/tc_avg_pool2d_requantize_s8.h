/* Average pooling of a map, one output row; the output is quantised otherwise than the input. */
#ifndef TC_AVG_POOL2D_REQUANTIZE_S8_H
#define TC_AVG_POOL2D_REQUANTIZE_S8_H

#include "tc_pool_sum_s8.h"

/* Arguments as tc_avg_pool2d_s8; multiplier, shift: s_in / (s_out * count) for windows of count = 1, 2, ... taps.
   A window without taps gives out_zero_point. */
TC_INLINE void tc_avg_pool2d_requantize_s8(int8_t *out, const int8_t *const *in0, const int32_t *multiplier,
                                           const int8_t *shift, int32_t in_w, int32_t ch, int32_t out_w,
                                           int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t pad_left,
                                           int32_t include_pad, int32_t in_zero_point, int32_t out_zero_point,
                                           int32_t lo, int32_t hi)
{
    const int32_t rows = tc_pool_rows(in0, kernel_h);
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, 1);
        const int32_t inside = rows * (taps.to - taps.from);
        const int32_t count = include_pad ? kernel_h * kernel_w : inside;
        const int32_t entry = count > 0 ? count - 1 : 0;
        for (int32_t c = 0; c < ch; ++c) {
            const int32_t sum = tc_pool_sum_s8(in0, kernel_h, x0 * ch + c, taps, ch) - inside * in_zero_point;
            out[x * ch + c] =
                tc_output_nearest_s8((uint32_t)sum, multiplier[entry], shift[entry], out_zero_point, lo, hi);
        }
    }
}

#endif
