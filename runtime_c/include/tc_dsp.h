/* Arithmetic on pairs of 16 bits: the DSP extension of Armv7E-M and Armv8-M, and the same in C for other cores. */
#ifndef TC_DSP_H
#define TC_DSP_H

#include "tc_requantize.h"

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && !defined(__ARM_BIG_ENDIAN)

/* Four values from any address, the first in the lowest byte. */
TC_INLINE uint32_t tc_load4(const int8_t *p)
{
    uint32_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

TC_INLINE void tc_store4(int8_t *p, uint32_t four)
{
    __builtin_memcpy(p, &four, sizeof four);
}

/* Values 0 and 2 of four as a pair of 16 bits, added to the pair `base`. */
TC_INLINE uint32_t tc_even(uint32_t base, uint32_t four)
{
    uint32_t pair;
    if (__builtin_constant_p(base) && base == 0) {
        __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(four));
    } else {
        __asm__("sxtab16 %0, %1, %2" : "=r"(pair) : "r"(base), "r"(four));
    }
    return pair;
}

/* Values 1 and 3 likewise. */
TC_INLINE uint32_t tc_odd(uint32_t base, uint32_t four)
{
    uint32_t pair;
    if (__builtin_constant_p(base) && base == 0) {
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(four));
    } else {
        __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(pair) : "r"(base), "r"(four));
    }
    return pair;
}

/* acc plus both products of two pairs, wrapping; then of their low halves alone, and of their high halves alone. */
TC_INLINE uint32_t tc_add_products(uint32_t acc, uint32_t a, uint32_t b)
{
    __asm__("smlad %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
}

TC_INLINE uint32_t tc_add_low_product(uint32_t acc, uint32_t a, uint32_t b)
{
    __asm__("smlabb %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
}

TC_INLINE uint32_t tc_add_high_product(uint32_t acc, uint32_t a, uint32_t b)
{
    __asm__("smlatt %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
}

/* c + ((a * b + 2^31) >> 32). */
TC_INLINE int32_t tc_add_high_multiply(int32_t c, int32_t a, int32_t b)
{
    int32_t sum;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
    return sum;
}

TC_INLINE int32_t tc_saturate_s8(int32_t x)
{
    int32_t y;
    __asm__("ssat %0, #8, %1" : "=r"(y) : "r"(x));
    return y;
}

#else

TC_INLINE uint32_t tc_load4(const int8_t *p)
{
    return (uint32_t)(uint8_t)p[0] | (uint32_t)(uint8_t)p[1] << 8 | (uint32_t)(uint8_t)p[2] << 16 |
           (uint32_t)(uint8_t)p[3] << 24;
}

TC_INLINE void tc_store4(int8_t *p, uint32_t four)
{
    for (int32_t k = 0; k < 4; ++k) {
        p[k] = (int8_t)(uint8_t)(four >> (uint32_t)(8 * k) & 0xffu);
    }
}

TC_INLINE int32_t tc_low_half(uint32_t pair)
{
    return (int16_t)(uint16_t)(pair & 0xffffu);
}

TC_INLINE int32_t tc_high_half(uint32_t pair)
{
    return (int16_t)(uint16_t)(pair >> 16);
}

TC_INLINE uint32_t tc_even(uint32_t base, uint32_t four)
{
    const int32_t low = tc_low_half(base) + (int8_t)(uint8_t)(four & 0xffu);
    const int32_t high = tc_high_half(base) + (int8_t)(uint8_t)(four >> 16 & 0xffu);
    return ((uint32_t)low & 0xffffu) | (uint32_t)high << 16;
}

TC_INLINE uint32_t tc_odd(uint32_t base, uint32_t four)
{
    return tc_even(base, four >> 8);
}

TC_INLINE uint32_t tc_add_low_product(uint32_t acc, uint32_t a, uint32_t b)
{
    return acc + (uint32_t)(tc_low_half(a) * tc_low_half(b));
}

TC_INLINE uint32_t tc_add_high_product(uint32_t acc, uint32_t a, uint32_t b)
{
    return acc + (uint32_t)(tc_high_half(a) * tc_high_half(b));
}

TC_INLINE uint32_t tc_add_products(uint32_t acc, uint32_t a, uint32_t b)
{
    return tc_add_high_product(tc_add_low_product(acc, a, b), a, b);
}

TC_INLINE int32_t tc_add_high_multiply(int32_t c, int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)c + (uint32_t)(int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32));
}

TC_INLINE int32_t tc_saturate_s8(int32_t x)
{
    return tc_clamp(x, -128, 127);
}

#endif

/* The pair (value, value). */
TC_INLINE uint32_t tc_pair(int32_t value)
{
    return ((uint32_t)value & 0xffffu) | (uint32_t)value << 16;
}

/* How tc_output_s8 ends where every shift is from -30 to -1 and nothing overflows (ops/dsp_output.py says when), for
   one channel: half a step and the zero point, times 2^shift. multiplier: less 2^31 and doubled, so that one high
   multiply-accumulate rounds as tc_high_multiply does. shift: negated. */
typedef struct {
    int32_t multiplier;
    int32_t shift;
    int32_t half;
} tc_dsp_stage;

TC_INLINE tc_dsp_stage tc_dsp_stage_of(int32_t multiplier, int32_t shift, int32_t zero_point)
{
    tc_dsp_stage stage;
    stage.multiplier = multiplier;
    stage.shift = shift;
    stage.half = tc_shift_left(2 * zero_point + 1, shift);
    return stage;
}

/* The sign of x makes halves round away from zero. */
TC_INLINE int8_t tc_dsp_output_s8(uint32_t acc, tc_dsp_stage stage, int32_t lo, int32_t hi)
{
    const int32_t x = tc_add_high_multiply((int32_t)acc, (int32_t)acc, stage.multiplier);
    const int32_t y = (x + (x >> 31) + (stage.half >> 1)) >> stage.shift;
    return (int8_t)(lo == -128 && hi == 127 ? tc_saturate_s8(y) : tc_clamp(y, lo, hi));
}

/* How tc_output_nearest_s8 ends under like conditions. multiplier: its own; shift: -1 less its own. */
TC_INLINE int8_t tc_dsp_nearest_s8(uint32_t acc, tc_dsp_stage stage, int32_t lo, int32_t hi)
{
    const int64_t sign = (int32_t)acc >> 31;
    const int32_t x = (int32_t)((sign + (int64_t)(int32_t)acc * stage.multiplier) >> 32);
    const int32_t y = (x + (stage.half >> 1)) >> stage.shift;
    return (int8_t)(lo == -128 && hi == 127 ? tc_saturate_s8(y) : tc_clamp(y, lo, hi));
}

#endif
