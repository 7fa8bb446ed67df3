/* Sums over a pooling window of int16 values. */
#ifndef TC_POOL_SUM_S16_H
#define TC_POOL_SUM_S16_H

#include "tc_taps.h"

/* Sum of one channel over the taps inside, fewer than 2^16, and how many these are. x: the first tap's column and
   channel, in elements of a row. */
TC_INLINE int32_t tc_pool_sum_s16(const int16_t *const *in0, int32_t kernel_h, int32_t x, tc_taps taps, int32_t ch,
                                  int32_t *inside)
{
    int32_t sum = 0;
    int32_t rows = 0;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        if (in0[ky] != NULL) {
            ++rows;
            for (int32_t kx = taps.from; kx < taps.to; ++kx) {
                sum += in0[ky][x + kx * ch];
            }
        }
    }
    *inside = rows * (taps.to - taps.from);
    return sum;
}

#endif
