/* Dot products of int8 inputs with int8 weights, two at a time: up to three pixels by two filters. */
#ifndef TC_DOT_S8_DSP_H
#define TC_DOT_S8_DSP_H

#include "tc_dsp.h"

#define TC_DOT_PIXELS 3
#define TC_DOT_FILTERS 2
#define TC_DOT_UNROLLED 16 /* inputs that the loop takes at once */

/* Of so many pixels in blocks of three and two: the blocks of two, where there is more than one pixel. */
TC_INLINE int32_t tc_dot_pairs(int32_t pixels)
{
    return pixels % 3 == 0 || pixels < 2 ? 0 : 3 - pixels % 3;
}

/* acc[p][f] += the products of four inputs of pixel p, `x_pitch` elements apart, with four weights of filter f, `w_pitch`
   apart. Registers are the limit: six sums, four pairs of weights, a pixel's two pairs, two addresses. */
TC_INLINE void tc_dot_s8_dsp_four(uint32_t acc[TC_DOT_PIXELS][TC_DOT_FILTERS], const int8_t *x, const int8_t *w,
                                  int32_t x_pitch, int32_t w_pitch, int32_t pixels, int32_t filters)
{
    uint32_t even[TC_DOT_FILTERS];
    uint32_t odd[TC_DOT_FILTERS];
    TC_UNROLL
    for (int32_t f = 0; f < filters; ++f) {
        const uint32_t four = tc_load4(w + f * w_pitch);
        even[f] = tc_even(0, four);
        odd[f] = tc_odd(0, four);
    }
    TC_UNROLL
    for (int32_t p = 0; p < pixels; ++p) {
        const uint32_t four = tc_load4(x + p * x_pitch);
        const uint32_t x_even = tc_even(0, four);
        const uint32_t x_odd = tc_odd(0, four);
        TC_UNROLL
        for (int32_t f = 0; f < filters; ++f) {
            acc[p][f] = tc_add_products(acc[p][f], x_even, even[f]);
            acc[p][f] = tc_add_products(acc[p][f], x_odd, odd[f]);
        }
    }
}

/* The same for n inputs and weights. pixels: 1..3, filters: 1..2. Sums wrap. */
TC_INLINE void tc_dot_s8_dsp(uint32_t acc[TC_DOT_PIXELS][TC_DOT_FILTERS], const int8_t *x, const int8_t *w, int32_t n,
                             int32_t x_pitch, int32_t w_pitch, int32_t pixels, int32_t filters)
{
    const int8_t *const end = x + n / TC_DOT_UNROLLED * TC_DOT_UNROLLED;
    while (x != end) {
        TC_UNROLL
        for (int32_t k = 0; k < TC_DOT_UNROLLED; k += 4) {
            tc_dot_s8_dsp_four(acc, x + k, w + k, x_pitch, w_pitch, pixels, filters);
        }
        x += TC_DOT_UNROLLED;
        w += TC_DOT_UNROLLED;
    }
    TC_UNROLL
    for (int32_t k = 0; k < n % TC_DOT_UNROLLED / 4 * 4; k += 4) {
        tc_dot_s8_dsp_four(acc, x + k, w + k, x_pitch, w_pitch, pixels, filters);
    }
    TC_UNROLL
    for (int32_t k = n % TC_DOT_UNROLLED / 4 * 4; k < n % TC_DOT_UNROLLED; ++k) {
        TC_UNROLL
        for (int32_t p = 0; p < pixels; ++p) {
            TC_UNROLL
            for (int32_t f = 0; f < filters; ++f) {
                acc[p][f] += (uint32_t)(x[p * x_pitch + k] * w[f * w_pitch + k]);
            }
        }
    }
}

/* The outputs of these sums: pixels out_ch apart, filters beside one another. multiplier, shift: of the first filter. */
TC_INLINE void tc_dot_s8_dsp_outputs(int8_t *out, uint32_t acc[TC_DOT_PIXELS][TC_DOT_FILTERS],
                                     const int32_t *multiplier, const int8_t *shift, int32_t out_ch, int32_t pixels,
                                     int32_t filters, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    TC_UNROLL
    for (int32_t f = 0; f < filters; ++f) {
        const tc_dsp_stage stage = tc_dsp_stage_of(multiplier[f], shift[f], out_zero_point);
        TC_UNROLL
        for (int32_t p = 0; p < pixels; ++p) {
            out[p * out_ch + f] = tc_dsp_output_s8(acc[p][f], stage, lo, hi);
        }
    }
}

/* The same where all inputs are padding, which has the value of the input's zero point. */
TC_INLINE void tc_dot_s8_dsp_padding(uint32_t acc[TC_DOT_PIXELS][TC_DOT_FILTERS], int32_t zero_point, const int8_t *w,
                                     int32_t n, int32_t w_pitch, int32_t pixels, int32_t filters)
{
    if (zero_point == 0) {
        return;
    }
    const uint32_t x = tc_pair(zero_point);
    const int8_t *const end = w + n / 4 * 4;
    uint32_t sum[TC_DOT_FILTERS] = {0};
    while (w != end) {
        TC_UNROLL
        for (int32_t f = 0; f < filters; ++f) {
            const uint32_t four = tc_load4(w + f * w_pitch);
            sum[f] = tc_add_products(sum[f], x, tc_even(0, four));
            sum[f] = tc_add_products(sum[f], x, tc_odd(0, four));
        }
        w += 4;
    }
    TC_UNROLL
    for (int32_t f = 0; f < filters; ++f) {
        TC_UNROLL
        for (int32_t k = 0; k < n % 4; ++k) {
            sum[f] += (uint32_t)(zero_point * w[f * w_pitch + k]);
        }
        TC_UNROLL
        for (int32_t p = 0; p < pixels; ++p) {
            acc[p][f] += sum[f];
        }
    }
}

#endif
