/* The C library's float functions, also where the toolchain ships no headers. */
#ifndef TC_MATH_H
#define TC_MATH_H

#if defined(__has_include)
#if __has_include(<math.h>)
#include <math.h>
#define TC_HAS_MATH_H 1
#endif
#else
#include <math.h>
#define TC_HAS_MATH_H 1
#endif

#ifndef TC_HAS_MATH_H
float acosf(float x);
float acoshf(float x);
float asinf(float x);
float asinhf(float x);
float atanf(float x);
float atanhf(float x);
float ceilf(float x);
float cosf(float x);
float coshf(float x);
float erfcf(float x);
float erff(float x);
float expf(float x);
float expm1f(float x);
float fabsf(float x);
float floorf(float x);
float fmodf(float x, float y);
float log1pf(float x);
float logf(float x);
float powf(float x, float y);
float rintf(float x);
float sinf(float x);
float sinhf(float x);
float sqrtf(float x);
float tanf(float x);
float tanhf(float x);
#endif

#endif
