/* Selection of elements along every axis: slices, padding, expansion, tiling, gathering by constant indices. */
#ifndef TC_SELECT_H
#define TC_SELECT_H

#include "tc_memory.h"

#include "tc_types.h"

/* out: one row of width * ch runs of `run` elements of `size` bytes, each the run at in0 + columns[x] + channels[c]
   (bytes), or as often `fill` where one of the two is negative or in0 is NULL. out must not overlap in0. */
TC_INLINE void tc_select(uint8_t *out, const uint8_t *in0, const int32_t *columns, const int32_t *channels,
                         const uint8_t *fill, int32_t width, int32_t ch, int32_t run, int32_t size)
{
    for (int32_t x = 0; x < width; ++x) {
        for (int32_t c = 0; c < ch; ++c) {
            if (in0 == NULL || columns[x] < 0 || channels[c] < 0) {
                for (int32_t i = 0; i < run; ++i) {
                    memcpy(out + i * size, fill, (size_t)size);
                }
            } else {
                memcpy(out, in0 + columns[x] + channels[c], (size_t)(run * size));
            }
            out += run * size;
        }
    }
}

#endif
