/* Elementwise kernels of one, two and three operands: comparison, selection, integer and basic float arithmetic.

   One macro per number of operands makes a kernel from a C expression of its operands a, b, c. Operands of two and more
   have a step per pixel and per channel, 0 where they are broadcast. out may be an operand of its own element type that
   is not broadcast. Integers wrap; a division by zero gives 0. */
#ifndef TC_ELEMENTWISE_H
#define TC_ELEMENTWISE_H

#include "tc_memory.h"
#include "tc_types.h"

/* out[i] = expr of a = in0[i], i < elems. */
#define TC_UNARY(name, T, R, expr)                                                                                     \
    TC_INLINE void tc_elementwise_##name(R *out, const T *in0, int32_t elems)                                                      \
    {                                                                                                                  \
        for (int32_t i = 0; i < elems; ++i) {                                                                          \
            const T a = in0[i];                                                                                        \
            out[i] = (R)(expr);                                                                                        \
        }                                                                                                              \
    }

/* As TC_UNARY, of the parameters p[] as well. */
#define TC_UNARY_P(name, T, R, expr)                                                                                   \
    TC_INLINE void tc_elementwise_##name(R *out, const T *in0, const T *p, int32_t elems)                                          \
    {                                                                                                                  \
        for (int32_t i = 0; i < elems; ++i) {                                                                          \
            const T a = in0[i];                                                                                        \
            out[i] = (R)(expr);                                                                                        \
        }                                                                                                              \
    }

/* out, (pixels, ch), = expr of a = in0[pixel * pixel0 + channel * ch0] and b, likewise of in1. */
#define TC_BINARY(name, T, R, expr)                                                                                    \
    TC_INLINE void tc_elementwise_##name(R *out, const T *in0, const T *in1, int32_t pixels, int32_t ch, int32_t pixel0,           \
                             int32_t ch0, int32_t pixel1, int32_t ch1)                                                 \
    {                                                                                                                  \
        for (int32_t x = 0; x < pixels; ++x) {                                                                         \
            for (int32_t i = 0; i < ch; ++i) {                                                                         \
                const T a = in0[x * pixel0 + i * ch0];                                                                 \
                const T b = in1[x * pixel1 + i * ch1];                                                                 \
                out[x * ch + i] = (R)(expr);                                                                           \
            }                                                                                                          \
        }                                                                                                              \
    }

/* out = in0 ? in1 : in2, each with its steps. */
#define TC_WHERE(S, T)                                                                                                 \
    TC_INLINE void tc_elementwise_where_##S(T *out, const uint8_t *in0, const T *in1, const T *in2, int32_t pixels, int32_t ch,    \
                                int32_t pixel0, int32_t ch0, int32_t pixel1, int32_t ch1, int32_t pixel2, int32_t ch2) \
    {                                                                                                                  \
        for (int32_t x = 0; x < pixels; ++x) {                                                                         \
            for (int32_t i = 0; i < ch; ++i) {                                                                         \
                out[x * ch + i] = in0[x * pixel0 + i * ch0] != 0 ? in1[x * pixel1 + i * ch1] : in2[x * pixel2 + i * ch2]; \
            }                                                                                                          \
        }                                                                                                              \
    }

/* The bytes of a float as an integer, and back. */
TC_INLINE uint32_t tc_bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

TC_INLINE float tc_float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Remainder with the divisor's sign, 0 for divisor 0. */
TC_INLINE int64_t tc_floor_mod(int64_t a, int64_t b)
{
    const int64_t r = b == 0 || b == -1 ? 0 : a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* base to the power of exponent, modulo 2^64. */
TC_INLINE uint64_t tc_power(uint64_t base, uint64_t exponent)
{
    uint64_t result = 1u;
    for (; exponent != 0u; exponent >>= 1) {
        if ((exponent & 1u) != 0u) {
            result *= base;
        }
        base *= base;
    }
    return result;
}

/* As tc_power, a negative exponent rounding towards zero. */
TC_INLINE uint64_t tc_signed_power(int64_t base, int64_t exponent)
{
    if (exponent >= 0) {
        return tc_power((uint64_t)base, (uint64_t)exponent);
    }
    return base == 1 ? 1u : base != -1 ? 0u : (exponent & 1) != 0 ? UINT64_MAX : 1u;
}

#define TC_COMPARED(S, T)                                                                                              \
    TC_BINARY(equal_##S, T, uint8_t, a == b)                                                                           \
    TC_BINARY(less_##S, T, uint8_t, a < b)                                                                             \
    TC_BINARY(less_or_equal_##S, T, uint8_t, a <= b)                                                                   \
    TC_BINARY(greater_##S, T, uint8_t, a > b)                                                                          \
    TC_BINARY(greater_or_equal_##S, T, uint8_t, a >= b)                                                                \
    TC_WHERE(S, T)

/* W: the unsigned type, at least as wide as unsigned int, in which arithmetic on T wraps. */
#define TC_INTEGER(S, T, W)                                                                                            \
    TC_COMPARED(S, T)                                                                                                  \
    TC_BINARY(add_##S, T, T, (W)a + (W)b)                                                                              \
    TC_BINARY(sub_##S, T, T, (W)a - (W)b)                                                                              \
    TC_BINARY(mul_##S, T, T, (W)a * (W)b)                                                                              \
    TC_BINARY(min_##S, T, T, a < b ? a : b)                                                                            \
    TC_BINARY(max_##S, T, T, a > b ? a : b)                                                                            \
    TC_BINARY(bit_and_##S, T, T, (W)a & (W)b)                                                                          \
    TC_BINARY(bit_or_##S, T, T, (W)a | (W)b)                                                                           \
    TC_BINARY(bit_xor_##S, T, T, (W)a ^ (W)b)                                                                          \
    TC_UNARY(bit_not_##S, T, T, ~(W)a)                                                                                 \
    TC_UNARY_P(clip_##S, T, T, (a < p[0] ? p[0] : a) > p[1] ? p[1] : (a < p[0] ? p[0] : a))

#define TC_SIGNED(S, T, W)                                                                                             \
    TC_INTEGER(S, T, W)                                                                                                \
    TC_BINARY(div_##S, T, T, b == 0 ? 0u : b == -1 ? 0u - (W)a : (W)(a / b))                                           \
    TC_BINARY(mod_##S, T, T, tc_floor_mod(a, b))                                                                       \
    TC_BINARY(fmod_##S, T, T, b == 0 || b == -1 ? 0 : a % b)                                                           \
    TC_BINARY(shift_left_##S, T, T, (W)b < 8u * sizeof(T) ? (W)a << b : 0u)                                            \
    TC_BINARY(shift_right_##S, T, T, (W)b >= 8u * sizeof(T) ? (a < 0 ? -1 : 0) : a < 0 ? ~(~a >> b) : a >> b)          \
    TC_BINARY(pow_##S, T, T, tc_signed_power(a, b))                                                                    \
    TC_BINARY(prelu_##S, T, T, a < 0 ? (W)a * (W)b : (W)a)                                                             \
    TC_UNARY(relu_##S, T, T, a < 0 ? 0 : a)                                                                            \
    TC_UNARY(neg_##S, T, T, 0u - (W)a)                                                                                 \
    TC_UNARY(abs_##S, T, T, a < 0 ? 0u - (W)a : (W)a)                                                                  \
    TC_UNARY(sign_##S, T, T, (a > 0) - (a < 0))

#define TC_UNSIGNED(S, T, W)                                                                                           \
    TC_INTEGER(S, T, W)                                                                                                \
    TC_BINARY(div_##S, T, T, b == 0 ? 0 : a / b)                                                                       \
    TC_BINARY(mod_##S, T, T, b == 0 ? 0 : a % b)                                                                       \
    TC_BINARY(fmod_##S, T, T, b == 0 ? 0 : a % b)                                                                      \
    TC_BINARY(pow_##S, T, T, tc_power(a, b))                                                                           \
    TC_BINARY(shift_left_##S, T, T, b < 8u * sizeof(T) ? (W)a << b : 0u)                                               \
    TC_BINARY(shift_right_##S, T, T, b < 8u * sizeof(T) ? (W)a >> b : 0u)                                              \
    TC_UNARY(sign_##S, T, T, a != 0)

/* a in T's range [lo, hi], both exact or one beyond it; NaN is 0. */
#define TC_SATURATED(a, T, lo, hi, least, most) ((a) != (a) ? (T)0 : (a) < (lo) ? (T)(least) : (a) >= (hi) ? (T)(most) : (T)(a))

/* From T to every type: integers wrap. */
#define TC_CAST_FROM_INTEGER(S, T)                                                                                     \
    TC_UNARY(to_s8_##S, T, int8_t, a)                                                                                  \
    TC_UNARY(to_s16_##S, T, int16_t, a)                                                                                \
    TC_UNARY(to_s32_##S, T, int32_t, a)                                                                                \
    TC_UNARY(to_s64_##S, T, int64_t, a)                                                                                \
    TC_UNARY(to_u8_##S, T, uint8_t, a)                                                                                 \
    TC_UNARY(to_u16_##S, T, uint16_t, a)                                                                               \
    TC_UNARY(to_u32_##S, T, uint32_t, a)                                                                               \
    TC_UNARY(to_u64_##S, T, uint64_t, a)                                                                               \
    TC_UNARY(to_f32_##S, T, float, a)                                                                                  \
    TC_UNARY(to_bool_##S, T, uint8_t, a != 0)

TC_CAST_FROM_INTEGER(s8, int8_t)
TC_CAST_FROM_INTEGER(s16, int16_t)
TC_CAST_FROM_INTEGER(s32, int32_t)
TC_CAST_FROM_INTEGER(s64, int64_t)
TC_CAST_FROM_INTEGER(u8, uint8_t)
TC_CAST_FROM_INTEGER(u16, uint16_t)
TC_CAST_FROM_INTEGER(u32, uint32_t)
TC_CAST_FROM_INTEGER(u64, uint64_t)
TC_CAST_FROM_INTEGER(bool, uint8_t)
TC_UNARY(to_s8_f32, float, int8_t, TC_SATURATED(a, int8_t, -128.0f, 128.0f, INT8_MIN, INT8_MAX))
TC_UNARY(to_s16_f32, float, int16_t, TC_SATURATED(a, int16_t, -32768.0f, 32768.0f, INT16_MIN, INT16_MAX))
TC_UNARY(to_s32_f32, float, int32_t, TC_SATURATED(a, int32_t, -0x1p31f, 0x1p31f, INT32_MIN, INT32_MAX))
TC_UNARY(to_s64_f32, float, int64_t, TC_SATURATED(a, int64_t, -0x1p63f, 0x1p63f, INT64_MIN, INT64_MAX))
TC_UNARY(to_u8_f32, float, uint8_t, TC_SATURATED(a, uint8_t, 0.0f, 256.0f, 0, UINT8_MAX))
TC_UNARY(to_u16_f32, float, uint16_t, TC_SATURATED(a, uint16_t, 0.0f, 65536.0f, 0, UINT16_MAX))
TC_UNARY(to_u32_f32, float, uint32_t, TC_SATURATED(a, uint32_t, 0.0f, 0x1p32f, 0, UINT32_MAX))
TC_UNARY(to_u64_f32, float, uint64_t, TC_SATURATED(a, uint64_t, 0.0f, 0x1p64f, 0, UINT64_MAX))
TC_UNARY(to_bool_f32, float, uint8_t, a != 0.0f)

TC_SIGNED(s8, int8_t, uint32_t)
TC_SIGNED(s16, int16_t, uint32_t)
TC_SIGNED(s32, int32_t, uint32_t)
TC_SIGNED(s64, int64_t, uint64_t)
TC_UNSIGNED(u8, uint8_t, uint32_t)
TC_UNSIGNED(u16, uint16_t, uint32_t)
TC_UNSIGNED(u32, uint32_t, uint32_t)
TC_UNSIGNED(u64, uint64_t, uint64_t)

TC_BINARY(equal_bool, uint8_t, uint8_t, a == b)
TC_BINARY(and_bool, uint8_t, uint8_t, a & b)
TC_BINARY(or_bool, uint8_t, uint8_t, a | b)
TC_BINARY(xor_bool, uint8_t, uint8_t, a ^ b)
TC_UNARY(not_bool, uint8_t, uint8_t, a == 0)
TC_WHERE(bool, uint8_t)

/* A NaN operand of min, max, relu and clip gives NaN. */
TC_COMPARED(f32, float)
TC_BINARY(add_f32, float, float, a + b)
TC_BINARY(sub_f32, float, float, a - b)
TC_BINARY(mul_f32, float, float, a * b)
TC_BINARY(div_f32, float, float, a / b)
TC_BINARY(min_f32, float, float, a < b || a != a ? a : b)
TC_BINARY(max_f32, float, float, a > b || a != a ? a : b)
TC_BINARY(prelu_f32, float, float, a < 0.0f ? a * b : a)
TC_UNARY(relu_f32, float, float, a < 0.0f ? 0.0f : a)
TC_UNARY(neg_f32, float, float, -a)
TC_UNARY(sign_f32, float, float, a > 0.0f ? 1.0f : a < 0.0f ? -1.0f : a)
TC_UNARY(reciprocal_f32, float, float, 1.0f / a)
TC_UNARY(softsign_f32, float, float, a / (1.0f + (a < 0.0f ? -a : a)))
TC_UNARY(isnan_f32, float, uint8_t, a != a)
TC_UNARY(bits_f32, float, uint32_t, tc_bits_of(a))
TC_UNARY(from_bits_u32, uint32_t, float, tc_float_of(a))
TC_UNARY_P(clip_f32, float, float, (a < p[0] ? p[0] : a) > p[1] ? p[1] : (a < p[0] ? p[0] : a))
TC_UNARY_P(leaky_relu_f32, float, float, a < 0.0f ? p[0] * a : a)
TC_UNARY_P(thresholded_relu_f32, float, float, a > p[0] ? a : 0.0f)
TC_UNARY_P(shrink_f32, float, float, a < -p[0] ? a + p[1] : a > p[0] ? a - p[1] : 0.0f)
/* p: least value that is infinite enough, at either end. */
TC_UNARY_P(isinf_f32, float, uint8_t, a <= p[0] || a >= p[1])

#endif
