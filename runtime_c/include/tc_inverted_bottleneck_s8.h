/* Inverted bottleneck, one output row or several: 1x1 convolution that expands, depthwise convolution, 1x1 convolution
   that projects. The expanded map is never held: only the columns of it under one window are. */
#ifndef TC_INVERTED_BOTTLENECK_S8_H
#define TC_INVERTED_BOTTLENECK_S8_H

#include "tc_add_s8.h"
#include "tc_conv2d_s8.h"
#include "tc_depthwise_conv2d_s8.h"

/* What is added to each projected pixel: tc_add_s8 with the projected pixel as its first operand, `row` as its second.
   row: one row, (out_w, out_ch), NULL where nothing is added. */
typedef struct {
    const int8_t *row;
    int32_t zero_point0, multiplier0, shift0, sign0;
    int32_t zero_point1, multiplier1, shift1, sign1;
    int32_t multiplier, shift, out_zero_point, lo, hi;
} tc_inverted_bottleneck_addend;

/* One pixel of a 1x1 convolution. in: its in_ch channels. bits: of a weight, here and below. The padding's value is of
   no account: no tap is outside. */
TC_INLINE void tc_inverted_bottleneck_s8_pointwise(int8_t *out, const int8_t *in, const int8_t *weights,
                                                   const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                   int32_t in_ch, int32_t out_ch, int32_t out_zero_point, int32_t lo,
                                                   int32_t hi, int32_t bits)
{
    const tc_taps all = {0, 1};
    tc_conv2d_s8_pixel(out, &in, weights, bias, multiplier, shift, 0, all, in_ch, out_ch, 1, 1, 1, 1, 0, out_zero_point,
                       lo, hi, bits);
}

/* One column of the expanded map, (given_h, mid_ch), from input column x, which may lie outside, as may rows: the
   padding belongs to the expanded map and has its zero point. */
TC_INLINE void tc_inverted_bottleneck_s8_expand(int8_t *column, const int8_t *const *in0, const int8_t *weights,
                                                const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                int32_t x, int32_t in_w, int32_t in_ch, int32_t mid_ch,
                                                int32_t given_h, int32_t zero_point, int32_t lo, int32_t hi,
                                                int32_t bits)
{
    for (int32_t y = 0; y < given_h; ++y) {
        int8_t *const pixel = column + y * mid_ch;
        if (in0[y] != NULL && x >= 0 && x < in_w) {
            tc_inverted_bottleneck_s8_pointwise(pixel, in0[y] + x * in_ch, weights, bias, multiplier, shift, in_ch,
                                                mid_ch, zero_point, lo, hi, bits);
        } else {
            for (int32_t c = 0; c < mid_ch; ++c) {
                pixel[c] = (int8_t)zero_point;
            }
        }
    }
}

/* The columns of the expanded map under the window of output pixel x that the window before has not. ring: `span`
   columns of (held_h, mid_ch), the window's first at `first`, of which given_h rows are filled. */
TC_INLINE void tc_inverted_bottleneck_s8_advance(int8_t *ring, const int8_t *const *in0, const int8_t *weights,
                                                 const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                 int32_t x, int32_t first, int32_t span, int32_t stride_w,
                                                 int32_t pad_left, int32_t in_w, int32_t in_ch, int32_t mid_ch,
                                                 int32_t held_h, int32_t given_h, int32_t zero_point, int32_t lo,
                                                 int32_t hi, int32_t bits)
{
    const int32_t kept = stride_w < span ? span - stride_w : 0; /* columns that the next window shares with this one */
    for (int32_t k = x == 0 ? 0 : kept; k < span; ++k) {
        const int32_t slot = first + k < span ? first + k : first + k - span;
        tc_inverted_bottleneck_s8_expand(ring + slot * held_h * mid_ch, in0, weights, bias, multiplier, shift,
                                         x * stride_w - pad_left + k, in_w, in_ch, mid_ch, given_h, zero_point, lo, hi,
                                         bits);
    }
}

/* How many of the `rows` output rows are to be made. */
TC_INLINE int32_t tc_inverted_bottleneck_s8_made(int8_t *const *out, int32_t rows)
{
    int32_t made = 1;
    while (made < rows && out[made] != NULL) {
        ++made;
    }
    return made;
}

/* One pixel of the depthwise convolution. ring: from the window's first row on, `span` columns of (held_h, mid_ch), the
   window's first at `first`. weights: (kernel_w, kernel_h, mid_ch). */
TC_INLINE void tc_inverted_bottleneck_s8_depthwise(int8_t *out, const int8_t *ring, const int8_t *weights,
                                                   const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                   int32_t first, int32_t span, int32_t mid_ch, int32_t kernel_h,
                                                   int32_t kernel_w, int32_t dilation_w, int32_t held_h,
                                                   int32_t dilation_h, int32_t out_zero_point, int32_t lo, int32_t hi,
                                                   int32_t bits)
{
    const int32_t pitch = tc_weight_row_bytes(mid_ch, bits);
    for (int32_t c = 0; c < mid_ch; ++c) {
        const tc_weight_place at = tc_weight_at(c, mid_ch, bits);
        int32_t sum = 0;
        TC_UNROLL
        for (int32_t kx = 0; kx < kernel_w; ++kx) {
            const int32_t slot = first + kx * dilation_w;
            const int8_t *const column = ring + (slot < span ? slot : slot - span) * held_h * mid_ch;
            sum += tc_depthwise_conv2d_s8_interior(&column, weights + kx * kernel_h * pitch + at.byte, at.part, c,
                                                   mid_ch, pitch, 1, kernel_h, dilation_h);
        }
        out[c] = tc_output_s8((uint32_t)bias[c] + (uint32_t)sum, multiplier[c], shift[c], out_zero_point, lo, hi);
    }
}

/* `channels` (1 or 4) channels of one projected pixel from `oc` on, and the addition. Each channel of the addend is
   read before that of out is written: out may be the addend's own pixel or lie below it. */
TC_INLINE void tc_inverted_bottleneck_s8_add(int8_t *out, const int8_t *in, const int8_t *weights, const int32_t *bias,
                                             const int32_t *multiplier, const int8_t *shift, const int8_t *addend,
                                             int32_t oc, int32_t channels, int32_t mid_ch, int32_t zero_point,
                                             int32_t lo, int32_t hi, int32_t bits, tc_inverted_bottleneck_addend add)
{
    const tc_taps all = {0, 1};
    int8_t projected[4];
    tc_conv2d_s8_filters(projected, &in, weights + oc * tc_weight_row_bytes(mid_ch, bits), bias + oc, multiplier + oc,
                         shift + oc, 0, channels, 0, all, mid_ch, 0, mid_ch, 1, 1, 1, 0, zero_point, lo, hi, bits);
    tc_add_s8(out + oc, projected, addend + oc, 1, channels, 0, 1, 0, 1, add.zero_point0, add.multiplier0, add.shift0,
              add.sign0, add.zero_point1, add.multiplier1, add.shift1, add.sign1, add.multiplier, add.shift,
              add.out_zero_point, add.lo, add.hi);
}

/* Output pixel x from the depthwise convolution's. out: the row. */
TC_INLINE void tc_inverted_bottleneck_s8_project(int8_t *out, const int8_t *in, const int8_t *weights,
                                                 const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                                 int32_t x, int32_t mid_ch, int32_t out_ch, int32_t zero_point,
                                                 int32_t lo, int32_t hi, int32_t bits,
                                                 tc_inverted_bottleneck_addend add)
{
    int8_t *const pixel = out + x * out_ch;
    if (add.row == NULL) {
        tc_inverted_bottleneck_s8_pointwise(pixel, in, weights, bias, multiplier, shift, mid_ch, out_ch, zero_point, lo,
                                            hi, bits);
        return;
    }
    int32_t oc = 0;
    for (; oc + 3 < out_ch; oc += 4) {
        tc_inverted_bottleneck_s8_add(pixel, in, weights, bias, multiplier, shift, add.row + x * out_ch, oc, 4, mid_ch,
                                      zero_point, lo, hi, bits, add);
    }
    if (out_ch % 4 != 0) {
        for (; oc < out_ch; ++oc) {
            tc_inverted_bottleneck_s8_add(pixel, in, weights, bias, multiplier, shift, add.row + x * out_ch, oc, 1,
                                          mid_ch, zero_point, lo, hi, bits, add);
        }
    }
}

/* The rows of the block, see below. addends: the rows that are added, NULL where nothing is. */
TC_INLINE void tc_inverted_bottleneck_s8_rows(
    int8_t *const *out, const int8_t *const *in0, uint8_t *scratch, const int8_t *expand_weights,
    const int32_t *expand_bias, const int32_t *expand_multiplier, const int8_t *expand_shift,
    const int8_t *depthwise_weights, const int32_t *depthwise_bias, const int32_t *depthwise_multiplier,
    const int8_t *depthwise_shift, const int8_t *project_weights, const int32_t *project_bias,
    const int32_t *project_multiplier, const int8_t *project_shift, int32_t in_w, int32_t in_ch, int32_t mid_ch,
    int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
    int32_t pad_left, int32_t rows, int32_t held_h, int32_t stride_h, int32_t dilation_h, int32_t expand_zero_point,
    int32_t expand_lo, int32_t expand_hi, int32_t expand_bits, int32_t depthwise_zero_point, int32_t depthwise_lo,
    int32_t depthwise_hi, int32_t depthwise_bits, int32_t project_zero_point, int32_t project_lo, int32_t project_hi,
    int32_t project_bits, const int8_t *const *addends, int32_t column, tc_inverted_bottleneck_addend add)
{
    const int32_t span = (kernel_w - 1) * dilation_w + 1;
    int8_t *const ring = (int8_t *)scratch;
    int8_t *const filtered = ring + span * held_h * mid_ch;
    const int32_t made = tc_inverted_bottleneck_s8_made(out, rows);
    const int32_t given_h = (made - 1) * stride_h + (kernel_h - 1) * dilation_h + 1;
    int32_t first = 0;
    for (int32_t x = 0; x < out_w; ++x) {
        tc_inverted_bottleneck_s8_advance(ring, in0, expand_weights, expand_bias, expand_multiplier, expand_shift, x,
                                          first, span, stride_w, pad_left, in_w, in_ch, mid_ch, held_h, given_h,
                                          expand_zero_point, expand_lo, expand_hi, expand_bits);
        for (int32_t t = 0; t < made; ++t) {
            tc_inverted_bottleneck_s8_depthwise(filtered, ring + t * stride_h * mid_ch, depthwise_weights,
                                                depthwise_bias, depthwise_multiplier, depthwise_shift, first, span,
                                                mid_ch, kernel_h, kernel_w, dilation_w, held_h, dilation_h,
                                                depthwise_zero_point, depthwise_lo, depthwise_hi, depthwise_bits);
            if (addends != NULL) {
                add.row = addends[t] + column * in_ch;
            }
            tc_inverted_bottleneck_s8_project(out[t], filtered, project_weights, project_bias, project_multiplier,
                                              project_shift, x, mid_ch, out_ch, project_zero_point, project_lo,
                                              project_hi, project_bits, add);
        }
        first = (first + stride_w) % span;
    }
}

/* out: `rows` rows, (out_w, out_ch) each; NULL for the last ones where fewer are to be made. in0: held_h input rows,
   (in_w, in_ch) each; NULL for a row in the padding. Output row t is made from rows t * stride_h + ky * dilation_h of
   them, and no row below the last window is read. held_h: (rows - 1) * stride_h + (kernel_h - 1) * dilation_h + 1.
   scratch: (((kernel_w - 1) * dilation_w + 1) * held_h + 1) * mid_ch bytes: a ring of expanded columns, and one pixel
   of the depthwise convolution. Every column that some window reaches is expanded once a call.
   expand_weights: (mid_ch, in_ch). depthwise_weights: (kernel_w, kernel_h, mid_ch). project_weights: (out_ch, mid_ch).
   Biases, multipliers and shifts as tc_conv2d_s8, the zero points and clamps those of each one's output; bits: of each
   one's weights, 8, or 4 in rows of the last dimension (tc_weights_s4.h).
   No alignment needed. Scratch must not overlap input or output rows. A single output row may begin where one of the
   input rows begins, output row t of several where the t-th input row that is not NULL does, where
   out_ch * (x + 1) <= in_ch * column for every output pixel x and the first column behind its window that is read later;
   else they must not overlap. */
TC_INLINE void tc_inverted_bottleneck_s8(
    int8_t *const *out, const int8_t *const *in0, uint8_t *scratch, const int8_t *expand_weights,
    const int32_t *expand_bias, const int32_t *expand_multiplier, const int8_t *expand_shift,
    const int8_t *depthwise_weights, const int32_t *depthwise_bias, const int32_t *depthwise_multiplier,
    const int8_t *depthwise_shift, const int8_t *project_weights, const int32_t *project_bias,
    const int32_t *project_multiplier, const int8_t *project_shift, int32_t in_w, int32_t in_ch, int32_t mid_ch,
    int32_t out_w, int32_t out_ch, int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
    int32_t pad_left, int32_t rows, int32_t held_h, int32_t stride_h, int32_t dilation_h, int32_t expand_zero_point,
    int32_t expand_lo, int32_t expand_hi, int32_t expand_bits, int32_t depthwise_zero_point, int32_t depthwise_lo,
    int32_t depthwise_hi, int32_t depthwise_bits, int32_t project_zero_point, int32_t project_lo, int32_t project_hi,
    int32_t project_bits)
{
    const tc_inverted_bottleneck_addend none = {0};
    tc_inverted_bottleneck_s8_rows(out, in0, scratch, expand_weights, expand_bias, expand_multiplier, expand_shift,
                                   depthwise_weights, depthwise_bias, depthwise_multiplier, depthwise_shift,
                                   project_weights, project_bias, project_multiplier, project_shift, in_w, in_ch,
                                   mid_ch, out_w, out_ch, kernel_h, kernel_w, stride_w, dilation_w, pad_left, rows,
                                   held_h, stride_h, dilation_h, expand_zero_point, expand_lo, expand_hi, expand_bits,
                                   depthwise_zero_point, depthwise_lo, depthwise_hi, depthwise_bits, project_zero_point,
                                   project_lo, project_hi, project_bits, NULL, 0, none);
}

#endif
