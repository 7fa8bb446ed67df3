/* The output stages of int16 kernels, whose zero points are 0; docs/numerics.md. */
#ifndef TC_REQUANTIZE_S16_H
#define TC_REQUANTIZE_S16_H

#include "tc_requantize.h"

/* acc: a sum, less than 2^47 in magnitude. wide: it is int64, and multiplier * 2^(shift - 15) rounds once, halves up;
   else it wraps as int32 and is scaled as tc_requantize does. multiplier: of 16 or of 32 bits; shift: -31..14 or ..30. */
TC_INLINE int16_t tc_output_s16(int64_t acc, int32_t multiplier, int32_t shift, int32_t wide, int32_t lo, int32_t hi)
{
    int32_t y;
    if (wide) {
        y = (int32_t)((acc * multiplier + ((int64_t)1 << (14 - shift))) >> (15 - shift));
    } else {
        y = tc_requantize((int32_t)acc, multiplier, shift);
    }
    return (int16_t)tc_clamp(y, lo, hi);
}

/* acc * multiplier * 2^(shift - 47) to nearest, halves away from zero. acc: less than 2^39 in magnitude; multiplier:
   [0, 2^47); shift: -39..22. The product has 86 bits, so the multiplier is taken in two parts. */
TC_INLINE int16_t tc_output_nearest_s16(int64_t acc, int64_t multiplier, int32_t shift, int32_t lo, int32_t hi)
{
    const int32_t negative = acc < 0;
    const uint64_t x = negative ? 0u - (uint64_t)acc : (uint64_t)acc;
    const uint64_t m = (uint64_t)multiplier;
    const uint64_t product = x * (m >> 24) + ((x * (m & 0xffffffu)) >> 24);
    const uint64_t scaled = (product + ((uint64_t)1 << (uint32_t)(22 - shift))) >> (uint32_t)(23 - shift);
    const int32_t magnitude = scaled < 32768u ? (int32_t)scaled : 32768;
    return (int16_t)tc_clamp(negative ? -magnitude : magnitude, lo, hi);
}

#endif
