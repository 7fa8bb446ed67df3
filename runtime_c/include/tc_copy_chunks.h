/* Concatenation: one input's runs of bytes into the output. */
#ifndef TC_COPY_CHUNKS_H
#define TC_COPY_CHUNKS_H

#include "tc_memory.h"

#include "tc_types.h"

/* Copies `chunks` adjacent runs of in_bytes from in0 to out + out_offset, out_pitch apart. NULL in0: this input has no
   part in the row. out must not overlap in0. */
TC_INLINE void tc_copy_chunks(uint8_t *out, const uint8_t *in0, int32_t chunks, int32_t in_bytes, int32_t out_pitch,
                              int32_t out_offset)
{
    if (in0 == NULL) {
        return;
    }
    for (int32_t i = 0; i < chunks; ++i) {
        memcpy(out + i * out_pitch + out_offset, in0 + i * in_bytes, (size_t)in_bytes);
    }
}

#endif
