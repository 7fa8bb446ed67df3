/* Depthwise convolution of a map, one output row, which may be written over a row that it is made from; int8 weights,
   cores with the DSP extension. */
#ifndef TC_DEPTHWISE_CONV2D_IN_PLACE_S8_DSP_H
#define TC_DEPTHWISE_CONV2D_IN_PLACE_S8_DSP_H

#include "tc_depthwise_conv2d_s8_dsp.h"

/* Pixels of four channels that are made and not yet written: `pixels` of them from column x on. */
typedef struct {
    int8_t made[TC_DEPTHWISE_PIXELS * 4];
    int32_t x;
    int32_t pixels;
} tc_depthwise_late;

/* Write them to a row that begins at the first of the four channels, and forget them. */
TC_INLINE void tc_depthwise_late_write(tc_depthwise_late *late, int8_t *out, int32_t ch)
{
    int8_t *const y = out + late->x * ch;
    for (int32_t p = 0; p < late->pixels; ++p) {
        tc_store4(y + p * ch, tc_load4(late->made + 4 * p));
    }
    late->pixels = 0;
}

/* `pixels` pixels of four channels from column x on: made, then those before are written. */
TC_INLINE void tc_depthwise_conv2d_in_place_s8_dsp_block(
    tc_depthwise_late *late, int8_t *out, const int8_t *const *in0, int32_t c, const int8_t *w, const int32_t *bias,
    const int32_t *multiplier, const int8_t *shift, int32_t x, int32_t inside, int32_t pixels, int32_t in_w, int32_t ch,
    int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t pad_left, int32_t in_zero_point,
    int32_t out_zero_point, int32_t lo, int32_t hi)
{
    int8_t made[TC_DEPTHWISE_PIXELS * 4];
    tc_depthwise_conv2d_s8_dsp_four(made, 4, in0, c, w, bias, multiplier, shift, x * stride_w - pad_left, inside,
                                    pixels, in_w, ch, kernel_h, kernel_w, stride_w, in_zero_point, out_zero_point, lo,
                                    hi);
    tc_depthwise_late_write(late, out, ch);
    TC_UNROLL
    for (int32_t p = 0; p < pixels; ++p) {
        tc_store4(late->made + 4 * p, tc_load4(made + 4 * p));
    }
    late->x = x;
    late->pixels = pixels;
}

/* As tc_depthwise_conv2d_s8_dsp, but out may begin where one of the input rows begins. Four channels at a time go along
   the row, and each block of pixels is written when the next one is made. The blocks must be so large that the window of
   none begins before the end of the block two before it (ops/dsp_convolution.py says when). */
TC_INLINE void tc_depthwise_conv2d_in_place_s8_dsp(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                                   const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                   int32_t in_w, int32_t ch, int32_t out_w, int32_t kernel_h,
                                                   int32_t kernel_w, int32_t stride_w, int32_t pad_left, int32_t left,
                                                   int32_t right, int32_t in_zero_point, int32_t out_zero_point,
                                                   int32_t lo, int32_t hi)
{
    const int32_t first = tc_depthwise_block(left);
    const int32_t last = tc_depthwise_block(right);
    for (int32_t c = 0; c < ch; c += 4) {
        tc_depthwise_late late = {{0}, 0, 0};
        TC_UNROLL
        for (int32_t x = 0; x < left; x += first) {
            const int32_t pixels = left - x < first ? left - x : first;
            tc_depthwise_conv2d_in_place_s8_dsp_block(&late, out + c, in0, c, weights + c, bias + c, multiplier + c,
                                                      shift + c, x, 0, pixels, in_w, ch, kernel_h, kernel_w, stride_w,
                                                      pad_left, in_zero_point, out_zero_point, lo, hi);
        }
        for (int32_t x = left; x < out_w - right; x += TC_DEPTHWISE_PIXELS) {
            tc_depthwise_conv2d_in_place_s8_dsp_block(&late, out + c, in0, c, weights + c, bias + c, multiplier + c,
                                                      shift + c, x, 1, TC_DEPTHWISE_PIXELS, in_w, ch, kernel_h,
                                                      kernel_w, stride_w, pad_left, in_zero_point, out_zero_point, lo,
                                                      hi);
        }
        TC_UNROLL
        for (int32_t x = out_w - right; x < out_w; x += last) {
            const int32_t pixels = out_w - x < last ? out_w - x : last;
            tc_depthwise_conv2d_in_place_s8_dsp_block(&late, out + c, in0, c, weights + c, bias + c, multiplier + c,
                                                      shift + c, x, 0, pixels, in_w, ch, kernel_h, kernel_w, stride_w,
                                                      pad_left, in_zero_point, out_zero_point, lo, hi);
        }
        tc_depthwise_late_write(&late, out + c, ch);
    }
}

#endif
