/* Depthwise convolution of a map, one output row; int8 weights, cores with the DSP extension. */
#ifndef TC_DEPTHWISE_CONV2D_S8_DSP_H
#define TC_DEPTHWISE_CONV2D_S8_DSP_H

#include "tc_dsp.h"
#include "tc_taps.h"

#define TC_DEPTHWISE_PIXELS 3

/* Channels 0 and 2 (`odd` 0) or 1 and 3 (`odd` 1) of four, of `pixels` adjacent pixels, `out_pitch` apart in the output;
   other arguments point at the first of the four, `x0` is the input column of the first pixel's first tap. `inside`: all taps are; otherwise those
   that are not are left out, which is decided at compile time where x0 is a constant. base: the pair of the input's
   negated zero point, so that a tap in the padding counts nothing. */
TC_INLINE void tc_depthwise_conv2d_s8_dsp_pair(int8_t *out, int32_t out_pitch, const int8_t *const *in0,
                                               int32_t c, const int8_t *w, const int32_t *bias,
                                               const int32_t *multiplier, const int8_t *shift, int32_t x0,
                                               int32_t inside, int32_t odd, int32_t pixels, int32_t in_w, int32_t ch,
                                               int32_t kernel_h, int32_t kernel_w, int32_t stride_w, uint32_t base,
                                               int32_t out_zero_point, int32_t lo, int32_t hi)
{
    uint32_t acc[TC_DEPTHWISE_PIXELS][2];
    TC_UNROLL
    for (int32_t p = 0; p < pixels; ++p) {
        acc[p][0] = (uint32_t)bias[odd];
        acc[p][1] = (uint32_t)bias[odd + 2];
    }
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        if (in0[ky] != NULL) {
            const int8_t *const x = in0[ky] + c;
            TC_UNROLL
            for (int32_t kx = 0; kx < kernel_w; ++kx) {
                const uint32_t w_four = tc_load4(w + kx * ch);
                const uint32_t w_pair = odd ? tc_odd(0, w_four) : tc_even(0, w_four);
                TC_UNROLL
                for (int32_t p = 0; p < pixels; ++p) {
                    const int32_t column = x0 + p * stride_w + kx;
                    if (inside || (column >= 0 && column < in_w)) {
                        const uint32_t four = tc_load4(x + column * ch);
                        const uint32_t pair = odd ? tc_odd(base, four) : tc_even(base, four);
                        acc[p][0] = tc_add_low_product(acc[p][0], pair, w_pair);
                        acc[p][1] = tc_add_high_product(acc[p][1], pair, w_pair);
                    }
                }
            }
        }
        w += kernel_w * ch;
    }
    TC_UNROLL
    for (int32_t k = odd; k < 4; k += 2) {
        const tc_dsp_stage stage = tc_dsp_stage_of(multiplier[k], shift[k], out_zero_point);
        const int32_t half = (k - odd) / 2;
        TC_UNROLL
        for (int32_t p = 0; p < pixels; ++p) {
            out[p * out_pitch + k] = tc_dsp_output_s8(acc[p][half], stage, lo, hi);
        }
    }
}

/* Four channels from c on; w, bias, multiplier and shift point at the first. */
TC_INLINE void tc_depthwise_conv2d_s8_dsp_four(int8_t *out, int32_t out_pitch, const int8_t *const *in0, int32_t c,
                                               const int8_t *w, const int32_t *bias, const int32_t *multiplier,
                                               const int8_t *shift, int32_t x0, int32_t inside, int32_t pixels,
                                               int32_t in_w, int32_t ch, int32_t kernel_h, int32_t kernel_w,
                                               int32_t stride_w, int32_t in_zero_point, int32_t out_zero_point,
                                               int32_t lo, int32_t hi)
{
    const uint32_t base = tc_pair(-in_zero_point);
    tc_depthwise_conv2d_s8_dsp_pair(out, out_pitch, in0, c, w, bias, multiplier, shift, x0, inside, 0, pixels, in_w, ch,
                                    kernel_h, kernel_w, stride_w, base, out_zero_point, lo, hi);
    tc_depthwise_conv2d_s8_dsp_pair(out, out_pitch, in0, c, w, bias, multiplier, shift, x0, inside, 1, pixels, in_w, ch,
                                    kernel_h, kernel_w, stride_w, base, out_zero_point, lo, hi);
}

/* All channels of `pixels` adjacent pixels. */
TC_INLINE void tc_depthwise_conv2d_s8_dsp_pixels(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                                 const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                 int32_t x0, int32_t inside, int32_t pixels, int32_t in_w, int32_t ch,
                                                 int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                                 int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    for (int32_t c = 0; c < ch; c += 4) {
        tc_depthwise_conv2d_s8_dsp_four(out + c, ch, in0, c, weights + c, bias + c, multiplier + c, shift + c, x0,
                                        inside, pixels, in_w, ch, kernel_h, kernel_w, stride_w, in_zero_point,
                                        out_zero_point, lo, hi);
    }
}

/* How many at a time of so many pixels at an end of a row: threes, but four are two and two. */
TC_INLINE int32_t tc_depthwise_block(int32_t pixels)
{
    return pixels == 4 ? 2 : TC_DEPTHWISE_PIXELS;
}

/* Pixels [from, to), some of whose taps may lie in the padding. */
TC_INLINE void tc_depthwise_conv2d_s8_dsp_border(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                                 const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                 int32_t from, int32_t to, int32_t in_w, int32_t ch, int32_t kernel_h,
                                                 int32_t kernel_w, int32_t stride_w, int32_t pad_left,
                                                 int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    const int32_t most = tc_depthwise_block(to - from);
    TC_UNROLL
    for (int32_t x = from; x < to; x += most) {
        const int32_t pixels = to - x < most ? to - x : most;
        tc_depthwise_conv2d_s8_dsp_pixels(out + x * ch, in0, weights, bias, multiplier, shift, x * stride_w - pad_left,
                                          0, pixels, in_w, ch, kernel_h, kernel_w, stride_w, in_zero_point,
                                          out_zero_point, lo, hi);
    }
}

/* Arguments as tc_depthwise_conv2d_s8, without dilation, one output channel per input channel, `ch` of them, a multiple
   of four; multiplier and shift as tc_dsp_stage has them, and the bias is the layer's own, the input's zero point
   not folded in. left, right: pixels at the ends of the row that are made apart, among them all that have taps in the
   padding; those between are a multiple of three. */
TC_INLINE void tc_depthwise_conv2d_s8_dsp(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                          const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                          int32_t in_w, int32_t ch, int32_t out_w, int32_t kernel_h, int32_t kernel_w,
                                          int32_t stride_w, int32_t pad_left, int32_t left, int32_t right,
                                          int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi)
{
    tc_depthwise_conv2d_s8_dsp_border(out, in0, weights, bias, multiplier, shift, 0, left, in_w, ch, kernel_h, kernel_w,
                                      stride_w, pad_left, in_zero_point, out_zero_point, lo, hi);
    for (int32_t x = left; x < out_w - right; x += TC_DEPTHWISE_PIXELS) {
        tc_depthwise_conv2d_s8_dsp_pixels(out + x * ch, in0, weights, bias, multiplier, shift, x * stride_w - pad_left,
                                          1, TC_DEPTHWISE_PIXELS, in_w, ch, kernel_h, kernel_w, stride_w,
                                          in_zero_point, out_zero_point, lo, hi);
    }
    tc_depthwise_conv2d_s8_dsp_border(out, in0, weights, bias, multiplier, shift, out_w - right, out_w, in_w, ch,
                                      kernel_h, kernel_w, stride_w, pad_left, in_zero_point, out_zero_point, lo, hi);
}

#endif
