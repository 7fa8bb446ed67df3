/* Functions of int16 values by tables with interpolation. */
#ifndef TC_TABLE_S16_H
#define TC_TABLE_S16_H

#include "tc_types.h"

/* table: 513 entries, at x = -32768, -32640, ... 32768; between them the nearest value on the straight line. */
TC_INLINE int32_t tc_table_s16_value(int32_t x, const int16_t *table)
{
    const int32_t first = 256 + (x >> 7);
    const int32_t slope = (int16_t)(table[first + 1] - table[first]);
    return table[first] + ((slope * (x & 127) + 64) >> 7);
}

#endif
