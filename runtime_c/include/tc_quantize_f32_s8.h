/* float32 to int8 without floating-point instructions. */
#ifndef TC_QUANTIZE_F32_S8_H
#define TC_QUANTIZE_F32_S8_H

#include "tc_memory.h"

#include "tc_types.h"

/* out[i] = -128 + the number of thresholds at or below in0[i]. thresholds: 255 ascending float32 values as ordered
   integers (bit patterns, the lower 31 bits flipped for negatives). A NaN counts as beyond the infinity of its sign.
   out may be the same place as in0, or lie below it. */
TC_INLINE void tc_quantize_f32_s8(int8_t *out, const float *in0, const int32_t *thresholds, int32_t elems)
{
    for (int32_t i = 0; i < elems; ++i) {
        uint32_t bits;
        memcpy(&bits, &in0[i], sizeof bits);
        const int32_t key = (int32_t)(bits ^ ((bits >> 31) != 0u ? 0x7fffffffu : 0u));
        int32_t reached = 0;
        for (int32_t step = 128; step > 0; step >>= 1) {
            if (key >= thresholds[reached + step - 1]) {
                reached += step;
            }
        }
        out[i] = (int8_t)(reached - 128);
    }
}

#endif
