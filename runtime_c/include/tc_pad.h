/* A constant border around a map of 8-bit values, one output row. */
#ifndef TC_PAD_H
#define TC_PAD_H

#include "tc_memory.h"

#include "tc_types.h"

/* out: one row, (out_w, out_ch), filled with `value`, but for in0, one row (in_w, in_ch), which goes to column `left`,
   channel first_ch; NULL in0: the whole row is border. out must not overlap in0. */
TC_INLINE void tc_pad(uint8_t *out, const uint8_t *in0, int32_t in_w, int32_t in_ch, int32_t out_w, int32_t out_ch,
                      int32_t left, int32_t first_ch, int32_t value)
{
    memset(out, value, (size_t)(out_w * out_ch));
    if (in0 == NULL) {
        return;
    }
    if (in_ch == out_ch) {
        memcpy(out + left * out_ch, in0, (size_t)(in_w * in_ch));
        return;
    }
    for (int32_t x = 0; x < in_w; ++x) {
        memcpy(out + (left + x) * out_ch + first_ch, in0 + x * in_ch, (size_t)in_ch);
    }
}

#endif
