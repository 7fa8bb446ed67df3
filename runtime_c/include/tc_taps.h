/* Which taps of a window lie inside a row. */
#ifndef TC_TAPS_H
#define TC_TAPS_H

#include "tc_types.h"

/* Kernel columns [from, to). */
typedef struct {
    int32_t from;
    int32_t to;
} tc_taps;

/* Taps inside a row of in_w columns for a window whose first tap is column x0 (which may lie outside); from <= to. */
TC_INLINE tc_taps tc_taps_inside(int32_t x0, int32_t in_w, int32_t kernel_w, int32_t dilation_w)
{
    const int32_t before = x0 < 0 ? (dilation_w - 1 - x0) / dilation_w : 0;
    const int32_t end = x0 < in_w ? (in_w - x0 + dilation_w - 1) / dilation_w : 0;
    tc_taps taps;
    taps.to = end < kernel_w ? end : kernel_w;
    taps.from = before < taps.to ? before : taps.to;
    return taps;
}

#endif
