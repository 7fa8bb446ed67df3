/* Fully connected layer over consecutive pixels; weights of 4 bits. */
#ifndef TC_FULLY_CONNECTED_S8_W4_H
#define TC_FULLY_CONNECTED_S8_W4_H

#include "tc_fully_connected_s8.h"

/* Arguments as tc_fully_connected_s8, but weights are of 4 bits, in rows of in_ch: see tc_weights_s4.h. */
TC_INLINE void tc_fully_connected_s8_w4(int8_t *out, const int8_t *in0, const int8_t *weights, const int32_t *bias,
                                        const int32_t *multiplier, const int8_t *shift, int32_t pixels, int32_t in_ch,
                                        int32_t out_ch, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    tc_fully_connected_s8_pixels(out, in0, weights, bias, multiplier, shift, pixels, in_ch, out_ch, out_zero_point, lo,
                                 hi, 4);
}

#endif
