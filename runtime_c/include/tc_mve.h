/* Blocks of int8 arithmetic for Armv8.1-M vectors (MVE, Helium), and the same in C for other cores. */
#ifndef TC_MVE_H
#define TC_MVE_H

#include "tc_requantize.h"

#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#endif

#define TC_MVE_PIXELS 2
#define TC_MVE_FILTERS 4
#define TC_MVE_LANES 16

#if defined(__ARM_FEATURE_MVE)
/* tc_mve_dot for n of up to 16. */
TC_INLINE void tc_mve_dot_lanes(int32_t acc[TC_MVE_PIXELS][TC_MVE_FILTERS], const int8_t *x, const int8_t *w, int32_t n,
                                int32_t x_pitch, int32_t pixels, int32_t filters)
{
    const int32_t whole = n == TC_MVE_LANES;
    const mve_pred16_t some = vctp8q((uint32_t)n);
    int8x16_t inputs[TC_MVE_PIXELS];
    TC_UNROLL
    for (int32_t p = 0; p < pixels; ++p) {
        inputs[p] = whole ? vldrbq_s8(x + p * x_pitch) : vldrbq_z_s8(x + p * x_pitch, some);
    }
    TC_UNROLL
    for (int32_t f = 0; f < filters; ++f) {
        const int8x16_t weights = whole ? vldrbq_s8(w + f * n) : vldrbq_z_s8(w + f * n, some);
        TC_UNROLL
        for (int32_t p = 0; p < pixels; ++p) {
            acc[p][f] = vmladavaq_s8(acc[p][f], inputs[p], weights);
        }
    }
}

/* tc_mve_dot for `blocks` times 16, two pixels and four filters. In assembly, because the eight sums need every even
   register and compilers then spill; all addresses go on by themselves. One of the sums is in LR by name, so that GCC
   does not count a loop around this in LR. */
TC_INLINE void tc_mve_dot_blocks(int32_t acc[TC_MVE_PIXELS][TC_MVE_FILTERS], const int8_t *x, const int8_t *w,
                                 int32_t blocks, int32_t x_pitch)
{
    const int8_t *x1 = x + x_pitch;
    register int32_t last __asm__("lr") = acc[1][3];
    __asm__("1:\n\t"
            "vldrb.8 q0, [%[x0]], #16\n\t"
            "vldrb.8 q1, [%[x1]], #16\n\t"
            "vldrb.8 q2, [%[w]], #16\n\t"
            "vmladava.s8 %[a0], q0, q2\n\t"
            "vmladava.s8 %[b0], q1, q2\n\t"
            "vldrb.8 q2, [%[w]], #16\n\t"
            "vmladava.s8 %[a1], q0, q2\n\t"
            "vmladava.s8 %[b1], q1, q2\n\t"
            "vldrb.8 q2, [%[w]], #16\n\t"
            "vmladava.s8 %[a2], q0, q2\n\t"
            "vmladava.s8 %[b2], q1, q2\n\t"
            "vldrb.8 q2, [%[w]], #16\n\t"
            "vmladava.s8 %[a3], q0, q2\n\t"
            "vmladava.s8 %[b3], q1, q2\n\t"
            "subs %[n], %[n], #1\n\t"
            "bne 1b\n\t"
            : [a0] "+Te"(acc[0][0]), [a1] "+Te"(acc[0][1]), [a2] "+Te"(acc[0][2]), [a3] "+Te"(acc[0][3]),
              [b0] "+Te"(acc[1][0]), [b1] "+Te"(acc[1][1]), [b2] "+Te"(acc[1][2]), [b3] "+r"(last),
              [x0] "+r"(x), [x1] "+r"(x1), [w] "+r"(w), [n] "+r"(blocks)
            :
            : "q0", "q1", "q2", "cc", "memory");
    acc[1][3] = last;
}
#endif

/* acc[p][f] += the products of n inputs of pixel p, `x_pitch` elements apart, with the n weights of filter f. Weights
   are in the order of use: 16 of each filter, the next 16 of each, and so on; the last group may have fewer than 16 of
   each. pixels: 1..2, filters: 1..4. Sums wrap. */
TC_INLINE void tc_mve_dot(int32_t acc[TC_MVE_PIXELS][TC_MVE_FILTERS], const int8_t *x, const int8_t *w, int32_t n,
                          int32_t x_pitch, int32_t pixels, int32_t filters)
{
    const int32_t lanes = n / TC_MVE_LANES * TC_MVE_LANES;
#if defined(__ARM_FEATURE_MVE)
    if (lanes > 0 && pixels == 2 && filters == TC_MVE_FILTERS) {
        tc_mve_dot_blocks(acc, x, w, lanes / TC_MVE_LANES, x_pitch);
    } else {
        for (int32_t k = 0; k < lanes; k += TC_MVE_LANES) {
            tc_mve_dot_lanes(acc, x + k, w + k * filters, TC_MVE_LANES, x_pitch, pixels, filters);
        }
    }
    if (n != lanes) {
        tc_mve_dot_lanes(acc, x + lanes, w + lanes * filters, n - lanes, x_pitch, pixels, filters);
    }
#else
    for (int32_t k = 0; k < n; ++k) {
        const int32_t group = k / TC_MVE_LANES * TC_MVE_LANES;
        const int32_t pitch = group < lanes ? TC_MVE_LANES : n - lanes;
        for (int32_t f = 0; f < filters; ++f) {
            const int32_t weight = w[group * filters + f * pitch + k - group];
            for (int32_t p = 0; p < pixels; ++p) {
                acc[p][f] = (int32_t)((uint32_t)acc[p][f] + (uint32_t)(x[p * x_pitch + k] * weight));
            }
        }
    }
#endif
}

#if defined(__ARM_FEATURE_MVE)
/* tc_requantize of four accumulators. No shift is to the left. Negative values are less one before the shift, which
   rounds halves up, so that they round away from zero. */
TC_INLINE int32x4_t tc_mve_requantize(int32x4_t acc, int32x4_t multiplier, int32x4_t shift)
{
    const int32x4_t x = vqrdmulhq_s32(acc, multiplier);
    return vrshlq_s32(vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, shift), 31)), shift);
}
#endif

/* tc_output_s8 of these sums: pixels out_ch apart, filters beside one another. multiplier, shift: of the first filter;
   no shift is to the left. */
TC_INLINE void tc_mve_outputs(int8_t *out, int32_t acc[TC_MVE_PIXELS][TC_MVE_FILTERS], const int32_t *multiplier,
                              const int8_t *shift, int32_t out_ch, int32_t pixels, int32_t filters, int32_t zero_point,
                              int32_t lo, int32_t hi)
{
#if defined(__ARM_FEATURE_MVE)
    const mve_pred16_t some = vctp32q((uint32_t)filters);
    const int32_t whole = filters == TC_MVE_FILTERS;
    const int32x4_t multipliers = whole ? vldrwq_s32(multiplier) : vldrwq_z_s32(multiplier, some);
    const int32x4_t shifts = whole ? vldrbq_s32(shift) : vldrbq_z_s32(shift, some);
    TC_UNROLL
    for (int32_t p = 0; p < pixels; ++p) {
        const int32x4_t sums = {acc[p][0], acc[p][1], acc[p][2], acc[p][3]};
        int32x4_t y = vqaddq_n_s32(tc_mve_requantize(sums, multipliers, shifts), zero_point);
        y = vminq_s32(vmaxq_s32(y, vdupq_n_s32(lo)), vdupq_n_s32(hi));
        if (whole) {
            vstrbq_s32(out + p * out_ch, y);
        } else {
            vstrbq_p_s32(out + p * out_ch, y, some);
        }
    }
#else
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t f = 0; f < filters; ++f) {
            out[p * out_ch + f] = tc_output_s8((uint32_t)acc[p][f], multiplier[f], shift[f], zero_point, lo, hi);
        }
    }
#endif
}

#endif
