/* Logistic function and hyperbolic tangent of int16 values, by one table with interpolation. */
#ifndef TC_SIGMOID_S16_H
#define TC_SIGMOID_S16_H

#include "tc_requantize.h"

/* out[i] = 1 / (1 + exp(-x)), or tanh(x) with `tangent`, in Q0.15; x = in0[i] * in_multiplier * 2^-in_shift / (3 * 4096).
   table: 1 / (1 + exp(-k / 24)) in Q0.16, k = 0..255; tanh(x) = 2 / (1 + exp(-2x)) - 1. Then scaled by `multiplier` and
   `shift` where `rescale`. out may be in0, or lie below it. */
TC_INLINE void tc_sigmoid_s16(int16_t *out, const int16_t *in0, const uint16_t *table, int32_t elems, int32_t tangent,
                              int32_t in_multiplier, int32_t in_shift, int32_t rescale, int32_t multiplier,
                              int32_t shift)
{
    const int32_t fraction = tangent ? 8 : 9; /* bits between entries */
    const int32_t half = in_shift > 0 ? 1 << (in_shift - 1) : 0;
    for (int32_t i = 0; i < elems; ++i) {
        const int32_t x = (in0[i] * in_multiplier + half) >> in_shift;
        const int32_t magnitude = x < 0 ? -x : x;
        const int32_t entry = magnitude >> fraction;
        int32_t y = tangent ? 0xffff << 8 : 0x7fff << 10;
        if (entry < 255) {
            const int32_t step = table[entry + 1] - table[entry];
            y = (table[entry] << fraction) + (magnitude & ((1 << fraction) - 1)) * step;
        }
        if (tangent) {
            y = x < 0 ? (1 << 23) + (1 << 7) - 1 - y : y - (1 << 23) + (1 << 7);
            y >>= 8;
        } else {
            y = x < 0 ? (1 << 25) + (1 << 9) - 1 - y : y + (1 << 9);
            y >>= 10;
        }
        out[i] = (int16_t)(rescale ? tc_clamp(tc_requantize(y, multiplier, shift), -32768, 32767) : y);
    }
}

#endif
