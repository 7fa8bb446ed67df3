/* Fully connected layer over consecutive pixels of floats. */
#ifndef TC_FULLY_CONNECTED_F32_H
#define TC_FULLY_CONNECTED_F32_H

#include "tc_dot_f32.h"

/* `filters` (1 or 4) outputs of one pixel from `oc` on. */
TC_INLINE void tc_fully_connected_f32_filters(float *out, const float *x, const float *weights, const float *bias,
                                              const float *limits, int32_t oc, int32_t filters, int32_t in_ch,
                                              int32_t lower, int32_t upper)
{
    float acc[4] = {0};
    for (int32_t f = 0; f < filters; ++f) {
        acc[f] = bias[oc + f];
    }
    tc_dot_f32(acc, x, weights + oc * in_ch, in_ch, in_ch, filters);
    for (int32_t f = 0; f < filters; ++f) {
        out[oc + f] = tc_clamp_f32(acc[f], limits, lower, upper);
    }
}

/* out: (pixels, out_ch). in0: (pixels, in_ch). weights: (out_ch, in_ch). bias: out_ch values. limits, lower, upper:
   output clamp, see tc_clamp_f32. A sum begins with the bias; products are added in the order of the inputs. out must
   not overlap in0. */
TC_INLINE void tc_fully_connected_f32(float *out, const float *in0, const float *weights, const float *bias,
                                      const float *limits, int32_t pixels, int32_t in_ch, int32_t out_ch, int32_t lower,
                                      int32_t upper)
{
    for (int32_t p = 0; p < pixels; ++p) {
        const float *const x = in0 + p * in_ch;
        float *const y = out + p * out_ch;
        int32_t oc = 0;
        for (; oc + 3 < out_ch; oc += 4) {
            tc_fully_connected_f32_filters(y, x, weights, bias, limits, oc, 4, in_ch, lower, upper);
        }
        if (out_ch % 4 != 0) {
            for (; oc < out_ch; ++oc) {
                tc_fully_connected_f32_filters(y, x, weights, bias, limits, oc, 1, in_ch, lower, upper);
            }
        }
    }
}

#endif
