/* Concatenation with requantisation: one input's runs of values into the output. */
#ifndef TC_TABLE_CHUNKS_S8_H
#define TC_TABLE_CHUNKS_S8_H

#include "tc_types.h"

/* As tc_copy_chunks, each value by table (256 entries, indexed by the input's byte). */
TC_INLINE void tc_table_chunks_s8(int8_t *out, const int8_t *in0, const int8_t *table, int32_t chunks, int32_t in_bytes,
                                  int32_t out_pitch, int32_t out_offset)
{
    if (in0 == NULL) {
        return;
    }
    for (int32_t i = 0; i < chunks; ++i) {
        for (int32_t j = 0; j < in_bytes; ++j) {
            out[i * out_pitch + out_offset + j] = table[(uint8_t)in0[i * in_bytes + j]];
        }
    }
}

#endif
