/* Windows of a map as runs of bytes. */
#ifndef TC_GATHER_H
#define TC_GATHER_H

#include "tc_taps.h"

#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#endif

/* Four bytes from anywhere to anywhere. */
TC_INLINE void tc_copy4(int8_t *to, const int8_t *from)
{
#if defined(__GNUC__)
    __builtin_memcpy(to, from, 4);
#else
    for (int32_t k = 0; k < 4; ++k) {
        to[k] = from[k];
    }
#endif
}

/* n bytes likewise. */
TC_INLINE void tc_gather_run(int8_t *to, const int8_t *from, int32_t n)
{
    int32_t k = 0;
#if defined(__ARM_FEATURE_MVE)
    for (; k + 16 <= n; k += 16) {
        vstrbq_s8(to + k, vldrbq_s8(from + k));
    }
#endif
    TC_UNROLL
    for (; k + 4 <= n; k += 4) {
        tc_copy4(to + k, from + k);
    }
    for (; k < n; ++k) {
        to[k] = from[k];
    }
}

TC_INLINE void tc_gather_padding(int8_t *to, int32_t zero_point, int32_t n)
{
    for (int32_t k = 0; k < n; ++k) {
        to[k] = (int8_t)zero_point;
    }
}

/* The window whose first tap is input column x0, as one run; padding as the input's zero point. */
TC_INLINE void tc_gather_window(int8_t *window, const int8_t *const *in0, int32_t x0, int32_t in_w, int32_t in_ch,
                                int32_t kernel_h, int32_t kernel_w, int32_t in_zero_point)
{
    const int32_t n = kernel_w * in_ch;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        const int8_t *const row = in0[ky];
        if (row == NULL) {
            tc_gather_padding(window, in_zero_point, n);
        } else if (x0 >= 0 && x0 + kernel_w <= in_w) {
            tc_gather_run(window, row + x0 * in_ch, n);
        } else {
            const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, 1);
            tc_gather_padding(window, in_zero_point, taps.from * in_ch);
            for (int32_t k = taps.from * in_ch; k < taps.to * in_ch; ++k) {
                window[k] = row[x0 * in_ch + k];
            }
            tc_gather_padding(window + taps.to * in_ch, in_zero_point, (kernel_w - taps.to) * in_ch);
        }
        window += n;
    }
}

#endif
