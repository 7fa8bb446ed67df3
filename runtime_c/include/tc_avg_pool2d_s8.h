/* Average pooling of a map, one output row; input and output quantised alike. */
#ifndef TC_AVG_POOL2D_S8_H
#define TC_AVG_POOL2D_S8_H

#include "tc_pool_sum_s8.h"
#include "tc_rounded_mean.h"

/* out: one row, (out_w, ch). in0: kernel_h input rows, (in_w, ch) each; NULL for a row in the padding. Padding is left
   out of the mean, or counts as in_zero_point with include_pad. lo, hi: output clamp, within int8. A window without
   taps gives 0. No alignment needed. out must not overlap the input rows. */
TC_INLINE void tc_avg_pool2d_s8(int8_t *out, const int8_t *const *in0, int32_t in_w, int32_t ch, int32_t out_w,
                                int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t pad_left,
                                int32_t include_pad, int32_t in_zero_point, int32_t lo, int32_t hi)
{
    const int32_t rows = tc_pool_rows(in0, kernel_h);
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, 1);
        const int32_t inside = rows * (taps.to - taps.from);
        const int32_t count = include_pad ? kernel_h * kernel_w : inside;
        const int32_t padding = (count - inside) * in_zero_point;
        const uint32_t reciprocal = tc_rounded_mean_reciprocal(count > 0 ? count : 1);
        for (int32_t c = 0; c < ch; ++c) {
            const int32_t sum = tc_pool_sum_s8(in0, kernel_h, x0 * ch + c, taps, ch) + padding;
            out[x * ch + c] = (int8_t)tc_clamp(tc_rounded_mean(sum, count, reciprocal), lo, hi);
        }
    }
}

#endif
