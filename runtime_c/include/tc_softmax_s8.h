/* Softmax over the channels of each pixel, in fixed point; docs/numerics.md. */
#ifndef TC_SOFTMAX_S8_H
#define TC_SOFTMAX_S8_H

#include "tc_requantize.h"

/* 1 / (1 + a) as Q0.31 for a in [0, 1) as Q0.31: three Newton-Raphson steps from 48/17 - 32/17 d, d = (1 + a) / 2. */
TC_INLINE int32_t tc_softmax_s8_reciprocal(int32_t a)
{
    const int32_t half_denominator = (int32_t)(((int64_t)a + 0x7fffffff + 1) >> 1);
    int32_t x = 1515870810 + tc_high_multiply(half_denominator, -1010580540);
    for (int32_t i = 0; i < 3; ++i) {
        const int32_t correction = (1 << 29) - tc_high_multiply(half_denominator, x);
        x += tc_high_multiply(x, correction) * 4;
    }
    return x >= 0x40000000 ? 0x7fffffff : x * 2;
}

/* out, in0: (pixels, ch). exponentials: exp(-d * beta * s_in) as Q0.31 for differences d = 0..255 to the pixel's maximum,
   0 where it is left out. The probability is kept to 31 - keep_bits fractional bits; keep_bits == 23: it is the output
   (scale 1/256), else it is requantised by multiplier and shift. out may be in0, or lie below it. */
TC_INLINE void tc_softmax_s8(int8_t *out, const int8_t *in0, const int32_t *exponentials, int32_t pixels, int32_t ch,
                             int32_t keep_bits, int32_t multiplier, int32_t shift, int32_t out_zero_point)
{
    for (int32_t p = 0; p < pixels; ++p) {
        const int8_t *const x = in0 + p * ch;
        int32_t max = -128;
        for (int32_t c = 0; c < ch; ++c) {
            max = x[c] > max ? x[c] : max;
        }
        int32_t sum = 0; /* Q12.19 */
        for (int32_t c = 0; c < ch; ++c) {
            sum += tc_rounding_divide_by_pot(exponentials[max - x[c]], 12);
        }
        int32_t zeros = 0;
        for (uint32_t bits = (uint32_t)sum; (bits & 0x80000000u) == 0u; bits <<= 1) {
            ++zeros;
        }
        const int32_t scale = tc_softmax_s8_reciprocal((int32_t)(((uint32_t)sum << (uint32_t)zeros) - 0x80000000u));
        for (int32_t c = 0; c < ch; ++c) {
            const int32_t e = exponentials[max - x[c]];
            int32_t y = out_zero_point;
            if (e > 0) {
                const int32_t product = tc_high_multiply(scale, e);
                const int32_t kept = tc_rounding_divide_by_pot(product, 12 - zeros + keep_bits);
                y += keep_bits == 23 ? kept : tc_requantize(kept, multiplier, shift);
            }
            out[p * ch + c] = (int8_t)tc_clamp(y, -128, 127);
        }
    }
}

#endif
