/* Means of int8 values from their sums, rounded half away from zero. */
#ifndef TC_ROUNDED_MEAN_H
#define TC_ROUNDED_MEAN_H

#include "tc_types.h"

/* From this many values on the reciprocal below is not exact. */
#define TC_ROUNDED_MEAN_RECIPROCAL_VALUES (2044)

/* ceil(2^31 / (2 * count)). count: 1.. */
TC_INLINE uint32_t tc_rounded_mean_reciprocal(int32_t count)
{
    return 0x7fffffffu / (2u * (uint32_t)count) + 1u;
}

/* sum / count rounded half away from zero: floor(n / d) with n = 2 * |sum| + count, d = 2 * count. The reciprocal r =
   ceil(2^31 / d) gives it exactly while n * d < 2^31 (its error, below d / 2^31 per unit of n, stays below 1 / d):
   for sums of int8, n <= 257 * count, so below 2044 values. */
TC_INLINE int32_t tc_rounded_mean(int32_t sum, int32_t count, uint32_t reciprocal)
{
    const uint32_t n = 2u * (uint32_t)(sum < 0 ? -sum : sum) + (uint32_t)count;
    const uint32_t quotient = count < TC_ROUNDED_MEAN_RECIPROCAL_VALUES ? (uint32_t)(((uint64_t)n * reciprocal) >> 31)
                                                                        : n / (2u * (uint32_t)count);
    return sum < 0 ? -(int32_t)quotient : (int32_t)quotient;
}

#endif
