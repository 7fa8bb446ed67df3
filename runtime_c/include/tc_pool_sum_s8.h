/* Sums over a pooling window. */
#ifndef TC_POOL_SUM_S8_H
#define TC_POOL_SUM_S8_H

#include "tc_requantize.h"
#include "tc_taps.h"

/* Number of the kernel_h rows that are not in the padding. */
TC_INLINE int32_t tc_pool_rows(const int8_t *const *in0, int32_t kernel_h)
{
    int32_t rows = 0;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        rows += in0[ky] != NULL ? 1 : 0;
    }
    return rows;
}

/* Sum of one channel over the taps inside; x: the first tap's column and channel, in elements of a row. */
TC_INLINE int32_t tc_pool_sum_s8(const int8_t *const *in0, int32_t kernel_h, int32_t x, tc_taps taps, int32_t ch)
{
    int32_t sum = 0;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        if (in0[ky] != NULL) {
            for (int32_t kx = taps.from; kx < taps.to; ++kx) {
                sum += in0[ky][x + kx * ch];
            }
        }
    }
    return sum;
}

#endif
