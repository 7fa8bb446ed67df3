/* Depthwise convolution of a map, one output row; int8 weights, cores with MVE. */
#ifndef TC_DEPTHWISE_CONV2D_S8_MVE_H
#define TC_DEPTHWISE_CONV2D_S8_MVE_H

#include "tc_mve.h"

#if defined(__ARM_FEATURE_MVE)

/* Sums of 16 channels as vectors of 32 bits: channels 0, 4, 8, 12, then 2, 6..., 1, 5... and 3, 7... */
typedef struct {
    int32x4_t of[4];
} tc_mve_sums;

/* Products of 16 channels, added up in 16 bits: the even channels and the odd ones. */
typedef struct {
    int16x8_t even;
    int16x8_t odd;
} tc_mve_products;

TC_INLINE tc_mve_products tc_mve_multiply(int8x16_t x, int8x16_t w)
{
    tc_mve_products made;
    made.even = vmullbq_int_s8(x, w);
    made.odd = vmulltq_int_s8(x, w);
    return made;
}

TC_INLINE void tc_mve_add_products(tc_mve_sums *sums, tc_mve_products more)
{
    sums->of[0] = vaddq_s32(sums->of[0], vmovlbq_s16(more.even));
    sums->of[1] = vaddq_s32(sums->of[1], vmovltq_s16(more.even));
    sums->of[2] = vaddq_s32(sums->of[2], vmovlbq_s16(more.odd));
    sums->of[3] = vaddq_s32(sums->of[3], vmovltq_s16(more.odd));
}

/* Their outputs, in the order of the channels. multiplier, shift: in the order of the sums. */
TC_INLINE int8x16_t tc_mve_sums_outputs(const tc_mve_sums *sums, const int32_t *multiplier, const int8_t *shift,
                                        int32_t zero_point, int32_t lo, int32_t hi)
{
    int32x4_t y[4];
    TC_UNROLL
    for (int32_t k = 0; k < 4; ++k) {
        const int32x4_t rounded =
            tc_mve_requantize(sums->of[k], vldrwq_s32(multiplier + 4 * k), vldrbq_s32(shift + 4 * k));
        y[k] = vqaddq_n_s32(rounded, zero_point);
    }
    const int16x8_t even = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), y[0]), y[1]);
    const int16x8_t odd = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), y[2]), y[3]);
    const int8x16_t all = vqmovntq_s16(vqmovnbq_s16(vdupq_n_s8(0), even), odd);
    return lo == -128 && hi == 127 ? all
                                   : vminq_s8(vmaxq_s8(all, vdupq_n_s8((int8_t)lo)), vdupq_n_s8((int8_t)hi));
}

#endif

/* The place of channel c of 16 in the order of the sums. */
TC_INLINE int32_t tc_mve_place(int32_t c)
{
    const int32_t vector = c % 4 == 1 ? 2 : c % 4 == 2 ? 1 : c % 4;
    return 4 * vector + c / 4;
}

/* `channels` (1..16) channels of one pixel; other arguments point at the first, x0 is the input column of the first tap.
   `inside`: all taps are. */
TC_INLINE void tc_depthwise_conv2d_s8_mve_block(int8_t *out, const int8_t *const *in0, int32_t c, const int8_t *w,
                                                const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                int32_t x0, int32_t inside, int32_t channels, int32_t in_w, int32_t ch,
                                                int32_t kernel_h, int32_t kernel_w, int32_t at_once,
                                                int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi)
{
#if defined(__ARM_FEATURE_MVE)
    const mve_pred16_t some = vctp8q((uint32_t)channels);
    const int32_t whole = channels == TC_MVE_LANES;
    tc_mve_sums sums;
    TC_UNROLL
    for (int32_t k = 0; k < 4; ++k) {
        sums.of[k] = vldrwq_s32(bias + 4 * k);
    }
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        const int8_t *const row = in0[ky];
        const int8_t *const x = row + x0 * ch + c;
        TC_UNROLL
        for (int32_t kx = 0; kx < kernel_w; kx += at_once) {
            const int32_t end = kernel_w - kx < at_once ? kernel_w : kx + at_once;
            tc_mve_products added;
            TC_UNROLL
            for (int32_t k = kx; k < end; ++k) {
                int8x16_t inputs = vdupq_n_s8((int8_t)in_zero_point);
                if (inside || (row != NULL && x0 + k >= 0 && x0 + k < in_w)) {
                    inputs = whole ? vldrbq_s8(x + k * ch) : vldrbq_z_s8(x + k * ch, some);
                }
                const int8x16_t weights = whole ? vldrbq_s8(w + k * ch) : vldrbq_z_s8(w + k * ch, some);
                const tc_mve_products made = tc_mve_multiply(inputs, weights);
                added.even = k == kx ? made.even : vaddq_s16(added.even, made.even);
                added.odd = k == kx ? made.odd : vaddq_s16(added.odd, made.odd);
            }
            tc_mve_add_products(&sums, added);
        }
        w += kernel_w * ch;
    }
    const int8x16_t y = tc_mve_sums_outputs(&sums, multiplier, shift, out_zero_point, lo, hi);
    if (whole) {
        vstrbq_s8(out, y);
    } else {
        vstrbq_p_s8(out, y, some);
    }
#else
    (void)at_once;
    for (int32_t k = 0; k < channels; ++k) {
        const int32_t place = tc_mve_place(k);
        uint32_t acc = (uint32_t)bias[place];
        for (int32_t ky = 0; ky < kernel_h; ++ky) {
            for (int32_t kx = 0; kx < kernel_w; ++kx) {
                const int32_t column = x0 + kx;
                const int32_t there = inside || (in0[ky] != NULL && column >= 0 && column < in_w);
                const int32_t x = there ? in0[ky][column * ch + c + k] : in_zero_point;
                acc += (uint32_t)(x * w[(ky * kernel_w + kx) * ch + k]);
            }
        }
        out[k] = tc_output_s8(acc, multiplier[place], shift[place], out_zero_point, lo, hi);
    }
#endif
}

/* All channels of one pixel. */
TC_INLINE void tc_depthwise_conv2d_s8_mve_pixel(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                                const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                int32_t x0, int32_t inside, int32_t in_w, int32_t ch, int32_t kernel_h,
                                                int32_t kernel_w, int32_t at_once, int32_t in_zero_point,
                                                int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const int32_t blocks = ch / TC_MVE_LANES * TC_MVE_LANES;
    for (int32_t c = 0; c < blocks; c += TC_MVE_LANES) {
        tc_depthwise_conv2d_s8_mve_block(out + c, in0, c, weights + c, bias + c, multiplier + c, shift + c, x0, inside,
                                         TC_MVE_LANES, in_w, ch, kernel_h, kernel_w, at_once, in_zero_point,
                                         out_zero_point, lo, hi);
    }
    if (blocks < ch) {
        tc_depthwise_conv2d_s8_mve_block(out + blocks, in0, blocks, weights + blocks, bias + blocks,
                                         multiplier + blocks, shift + blocks, x0, inside, ch - blocks, in_w, ch,
                                         kernel_h, kernel_w, at_once, in_zero_point, out_zero_point, lo, hi);
    }
}

/* Arguments as tc_depthwise_conv2d_s8, without dilation, one output channel per input channel, `ch` of them; bias,
   multiplier and shift in groups of 16 channels in the order of tc_mve_place, the last group filled up, and no shift to
   the left. at_once: adjacent taps of a row whose weights' magnitudes add up to 255 at most, in every channel. */
TC_INLINE void tc_depthwise_conv2d_s8_mve(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                          const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                          int32_t in_w, int32_t ch, int32_t out_w, int32_t kernel_h, int32_t kernel_w,
                                          int32_t stride_w, int32_t pad_left, int32_t at_once, int32_t in_zero_point,
                                          int32_t out_zero_point, int32_t lo, int32_t hi)
{
    int32_t present = 1;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        present = in0[ky] != NULL ? present : 0;
    }
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        if (present && x0 >= 0 && x0 + kernel_w <= in_w) {
            tc_depthwise_conv2d_s8_mve_pixel(out, in0, weights, bias, multiplier, shift, x0, 1, in_w, ch, kernel_h,
                                             kernel_w, at_once, in_zero_point, out_zero_point, lo, hi);
        } else {
            tc_depthwise_conv2d_s8_mve_pixel(out, in0, weights, bias, multiplier, shift, x0, 0, in_w, ch, kernel_h,
                                             kernel_w, at_once, in_zero_point, out_zero_point, lo, hi);
        }
        out += ch;
    }
}

#endif
