/* A function of one int8 value, by table. */
#ifndef TC_TABLE_S8_H
#define TC_TABLE_S8_H

#include "tc_types.h"

/* out[i] = f(in0[i]) for elems values. table: 256 entries, indexed by the input's byte. out may be in0, or lie below it. */
TC_INLINE void tc_table_s8(int8_t *out, const int8_t *in0, const int8_t *table, int32_t elems)
{
    for (int32_t i = 0; i < elems; ++i) {
        out[i] = table[(uint8_t)in0[i]];
    }
}

#endif
