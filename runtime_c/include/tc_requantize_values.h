/* Values in other quantisation parameters and of another type. */
#ifndef TC_REQUANTIZE_VALUES_H
#define TC_REQUANTIZE_VALUES_H

#include "tc_requantize.h"

/* tc_requantize_<from>_<to>: `chunks` runs of `run` values each, which begin out_pitch values apart from out[out_offset]
   on: less in_zero_point, scaled by multiplier and shift, clamped to lo..hi, of R less out_zero_point. in0 == NULL: none.
   out may be in0 where one run of values no wider than those read is made, or lie below it. */
#define TC_REQUANTIZE_VALUES(S, T, D, R)                                                                               \
    TC_INLINE void tc_requantize_##S##_##D(R *out, const T *in0, int32_t chunks, int32_t run, int32_t out_pitch,       \
                                           int32_t out_offset, int32_t in_zero_point, int32_t multiplier,              \
                                           int32_t shift, int32_t out_zero_point, int32_t lo, int32_t hi)              \
    {                                                                                                                  \
        if (in0 == NULL) {                                                                                             \
            return;                                                                                                    \
        }                                                                                                              \
        for (int32_t i = 0; i < chunks; ++i) {                                                                         \
            for (int32_t j = 0; j < run; ++j) {                                                                        \
                const int32_t y = tc_requantize(in0[i * run + j] - in_zero_point, multiplier, shift);                  \
                out[i * out_pitch + out_offset + j] =                                                                  \
                    (R)(tc_clamp(y, lo - out_zero_point, hi - out_zero_point) + out_zero_point);                       \
            }                                                                                                          \
        }                                                                                                              \
    }

TC_REQUANTIZE_VALUES(s16, int16_t, s16, int16_t)
TC_REQUANTIZE_VALUES(s16, int16_t, s8, int8_t)
TC_REQUANTIZE_VALUES(s8, int8_t, s16, int16_t)
TC_REQUANTIZE_VALUES(u16, uint16_t, s16, int16_t)
TC_REQUANTIZE_VALUES(s16, int16_t, u16, uint16_t)

#endif
