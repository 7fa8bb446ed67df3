/* Elementwise float functions made of the C library's. Their distance from the exact value is that of the library. */
#ifndef TC_ELEMENTWISE_MATH_H
#define TC_ELEMENTWISE_MATH_H

#include "tc_elementwise.h"
#include "tc_math.h"
#include "tc_types.h"

TC_INLINE float tc_sigmoidf(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* log(1 + exp(x)), also where exp(x) is no float. */
TC_INLINE float tc_softplusf(float x)
{
    return x != x ? x : log1pf(expf(x > 0.0f ? -x : x)) + (x > 0.0f ? x : 0.0f);
}

/* Between 0 and 1: p[0] * a + p[1]. */
TC_INLINE float tc_hard_sigmoidf(float a, float slope, float offset)
{
    const float x = slope * a + offset;
    return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x;
}

TC_BINARY(pow_f32, float, float, powf(a, b))
/* Remainder with the divisor's sign. */
TC_INLINE float tc_floor_modf(float a, float b)
{
    const float r = fmodf(a, b);
    return r == 0.0f ? (b < 0.0f ? -0.0f : 0.0f) : (r < 0.0f) != (b < 0.0f) ? r + b : r;
}

TC_BINARY(mod_f32, float, float, tc_floor_modf(a, b))
TC_BINARY(fmod_f32, float, float, fmodf(a, b))
TC_UNARY(exp_f32, float, float, expf(a))
TC_UNARY(log_f32, float, float, logf(a))
TC_UNARY(sqrt_f32, float, float, sqrtf(a))
TC_UNARY(abs_f32, float, float, fabsf(a))
TC_UNARY(floor_f32, float, float, floorf(a))
TC_UNARY(ceil_f32, float, float, ceilf(a))
TC_UNARY(round_f32, float, float, rintf(a))
TC_UNARY(sin_f32, float, float, sinf(a))
TC_UNARY(cos_f32, float, float, cosf(a))
TC_UNARY(tan_f32, float, float, tanf(a))
TC_UNARY(asin_f32, float, float, asinf(a))
TC_UNARY(acos_f32, float, float, acosf(a))
TC_UNARY(atan_f32, float, float, atanf(a))
TC_UNARY(sinh_f32, float, float, sinhf(a))
TC_UNARY(cosh_f32, float, float, coshf(a))
TC_UNARY(tanh_f32, float, float, tanhf(a))
TC_UNARY(asinh_f32, float, float, asinhf(a))
TC_UNARY(acosh_f32, float, float, acoshf(a))
TC_UNARY(atanh_f32, float, float, atanhf(a))
TC_UNARY(erf_f32, float, float, erff(a))
TC_UNARY(sigmoid_f32, float, float, tc_sigmoidf(a))
TC_UNARY(softplus_f32, float, float, tc_softplusf(a))
TC_UNARY(mish_f32, float, float, a * tanhf(tc_softplusf(a)))
TC_UNARY(gelu_f32, float, float, 0.5f * a * erfcf(-0.70710678f * a))
/* 0.5 * (1 + tanh(z)) is sigmoid(2 * z). */
TC_UNARY(gelu_tanh_f32, float, float, a * tc_sigmoidf(1.5957691f * (a + 0.044715f * a * a * a)))
TC_UNARY(hard_swish_f32, float, float, a * tc_hard_sigmoidf(a, 1.0f / 6.0f, 0.5f))
TC_UNARY_P(swish_f32, float, float, a * tc_sigmoidf(p[0] * a))
TC_UNARY_P(hard_sigmoid_f32, float, float, tc_hard_sigmoidf(a, p[0], p[1]))
TC_UNARY_P(elu_f32, float, float, a < 0.0f ? p[0] * expm1f(a) : a)
TC_UNARY_P(selu_f32, float, float, p[1] * (a < 0.0f ? p[0] * expm1f(a) : a))
TC_UNARY_P(celu_f32, float, float, a < 0.0f ? p[0] * expm1f(a / p[0]) : a)

#endif
