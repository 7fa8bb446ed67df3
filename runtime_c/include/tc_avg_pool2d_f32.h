/* Average pooling of a map of floats, one output row. */
#ifndef TC_AVG_POOL2D_F32_H
#define TC_AVG_POOL2D_F32_H

#include "tc_float.h"
#include "tc_taps.h"

/* out: one row, (out_w, ch). in0: kernel_h input rows, (in_w, ch) each; NULL for a row in the padding. y: the output
   row. The sum of the taps inside the map, one after the other, is divided by their number, or with include_pad by the
   number of taps in rows below counted_h and columns below counted_w. A window without taps gives 0. limits, lower,
   upper: output clamp, see tc_clamp_f32. out must not overlap the input rows. */
TC_INLINE void tc_avg_pool2d_f32(float *out, const float *const *in0, int32_t y, const float *limits, int32_t in_w,
                                 int32_t ch, int32_t out_w, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                 int32_t pad_left, int32_t dilation_w, int32_t stride_h, int32_t pad_top,
                                 int32_t dilation_h, int32_t include_pad, int32_t counted_h, int32_t counted_w,
                                 int32_t lower, int32_t upper)
{
    int32_t rows = 0;
    if (include_pad) {
        const tc_taps below = tc_taps_inside(y * stride_h - pad_top, counted_h, kernel_h, dilation_h);
        rows = below.to;
    } else {
        for (int32_t ky = 0; ky < kernel_h; ++ky) {
            rows += in0[ky] != NULL ? 1 : 0;
        }
    }
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);
        const int32_t columns =
            include_pad ? tc_taps_inside(x0, counted_w, kernel_w, dilation_w).to : taps.to - taps.from;
        const float count = (float)(rows * columns > 0 ? rows * columns : 1);
        for (int32_t c = 0; c < ch; ++c) {
            float sum = 0.0f;
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                if (in0[ky] != NULL) {
                    for (int32_t kx = taps.from; kx < taps.to; ++kx) {
                        sum += in0[ky][(x0 + kx * dilation_w) * ch + c];
                    }
                }
            }
            out[x * ch + c] = tc_clamp_f32(sum / count, limits, lower, upper);
        }
    }
}

#endif
