/* Maximum pooling of a map of floats, one output row. */
#ifndef TC_MAX_POOL2D_F32_H
#define TC_MAX_POOL2D_F32_H

#include "tc_float.h"
#include "tc_taps.h"

/* out: one row, (out_w, ch). in0: kernel_h input rows, (in_w, ch) each; NULL for a row in the padding, which never
   wins; a NaN does. limits, lower, upper: output clamp, see tc_clamp_f32. out must not overlap the input rows. */
TC_INLINE void tc_max_pool2d_f32(float *out, const float *const *in0, const float *limits, int32_t in_w, int32_t ch,
                                 int32_t out_w, int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t pad_left,
                                 int32_t dilation_w, int32_t lower, int32_t upper)
{
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);
        float *const y = out + x * ch;
        for (int32_t c = 0; c < ch; ++c) {
            float best = -TC_INFINITY;
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                if (in0[ky] != NULL) {
                    for (int32_t kx = taps.from; kx < taps.to; ++kx) {
                        const float v = in0[ky][(x0 + kx * dilation_w) * ch + c];
                        best = v <= best || best != best ? best : v;
                    }
                }
            }
            y[c] = tc_clamp_f32(best, limits, lower, upper);
        }
    }
}

#endif
