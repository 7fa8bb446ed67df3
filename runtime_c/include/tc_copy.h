/* Copying of bytes. */
#ifndef TC_COPY_H
#define TC_COPY_H

#include "tc_memory.h"

#include "tc_types.h"

/* out[0..bytes) = in0[0..bytes). The two may be the same place; otherwise they must not overlap. */
TC_INLINE void tc_copy(uint8_t *out, const uint8_t *in0, int32_t bytes)
{
    if (out != in0) {
        memcpy(out, in0, (size_t)bytes);
    }
}

#endif
