/* Transposition: four nested loops over blocks of bytes. */
#ifndef TC_TRANSPOSE_H
#define TC_TRANSPOSE_H

#include "tc_memory.h"

#include "tc_types.h"

/* Writes n0 * n1 * n2 * n3 blocks of `block` bytes to out, in order, read from in0 at i0 * stride0 + ... + i3 * stride3
   bytes. out must not overlap in0. */
TC_INLINE void tc_transpose(uint8_t *out, const uint8_t *in0, int32_t n0, int32_t stride0, int32_t n1, int32_t stride1,
                            int32_t n2, int32_t stride2, int32_t n3, int32_t stride3, int32_t block)
{
    for (int32_t i0 = 0; i0 < n0; ++i0) {
        for (int32_t i1 = 0; i1 < n1; ++i1) {
            for (int32_t i2 = 0; i2 < n2; ++i2) {
                const uint8_t *in = in0 + i0 * stride0 + i1 * stride1 + i2 * stride2;
                for (int32_t i3 = 0; i3 < n3; ++i3) {
                    memcpy(out, in + i3 * stride3, (size_t)block);
                    out += block;
                }
            }
        }
    }
}

#endif
