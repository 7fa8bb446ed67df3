/* The memory of an SVDF layer: the last features of each filter. */
#ifndef TC_SVDF_MEMORY_S8_H
#define TC_SVDF_MEMORY_S8_H

#include "tc_dot_s8.h"
#include "tc_requantize.h"

/* out, in1: (filters, memory), oldest features first. in0: inputs values. weights: (filters, inputs). bias: filters
   values, less the input zero point times the sum of the filter's weights. Each filter's features move on by one; the
   last is bias + weights * in0, requantised to 16 bits. out may be in1, or lie below it. */
TC_INLINE void tc_svdf_memory_s8(int16_t *out, const int8_t *in0, const int16_t *in1, const int8_t *weights,
                                 const int32_t *bias, int32_t inputs, int32_t filters, int32_t memory,
                                 int32_t multiplier, int32_t shift)
{
    for (int32_t f = 0; f < filters; ++f) {
        uint32_t acc[4] = {(uint32_t)bias[f], 0, 0, 0};
        tc_dot_s8(acc, in0, weights + f * inputs, inputs, inputs, 1);
        for (int32_t m = 0; m < memory - 1; ++m) {
            out[f * memory + m] = in1[f * memory + m + 1];
        }
        const int32_t feature = tc_requantize((int32_t)acc[0], multiplier, shift);
        out[f * memory + memory - 1] = (int16_t)tc_clamp(feature, -32768, 32767);
    }
}

#endif
