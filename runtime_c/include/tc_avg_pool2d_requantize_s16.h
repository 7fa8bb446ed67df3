/* Average pooling of a map of int16 values, one output row; the output's scale is another than the input's. */
#ifndef TC_AVG_POOL2D_REQUANTIZE_S16_H
#define TC_AVG_POOL2D_REQUANTIZE_S16_H

#include "tc_pool_sum_s16.h"
#include "tc_requantize_s16.h"

/* Arguments as tc_avg_pool2d_s16; multiplier, shift: s_in / (s_out * count) for windows of count = 1, 2, ... taps, see
   tc_output_nearest_s16. */
TC_INLINE void tc_avg_pool2d_requantize_s16(int16_t *out, const int16_t *const *in0, const int64_t *multiplier,
                                            const int8_t *shift, int32_t in_w, int32_t ch, int32_t out_w,
                                            int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t pad_left,
                                            int32_t include_pad, int32_t lo, int32_t hi)
{
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, 1);
        for (int32_t c = 0; c < ch; ++c) {
            int32_t inside;
            const int32_t sum = tc_pool_sum_s16(in0, kernel_h, x0 * ch + c, taps, ch, &inside);
            const int32_t count = include_pad ? kernel_h * kernel_w : inside > 0 ? inside : 1;
            out[x * ch + c] = tc_output_nearest_s16(sum, multiplier[count - 1], shift[count - 1], lo, hi);
        }
    }
}

#endif
