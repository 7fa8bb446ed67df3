/* Fully connected layer over a whole map, accumulated row by row; weights of 4 bits. */
#ifndef TC_FULLY_CONNECTED_ROWS_S8_W4_H
#define TC_FULLY_CONNECTED_ROWS_S8_W4_H

#include "tc_fully_connected_rows_s8.h"

/* Arguments as tc_fully_connected_rows_s8, but weights are of 4 bits, in rows of in_ch: see tc_weights_s4.h. */
TC_INLINE void tc_fully_connected_rows_s8_w4(int32_t *out, const int8_t *in0, const int32_t *in1, int32_t y,
                                             const int8_t *weights, const int32_t *bias, int32_t in_ch, int32_t out_ch)
{
    tc_fully_connected_rows_s8_all(out, in0, in1, y, weights, bias, in_ch, out_ch, 4);
}

#endif
