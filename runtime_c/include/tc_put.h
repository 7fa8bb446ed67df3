/* Updates of elements at places that are known at run time. */
#ifndef TC_PUT_H
#define TC_PUT_H

#include "tc_types.h"

/* out: data, (n, inner), in which block places[m] becomes expr of what is there, a, and of update m, b, for each m of
   count in their order; places outside are passed over. out may be data, and must not overlap places or updates. */
#define TC_PUT(name, T, expr)                                                                                          \
    TC_INLINE void tc_put_##name(T *out, const T *data, const int64_t *places, const T *updates, int32_t n,            \
                                 int32_t inner, int32_t count)                                                         \
    {                                                                                                                  \
        if (out != data) {                                                                                             \
            for (int32_t i = 0; i < n * inner; ++i) {                                                                  \
                out[i] = data[i];                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        for (int32_t m = 0; m < count; ++m) {                                                                          \
            if (places[m] < 0 || places[m] >= n) {                                                                     \
                continue;                                                                                              \
            }                                                                                                          \
            T *const block = out + (int32_t)places[m] * inner;                                                         \
            for (int32_t i = 0; i < inner; ++i) {                                                                      \
                const T a = block[i];                                                                                  \
                const T b = updates[m * inner + i];                                                                    \
                (void)a;                                                                                               \
                block[i] = (T)(expr);                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }

/* W: the type, at least as wide as unsigned int, in which arithmetic on T wraps. */
#define TC_PUT_NUMBER(S, T, W)                                                                                         \
    TC_PUT(set_##S, T, b)                                                                                              \
    TC_PUT(add_##S, T, (W)a + (W)b)                                                                                    \
    TC_PUT(mul_##S, T, (W)a *(W)b)                                                                                     \
    TC_PUT(max_##S, T, a > b || a != a ? a : b)                                                                        \
    TC_PUT(min_##S, T, a < b || a != a ? a : b)

TC_PUT_NUMBER(s8, int8_t, uint32_t)
TC_PUT_NUMBER(s16, int16_t, uint32_t)
TC_PUT_NUMBER(s32, int32_t, uint32_t)
TC_PUT_NUMBER(s64, int64_t, uint64_t)
TC_PUT_NUMBER(u8, uint8_t, uint32_t)
TC_PUT_NUMBER(u16, uint16_t, uint32_t)
TC_PUT_NUMBER(u32, uint32_t, uint32_t)
TC_PUT_NUMBER(u64, uint64_t, uint64_t)
TC_PUT_NUMBER(f32, float, float)
TC_PUT(set_bool, uint8_t, b)

#endif
