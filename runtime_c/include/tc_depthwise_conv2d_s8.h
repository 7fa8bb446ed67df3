/* Depthwise convolution of a map, one output row. */
#ifndef TC_DEPTHWISE_CONV2D_S8_H
#define TC_DEPTHWISE_CONV2D_S8_H

#include "tc_requantize.h"
#include "tc_taps.h"
#include "tc_weights_s4.h"

/* Window sum of one output channel where every tap lies inside. x: the first tap's column and channel, in elements of a
   row; w: the byte with the channel's first weight, others `pitch` apart; part: what of it the weight is. Signed, in the
   order of the taps: GCC regroups unsigned sums and then runs out of registers. A window has fewer than 2^16 taps, so
   that it cannot overflow. */
TC_INLINE int32_t tc_depthwise_conv2d_s8_taps(const int8_t *const *in0, const int8_t *w, int32_t part, int32_t x,
                                              int32_t in_ch, int32_t pitch, int32_t kernel_h, int32_t kernel_w,
                                              int32_t dilation_w)
{
    int32_t sum = 0;
    TC_UNROLL
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        const int8_t *const row = in0[ky] + x;
        TC_UNROLL
        for (int32_t kx = 0; kx < kernel_w; ++kx) {
            sum += row[kx * dilation_w * in_ch] * tc_weight_in(w[(ky * kernel_w + kx) * pitch], part);
        }
    }
    return sum;
}

/* The same with one loop for each part that it can be. */
TC_INLINE int32_t tc_depthwise_conv2d_s8_interior(const int8_t *const *in0, const int8_t *w, int32_t part, int32_t x,
                                                  int32_t in_ch, int32_t pitch, int32_t kernel_h, int32_t kernel_w,
                                                  int32_t dilation_w)
{
    if (part == TC_WHOLE_BYTE) {
        return tc_depthwise_conv2d_s8_taps(in0, w, TC_WHOLE_BYTE, x, in_ch, pitch, kernel_h, kernel_w, dilation_w);
    }
    if (part == TC_LOW_HALF) {
        return tc_depthwise_conv2d_s8_taps(in0, w, TC_LOW_HALF, x, in_ch, pitch, kernel_h, kernel_w, dilation_w);
    }
    return tc_depthwise_conv2d_s8_taps(in0, w, TC_HIGH_HALF, x, in_ch, pitch, kernel_h, kernel_w, dilation_w);
}

/* The same where some rows are absent or only some taps of a row lie inside. */
TC_INLINE uint32_t tc_depthwise_conv2d_s8_border(uint32_t acc, const int8_t *const *in0, const int8_t *w, int32_t part,
                                                 int32_t x, tc_taps taps, int32_t in_ch, int32_t pitch,
                                                 int32_t kernel_h, int32_t kernel_w, int32_t dilation_w,
                                                 int32_t in_zero_point)
{
    int32_t padding = 0; /* sum of the weights whose taps lie in the padding */
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        const int32_t from = in0[ky] != NULL ? taps.from : kernel_w;
        const int32_t to = in0[ky] != NULL ? taps.to : kernel_w;
        for (int32_t kx = from; kx < to; ++kx) {
            acc += (uint32_t)(in0[ky][x + kx * dilation_w * in_ch] * tc_weight_in(w[kx * pitch], part));
        }
        if (in_zero_point != 0) {
            for (int32_t kx = 0; kx < from; ++kx) {
                padding += tc_weight_in(w[kx * pitch], part);
            }
            for (int32_t kx = to; kx < kernel_w; ++kx) {
                padding += tc_weight_in(w[kx * pitch], part);
            }
        }
        w += kernel_w * pitch;
    }
    return acc + (uint32_t)(in_zero_point * padding);
}

/* One output row, as below. bits: of a weight, 8 or 4; a tap's out_ch weights are a row of these. */
TC_INLINE void tc_depthwise_conv2d_s8_row(int8_t *out, const int8_t *const *in0, const int8_t *weights,
                                          const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                          int32_t in_w, int32_t in_ch, int32_t out_w, int32_t out_ch, int32_t kernel_h,
                                          int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                          int32_t in_zero_point, int32_t out_zero_point, int32_t lo, int32_t hi,
                                          int32_t bits)
{
    const int32_t per_channel = out_ch / in_ch;
    const int32_t pitch = tc_weight_row_bytes(out_ch, bits);
    int32_t present = 1;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        present = in0[ky] != NULL ? present : 0;
    }
    for (int32_t x = 0; x < out_w; ++x) {
        const int32_t x0 = x * stride_w - pad_left;
        int8_t *const y = out + x * out_ch;
        if (present && x0 >= 0 && x0 + (kernel_w - 1) * dilation_w < in_w) {
            for (int32_t oc = 0; oc < out_ch; ++oc) {
                const tc_weight_place at = tc_weight_at(oc, out_ch, bits);
                const int32_t sum =
                    tc_depthwise_conv2d_s8_interior(in0, weights + at.byte, at.part, x0 * in_ch + oc / per_channel,
                                                    in_ch, pitch, kernel_h, kernel_w, dilation_w);
                const uint32_t acc = (uint32_t)bias[oc] + (uint32_t)sum;
                y[oc] = tc_output_s8(acc, multiplier[oc], shift[oc], out_zero_point, lo, hi);
            }
        } else {
            const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);
            for (int32_t oc = 0; oc < out_ch; ++oc) {
                const tc_weight_place at = tc_weight_at(oc, out_ch, bits);
                const uint32_t acc = tc_depthwise_conv2d_s8_border(
                    (uint32_t)bias[oc], in0, weights + at.byte, at.part, x0 * in_ch + oc / per_channel, taps, in_ch,
                    pitch, kernel_h, kernel_w, dilation_w, in_zero_point);
                y[oc] = tc_output_s8(acc, multiplier[oc], shift[oc], out_zero_point, lo, hi);
            }
        }
    }
}

/* out: one row, (out_w, out_ch). in0: kernel_h input rows, (in_w, in_ch) each; NULL for a row in the padding.
   weights: (kernel_h, kernel_w, out_ch); output channel c * (out_ch / in_ch) + m reads input channel c. The rest as
   tc_conv2d_s8. No alignment needed. out must not overlap the input rows. */
TC_INLINE void tc_depthwise_conv2d_s8(int8_t *out, const int8_t *const *in0, const int8_t *weights, const int32_t *bias,
                                      const int32_t *multiplier, const int8_t *shift, int32_t in_w, int32_t in_ch,
                                      int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w,
                                      int32_t stride_w, int32_t dilation_w, int32_t pad_left, int32_t in_zero_point,
                                      int32_t out_zero_point, int32_t lo, int32_t hi)
{
    tc_depthwise_conv2d_s8_row(out, in0, weights, bias, multiplier, shift, in_w, in_ch, out_w, out_ch, kernel_h,
                               kernel_w, stride_w, dilation_w, pad_left, in_zero_point, out_zero_point, lo, hi, 8);
}

#endif
