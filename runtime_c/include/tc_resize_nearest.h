/* Nearest-neighbour resize, one output row. */
#ifndef TC_RESIZE_NEAREST_H
#define TC_RESIZE_NEAREST_H

#include "tc_memory.h"

#include "tc_types.h"

/* Pixel x of out is pixel columns[x] of in0. out must not overlap in0. */
TC_INLINE void tc_resize_nearest(uint8_t *out, const uint8_t *in0, const uint16_t *columns, int32_t out_w,
                                 int32_t pixel_bytes)
{
    for (int32_t x = 0; x < out_w; ++x) {
        memcpy(out + x * pixel_bytes, in0 + columns[x] * pixel_bytes, (size_t)pixel_bytes);
    }
}

#endif
