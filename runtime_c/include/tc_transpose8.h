/* Transposition of up to eight loops. */
#ifndef TC_TRANSPOSE8_H
#define TC_TRANSPOSE8_H

#include "tc_transpose.h"
#include "tc_types.h"

/* As tc_transpose, with four loops more around it. out must not overlap in0. */
TC_INLINE void tc_transpose8(uint8_t *out, const uint8_t *in0, int32_t n0, int32_t stride0, int32_t n1, int32_t stride1,
                             int32_t n2, int32_t stride2, int32_t n3, int32_t stride3, int32_t n4, int32_t stride4,
                             int32_t n5, int32_t stride5, int32_t n6, int32_t stride6, int32_t n7, int32_t stride7,
                             int32_t block)
{
    for (int32_t i0 = 0; i0 < n0; ++i0) {
        for (int32_t i1 = 0; i1 < n1; ++i1) {
            for (int32_t i2 = 0; i2 < n2; ++i2) {
                for (int32_t i3 = 0; i3 < n3; ++i3) {
                    tc_transpose(out, in0 + i0 * stride0 + i1 * stride1 + i2 * stride2 + i3 * stride3, n4, stride4, n5,
                                 stride5, n6, stride6, n7, stride7, block);
                    out += n4 * n5 * n6 * n7 * block;
                }
            }
        }
    }
}

#endif
