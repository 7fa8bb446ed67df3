/* The first elements of an order along one run of dimensions. */
#ifndef TC_TOP_K_H
#define TC_TOP_K_H

#include "tc_types.h"

/* out: (outer, k, inner), from in0, (outer, n, inner): the k largest, or smallest, values or their places. One search
   for each: of those that come behind the one before, in value or, if equal, in place. */
#define TC_TOP(name, T, R, result)                                                                                     \
    TC_INLINE void tc_top_##name(R *out, const T *in0, int32_t outer, int32_t n, int32_t inner, int32_t k,             \
                                 int32_t largest)                                                                      \
    {                                                                                                                  \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t i = 0; i < inner; ++i) {                                                                      \
                const T *const in = in0 + o * n * inner + i;                                                           \
                int32_t before = -1;                                                                                   \
                for (int32_t j = 0; j < k; ++j) {                                                                      \
                    int32_t best = -1;                                                                                 \
                    for (int32_t m = 0; m < n; ++m) {                                                                  \
                        const T a = in[m * inner];                                                                     \
                        if (before >= 0) {                                                                             \
                            const T b = in[before * inner];                                                            \
                            if (!((largest ? a < b : a > b) || (a == b && m > before))) {                              \
                                continue;                                                                              \
                            }                                                                                          \
                        }                                                                                              \
                        if (best < 0 || (largest ? a > in[best * inner] : a < in[best * inner])) {                     \
                            best = m;                                                                                  \
                        }                                                                                              \
                    }                                                                                                  \
                    before = best < 0 ? 0 : best;                                                                      \
                    out[(o * k + j) * inner + i] = (result);                                                           \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

#define TC_TOP_OF(S, T)                                                                                                \
    TC_TOP(values_##S, T, T, in[before * inner])                                                                       \
    TC_TOP(places_##S, T, int64_t, before)

TC_TOP_OF(s8, int8_t)
TC_TOP_OF(s16, int16_t)
TC_TOP_OF(s32, int32_t)
TC_TOP_OF(s64, int64_t)
TC_TOP_OF(u8, uint8_t)
TC_TOP_OF(u16, uint16_t)
TC_TOP_OF(u32, uint32_t)
TC_TOP_OF(u64, uint64_t)
TC_TOP_OF(f32, float)

#endif
