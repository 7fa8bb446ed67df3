/* Fixed-point requantisation with LiteRT's double rounding, as docs/numerics.md states it. */
#ifndef TC_REQUANTIZE_H
#define TC_REQUANTIZE_H

#include "tc_types.h"

TC_INLINE int32_t tc_clamp(int32_t x, int32_t lo, int32_t hi)
{
    const int32_t above = x < lo ? lo : x;
    return above > hi ? hi : above;
}

/* x * 2^shift as int32, wrapping. shift: 0..31. */
TC_INLINE int32_t tc_shift_left(int32_t x, int32_t shift)
{
    return (int32_t)((uint32_t)x << (uint32_t)shift);
}

/* (x * multiplier + 2^30) >> 31. multiplier: [0, 2^31) or its negation, so that no product saturates. */
TC_INLINE int32_t tc_high_multiply(int32_t x, int32_t multiplier)
{
    const int64_t product = (int64_t)x * (int64_t)multiplier;
    return (int32_t)((product + ((int64_t)1 << 30)) >> 31);
}

/* x / 2^exponent rounded half away from zero. exponent: 0..31. */
TC_INLINE int32_t tc_rounding_divide_by_pot(int32_t x, int32_t exponent)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << (uint32_t)exponent) - 1u);
    const int32_t remainder = x & mask;
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + (remainder > threshold ? 1 : 0);
}

/* x * multiplier * 2^(shift - 31). multiplier: Q31 mantissa; shift: -31..30. */
TC_INLINE int32_t tc_requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return tc_rounding_divide_by_pot(tc_high_multiply(tc_shift_left(x, left), multiplier), right);
}

/* The output stage of an int8 kernel. acc: int32 accumulator, wrapped. lo, hi: output clamp, within int8. The clamp
   comes before the zero point, so that nothing overflows. */
TC_INLINE int8_t tc_output_s8(uint32_t acc, int32_t multiplier, int32_t shift, int32_t zero_point, int32_t lo,
                              int32_t hi)
{
    const int32_t y = tc_requantize((int32_t)acc, multiplier, shift);
    return (int8_t)(tc_clamp(y, lo - zero_point, hi - zero_point) + zero_point);
}

/* The same in one rounding, to nearest with halves away from zero. multiplier: [0, 2^31); shift: -31..30.
   Magnitudes are cut at 256, which is beyond int8 for any zero point. */
TC_INLINE int8_t tc_output_nearest_s8(uint32_t acc, int32_t multiplier, int32_t shift, int32_t zero_point, int32_t lo,
                                      int32_t hi)
{
    const int32_t negative = (int32_t)acc < 0;
    const uint64_t product = (uint64_t)(negative ? 0u - acc : acc) * (uint32_t)multiplier;
    const uint64_t scaled = (product + ((uint64_t)1 << (uint32_t)(30 - shift))) >> (uint32_t)(31 - shift);
    const int32_t magnitude = scaled < 256u ? (int32_t)scaled : 256;
    return (int8_t)(tc_clamp(negative ? -magnitude : magnitude, lo - zero_point, hi - zero_point) + zero_point);
}

#endif
