/* Places of the largest values of a map's windows, one output row. */
#ifndef TC_MAX_POOL2D_PLACES_H
#define TC_MAX_POOL2D_PLACES_H

#include "tc_taps.h"
#include "tc_types.h"

/* out: row y of the output, (out_w, ch): for each window the place of the first largest value, a NaN before all. in0:
   kernel_h input rows, (in_w, ch) each, from column first_column on; NULL for a row in the padding. Each window holds
   at least one element of the map. A place counts planes, rows and columns, `plane`, row_step and column_step apart. */
#define TC_MAX_POOL2D_PLACES(S, T)                                                                                     \
    TC_INLINE void tc_max_pool2d_places_##S(                                                                           \
        int64_t *out, const T *const *in0, int32_t y, int32_t in_w, int32_t ch, int32_t out_w, int32_t kernel_h,       \
        int32_t kernel_w, int32_t stride_w, int32_t pad_left, int32_t dilation_w, int32_t stride_h, int32_t pad_top,   \
        int32_t dilation_h, int32_t first_column, int32_t plane, int32_t row_step, int32_t column_step)                \
    {                                                                                                                  \
        const int32_t top = y * stride_h - pad_top;                                                                    \
        for (int32_t x = 0; x < out_w; ++x) {                                                                          \
            const int32_t x0 = x * stride_w - pad_left;                                                                \
            const tc_taps taps = tc_taps_inside(x0, in_w, kernel_w, dilation_w);                                       \
            for (int32_t c = 0; c < ch; ++c) {                                                                         \
                int32_t place = -1;                                                                                    \
                T best = 0;                                                                                            \
                for (int32_t ky = 0; ky < kernel_h; ++ky) {                                                            \
                    for (int32_t kx = taps.from; in0[ky] != NULL && kx < taps.to; ++kx) {                              \
                        const int32_t column = x0 + kx * dilation_w;                                                   \
                        const T v = in0[ky][column * ch + c];                                                          \
                        if (place < 0 || !(v <= best || best != best)) {                                               \
                            best = v;                                                                                  \
                            place = c * plane + (top + ky * dilation_h) * row_step +                                   \
                                    (first_column + column) * column_step;                                             \
                        }                                                                                              \
                    }                                                                                                  \
                }                                                                                                      \
                out[x * ch + c] = place;                                                                               \
            }                                                                                                          \
        }                                                                                                              \
    }

TC_MAX_POOL2D_PLACES(s8, int8_t)
TC_MAX_POOL2D_PLACES(f32, float)

#endif
