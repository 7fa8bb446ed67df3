/* Single-precision arithmetic: what is rounded where is part of a kernel's result. */
#ifndef TC_FLOAT_H
#define TC_FLOAT_H

#include "tc_types.h"

/* Products and sums are rounded one by one, so that every core gives the same bits. GCC contracts them only outside of
   ISO C (-std=c99 keeps them apart). */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#if defined(__GNUC__) || defined(__clang__)
#define TC_INFINITY __builtin_inff()
#else
#include <math.h>
#define TC_INFINITY INFINITY
#endif

/* v within [limits[0], limits[1]], each where `lower` and `upper` ask for it; a NaN stays. */
TC_INLINE float tc_clamp_f32(float v, const float *limits, int32_t lower, int32_t upper)
{
    if (lower && v < limits[0]) {
        v = limits[0];
    }
    if (upper && v > limits[1]) {
        v = limits[1];
    }
    return v;
}

#endif
