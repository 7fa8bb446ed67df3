/* Fully connected layer over a whole map, accumulated row by row; int8 weights. */
#ifndef TC_FULLY_CONNECTED_ROWS_S8_H
#define TC_FULLY_CONNECTED_ROWS_S8_H

#include "tc_dot_s8.h"

/* `filters` (1 or 4) outputs from `oc` on. bits: of a weight, 8 or 4, in rows of in_ch. */
TC_INLINE void tc_fully_connected_rows_s8_filters(int32_t *out, const int8_t *x, const int32_t *before,
                                                  const int8_t *weights, int32_t oc, int32_t filters, int32_t in_ch,
                                                  int32_t bits)
{
    const int32_t pitch = tc_weight_row_bytes(in_ch, bits);
    uint32_t acc[4] = {0};
    for (int32_t f = 0; f < filters; ++f) {
        acc[f] = (uint32_t)before[oc + f];
    }
    tc_dot_s8_row(acc, x, weights + oc * pitch, 0, in_ch, in_ch, pitch, filters, bits);
    for (int32_t f = 0; f < filters; ++f) {
        out[oc + f] = (int32_t)acc[f];
    }
}

/* All outputs, as below. */
TC_INLINE void tc_fully_connected_rows_s8_all(int32_t *out, const int8_t *in0, const int32_t *in1, int32_t y,
                                              const int8_t *weights, const int32_t *bias, int32_t in_ch, int32_t out_ch,
                                              int32_t bits)
{
    const int8_t *const w = weights + y * out_ch * tc_weight_row_bytes(in_ch, bits);
    const int32_t *const before = in1 != NULL ? in1 : bias;
    int32_t oc = 0;
    for (; oc + 3 < out_ch; oc += 4) {
        tc_fully_connected_rows_s8_filters(out, in0, before, w, oc, 4, in_ch, bits);
    }
    if (out_ch % 4 != 0) {
        for (; oc < out_ch; ++oc) {
            tc_fully_connected_rows_s8_filters(out, in0, before, w, oc, 1, in_ch, bits);
        }
    }
}

/* out: out_ch sums, those of in1 plus the row's. in0: row y of the map, in_ch values. in1: the sums before, which may
   be out itself; NULL for the first row, which starts from the bias. weights: (rows, out_ch, in_ch). bias: out_ch
   values, less the input zero point times the sum of all of the channel's weights. Sums wrap as int32. out and in1 are
   aligned to int32_t. out must not overlap in0, nor in1 otherwise. */
TC_INLINE void tc_fully_connected_rows_s8(int32_t *out, const int8_t *in0, const int32_t *in1, int32_t y,
                                          const int8_t *weights, const int32_t *bias, int32_t in_ch, int32_t out_ch)
{
    tc_fully_connected_rows_s8_all(out, in0, in1, y, weights, bias, in_ch, out_ch, 8);
}

#endif
