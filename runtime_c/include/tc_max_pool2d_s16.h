/* Maximum pooling of a map of int16 values, one output row. */
#ifndef TC_MAX_POOL2D_S16_H
#define TC_MAX_POOL2D_S16_H

#include "tc_taps.h"

/* As tc_max_pool2d_s8. lo, hi: output clamp, within int16. */
TC_INLINE void tc_max_pool2d_s16(int16_t *out, const int16_t *const *in0, int32_t in_w, int32_t ch, int32_t out_w,
                                 int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t pad_left,
                                 int32_t dilation_w, int32_t lo, int32_t hi)
{
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);
        for (int32_t c = 0; c < ch; ++c) {
            int32_t best = lo;
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                if (in0[ky] != NULL) {
                    for (int32_t kx = taps.from; kx < taps.to; ++kx) {
                        const int32_t v = in0[ky][(x0 + kx * dilation_w) * ch + c];
                        best = v > best ? v : best;
                    }
                }
            }
            out[x * ch + c] = (int16_t)(best > hi ? hi : best);
        }
    }
}

#endif
