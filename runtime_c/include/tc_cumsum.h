/* Running sums and products along one run of dimensions. */
#ifndef TC_CUMSUM_H
#define TC_CUMSUM_H

#include "tc_types.h"

/* out and in0, (outer, n, inner): out is the sum, or product, of the elements up to its place k, the last one left out if
   exclusive; from the other end if reverse. out may be in0. */
#define TC_RUNNING(name, T, W, start, op)                                                                                           \
    TC_INLINE void tc_##name(T *out, const T *in0, int32_t outer, int32_t n, int32_t inner, int32_t exclusive,     \
                                 int32_t reverse)                                                                      \
    {                                                                                                                  \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t i = 0; i < inner; ++i) {                                                                      \
                T sum = start;                                                                                           \
                for (int32_t k = 0; k < n; ++k) {                                                                      \
                    const int32_t at = (o * n + (reverse ? n - 1 - k : k)) * inner + i;                                \
                    const T after = (T)((W)sum op (W)in0[at]);                                                          \
                    out[at] = exclusive ? sum : after;                                                                 \
                    sum = after;                                                                                       \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

#define TC_CUMSUM(S, T, W)                                                                                             \
    TC_RUNNING(cumsum_##S, T, W, 0, +)                                                                                 \
    TC_RUNNING(cumprod_##S, T, W, 1, *)

TC_CUMSUM(s8, int8_t, uint32_t)
TC_CUMSUM(s16, int16_t, uint32_t)
TC_CUMSUM(s32, int32_t, uint32_t)
TC_CUMSUM(s64, int64_t, uint64_t)
TC_CUMSUM(u8, uint8_t, uint32_t)
TC_CUMSUM(u16, uint16_t, uint32_t)
TC_CUMSUM(u32, uint32_t, uint32_t)
TC_CUMSUM(u64, uint64_t, uint64_t)
TC_CUMSUM(f32, float, float)

#endif
