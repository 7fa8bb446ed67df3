/* Reductions along one run of dimensions: sums, products, extremes and their places. */
#ifndef TC_REDUCE_H
#define TC_REDUCE_H

#include "tc_types.h"

/* out, (outer, inner), from in0, (outer, n, inner): acc starts as the first element a and becomes expr of acc and of
   each further a. */
#define TC_REDUCE(name, T, expr)                                                                                       \
    TC_INLINE void tc_reduce_##name(T *out, const T *in0, int32_t outer, int32_t n, int32_t inner)                     \
    {                                                                                                                  \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t i = 0; i < inner; ++i) {                                                                      \
                const T *const in = in0 + o * n * inner + i;                                                           \
                T acc = in[0];                                                                                         \
                for (int32_t k = 1; k < n; ++k) {                                                                      \
                    const T a = in[k * inner];                                                                         \
                    acc = (T)(expr);                                                                                   \
                }                                                                                                      \
                out[o * inner + i] = acc;                                                                              \
            }                                                                                                          \
        }                                                                                                              \
    }

/* As TC_REDUCE, but the index of the first a for which expr of a and of the best so far, acc, is last true. */
#define TC_REDUCE_PLACE(name, T, expr)                                                                                 \
    TC_INLINE void tc_reduce_##name(int64_t *out, const T *in0, int32_t outer, int32_t n, int32_t inner)               \
    {                                                                                                                  \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t i = 0; i < inner; ++i) {                                                                      \
                const T *const in = in0 + o * n * inner + i;                                                           \
                T acc = in[0];                                                                                         \
                int64_t place = 0;                                                                                     \
                for (int32_t k = 1; k < n; ++k) {                                                                      \
                    const T a = in[k * inner];                                                                         \
                    if (expr) {                                                                                        \
                        acc = a;                                                                                       \
                        place = k;                                                                                     \
                    }                                                                                                  \
                }                                                                                                      \
                out[o * inner + i] = place;                                                                            \
            }                                                                                                          \
        }                                                                                                              \
    }

#define TC_REDUCE_ORDERED(S, T)                                                                                        \
    TC_REDUCE(max_##S, T, a > acc || a != a ? a : acc)                                                                 \
    TC_REDUCE(min_##S, T, a < acc || a != a ? a : acc)                                                                 \
    TC_REDUCE_PLACE(argmax_##S, T, a > acc)                                                                            \
    TC_REDUCE_PLACE(argmin_##S, T, a < acc)                                                                            \
    TC_REDUCE_PLACE(last_argmax_##S, T, a >= acc)                                                                      \
    TC_REDUCE_PLACE(last_argmin_##S, T, a <= acc)

/* W: the unsigned type, at least as wide as unsigned int, in which arithmetic on T wraps. */
#define TC_REDUCE_INTEGER(S, T, W)                                                                                     \
    TC_REDUCE_ORDERED(S, T)                                                                                            \
    TC_REDUCE(sum_##S, T, (W)acc + (W)a)                                                                               \
    TC_REDUCE(prod_##S, T, (W)acc * (W)a)

TC_REDUCE_INTEGER(s8, int8_t, uint32_t)
TC_REDUCE_INTEGER(s16, int16_t, uint32_t)
TC_REDUCE_INTEGER(s32, int32_t, uint32_t)
TC_REDUCE_INTEGER(s64, int64_t, uint64_t)
TC_REDUCE_INTEGER(u8, uint8_t, uint32_t)
TC_REDUCE_INTEGER(u16, uint16_t, uint32_t)
TC_REDUCE_INTEGER(u32, uint32_t, uint32_t)
TC_REDUCE_INTEGER(u64, uint64_t, uint64_t)
TC_REDUCE_ORDERED(bool, uint8_t)
TC_REDUCE_ORDERED(f32, float)
TC_REDUCE(sum_f32, float, acc + a)
TC_REDUCE(prod_f32, float, acc * a)

#endif
