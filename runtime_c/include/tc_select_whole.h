/* tc_select for all rows at once, where they are no rows of the input. */
#ifndef TC_SELECT_WHOLE_H
#define TC_SELECT_WHOLE_H

#include "tc_select.h"
#include "tc_types.h"

/* Row y of `rows` is tc_select from in0 + starts[y] (bytes), or all `fill` where that is negative. */
TC_INLINE void tc_select_whole(uint8_t *out, const uint8_t *in0, const int32_t *starts, const int32_t *columns,
                               const int32_t *channels, const uint8_t *fill, int32_t rows, int32_t width, int32_t ch,
                               int32_t run, int32_t size)
{
    for (int32_t y = 0; y < rows; ++y) {
        const uint8_t *const row = starts[y] < 0 ? NULL : in0 + starts[y];
        tc_select(out + y * width * ch * run * size, row, columns, channels, fill, width, ch, run, size);
    }
}

#endif
