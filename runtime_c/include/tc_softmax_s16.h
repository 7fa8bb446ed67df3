/* Softmax over the channels of each pixel of int16 values, in fixed point; docs/numerics.md. */
#ifndef TC_SOFTMAX_S16_H
#define TC_SOFTMAX_S16_H

#include "tc_requantize.h"
#include "tc_table_s16.h"

/* out, in0: (pixels, ch). exponentials: exp(x) for x in [-10, 0], reciprocals: 1 / (1 + x) for x in [0, 1], both Q0.15
   and as tc_table_s16_value takes them. in_multiplier, in_shift: from differences of inputs to [-65535, 0], which stands
   for [-10, 0]. The output is the probability in Q0.15. out may be in0, or lie below it. */
TC_INLINE void tc_softmax_s16(int16_t *out, const int16_t *in0, const int16_t *exponentials,
                              const int16_t *reciprocals, int32_t pixels, int32_t ch, int32_t in_multiplier,
                              int32_t in_shift)
{
    for (int32_t p = 0; p < pixels; ++p) {
        const int16_t *const x = in0 + p * ch;
        int16_t *const y = out + p * ch;
        int32_t max = -32768;
        for (int32_t c = 0; c < ch; ++c) {
            max = x[c] > max ? x[c] : max;
        }
        int32_t sum = 0; /* Q16.15 */
        for (int32_t c = 0; c < ch; ++c) {
            const int32_t diff = tc_requantize(x[c] - max, in_multiplier, in_shift) + 32767;
            y[c] = (int16_t)tc_table_s16_value(tc_clamp(diff, -32768, 32767), exponentials);
            sum += y[c];
        }
        int32_t bits = 0; /* of the sum, below its leading one */
        while ((sum >> bits) > 1) {
            ++bits;
        }
        const int64_t leading = (int64_t)sum << (30 - bits); /* the leading one at bit 30 */
        const int32_t over = (int32_t)((leading + (1 << 13)) >> 14) - (1 << 16) - (1 << 15);
        const int32_t reciprocal = tc_table_s16_value(tc_clamp(over, -32768, 32767), reciprocals);
        for (int32_t c = 0; c < ch; ++c) {
            const int64_t product = (int64_t)y[c] * reciprocal + ((int64_t)1 << (bits - 1));
            y[c] = (int16_t)tc_clamp((int32_t)(product >> bits), 0, 32767);
        }
    }
}

#endif
