/* Logistic function and hyperbolic tangent on 16-bit fixed point, as integer LSTMs use them; docs/numerics.md.
   Qm.n: m integer bits and n = 15 - m fractional ones. */
#ifndef TC_GATES_S16_H
#define TC_GATES_S16_H

#include "tc_requantize.h"

/* (a * b + 2^14) >> 15. a, b: 16 bits, not both -32768. */
TC_INLINE int32_t tc_high_multiply_s16(int32_t a, int32_t b)
{
    return (a * b + (1 << 14)) >> 15;
}

/* exp(a) as Q0.15. a: at most 0, Q<integer_bits>; integer_bits: 1 to 7. */
TC_INLINE int32_t tc_exp_negative_s16(int32_t a, int32_t integer_bits)
{
    static const int16_t exponentials[7] = {25520, 19875, 12055, 4435, 600, 11, 0}; /* exp(-2^k) from k = -2 on */
    const int32_t fractional = 15 - integer_bits;
    const int32_t quarter = 1 << (fractional - 2);
    if (a == 0) {
        return 32767;
    }
    if (integer_bits > 5 && a < -(1 << (fractional + 5))) {
        return 0;
    }
    const int32_t remainder = (a & (quarter - 1)) - quarter;
    const int32_t rest = remainder - a;
    /* A Taylor polynomial around -1/8. */
    const int32_t x = remainder * (1 << integer_bits) + (1 << 12);
    const int32_t x2 = tc_high_multiply_s16(x, x);
    const int32_t x3 = tc_high_multiply_s16(x2, x);
    const int32_t x4 = tc_rounding_divide_by_pot(tc_high_multiply_s16(x2, x2), 2);
    const int32_t inner = tc_rounding_divide_by_pot(tc_high_multiply_s16(x4 + x3, 10923) + x2, 1);
    int32_t result = tc_clamp(28918 + tc_high_multiply_s16(28918, x + inner), 0, 32767);
    for (int32_t k = -2; k < integer_bits && k < 5; ++k) {
        if ((rest >> (fractional + k)) & 1) {
            result = tc_high_multiply_s16(result, exponentials[k + 2]);
        }
    }
    return result;
}

/* 2 / (1 + a) as Q2.13 for a in [0, 1] as Q0.15: three Newton-Raphson steps from 48/17 - 32/17 d, d = (1 + a) / 2. */
TC_INLINE int32_t tc_two_over_one_plus_s16(int32_t a)
{
    const int32_t half_denominator = (a + 32768) >> 1;
    int32_t x = 23130 + tc_high_multiply_s16(half_denominator, -15420);
    for (int32_t i = 0; i < 3; ++i) {
        const int32_t correction = 8192 - tc_high_multiply_s16(half_denominator, x);
        x += tc_clamp(tc_high_multiply_s16(x, correction) * 4, -32768, 32767);
    }
    return x;
}

/* 1 / (1 + exp(-x)) as Q0.15. x: 16 bits, Q3.12. */
TC_INLINE int32_t tc_logistic_s16(int32_t x)
{
    if (x == 0) {
        return 1 << 14;
    }
    const int32_t twice = tc_two_over_one_plus_s16(tc_exp_negative_s16(x < 0 ? x : -x, 3));
    const int32_t positive = tc_clamp(twice * 2, 0, 32767);
    return x > 0 ? positive : 32767 - positive;
}

/* tanh(x) as Q0.15. x: 16 bits, Q<integer_bits>; integer_bits: 0 to 6. */
TC_INLINE int32_t tc_tanh_s16(int32_t x, int32_t integer_bits)
{
    if (x == 0) {
        return 0;
    }
    const int32_t twice = tc_two_over_one_plus_s16(tc_exp_negative_s16(x < 0 ? x : -x, integer_bits + 1));
    const int32_t positive = tc_clamp((twice - 8192) * 4, -32768, 32767);
    return x > 0 ? positive : -positive;
}

#endif
