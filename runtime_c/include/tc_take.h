/* Elements at places that are known at run time. */
#ifndef TC_TAKE_H
#define TC_TAKE_H

#include "tc_types.h"

/* out: (outer, count, inner), from data, (outer, n, inner): the blocks at `places`, which count from the end where they
   are negative; one that is outside is the nearest that is not. out must not overlap data or places. */
#define TC_TAKE(S, T)                                                                                                  \
    TC_INLINE void tc_take_##S(T *out, const T *data, const int64_t *places, int32_t outer, int32_t n, int32_t inner,  \
                               int32_t count)                                                                          \
    {                                                                                                                  \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t m = 0; m < count; ++m) {                                                                      \
                const int64_t p = places[m] < 0 ? places[m] + n : places[m];                                           \
                const int32_t at = p < 0 ? 0 : p >= n ? n - 1 : (int32_t)p;                                            \
                for (int32_t i = 0; i < inner; ++i) {                                                                  \
                    out[(o * count + m) * inner + i] = data[(o * n + at) * inner + i];                                 \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

TC_TAKE(s8, int8_t)
TC_TAKE(s16, int16_t)
TC_TAKE(s32, int32_t)
TC_TAKE(s64, int64_t)
TC_TAKE(u8, uint8_t)
TC_TAKE(u16, uint16_t)
TC_TAKE(u32, uint32_t)
TC_TAKE(u64, uint64_t)
TC_TAKE(bool, uint8_t)
TC_TAKE(f32, float)

#endif
