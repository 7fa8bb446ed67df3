/* Products of matrices. */
#ifndef TC_MATMUL_H
#define TC_MATMUL_H

#include "tc_float.h"
#include "tc_requantize.h"

/* out: (batches, rows, columns). Product b is of the matrix at a + first0[b], whose element (r, k) is row0 and step0
   elements on, and the one at w + first1[b], whose element (k, c) is step1 and column1 elements on. Sums begin with 0;
   products are added in the order of k, integers modulo the range of the unsigned type W. out must not overlap a or
   w. */
#define TC_MATMUL(S, T, W)                                                                                             \
    TC_INLINE void tc_matmul_##S(T *out, const T *a, const T *w, const int32_t *first0, const int32_t *first1,         \
                                 int32_t batches, int32_t rows, int32_t columns, int32_t depth, int32_t row0,          \
                                 int32_t step0, int32_t step1, int32_t column1)                                        \
    {                                                                                                                  \
        for (int32_t b = 0; b < batches; ++b) {                                                                        \
            for (int32_t r = 0; r < rows; ++r) {                                                                       \
                const T *const x = a + first0[b] + r * row0;                                                           \
                for (int32_t c = 0; c < columns; ++c) {                                                                \
                    const T *const y = w + first1[b] + c * column1;                                                    \
                    W sum = 0;                                                                                         \
                    for (int32_t k = 0; k < depth; ++k) {                                                              \
                        sum += (W)x[k * step0] * (W)y[k * step1];                                                      \
                    }                                                                                                  \
                    out[(b * rows + r) * columns + c] = (T)sum;                                                        \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

TC_MATMUL(f32, float, float)
TC_MATMUL(s32, int32_t, uint32_t)
TC_MATMUL(s64, int64_t, uint64_t)
TC_MATMUL(u32, uint32_t, uint32_t)
TC_MATMUL(u64, uint64_t, uint64_t)

/* The same of int8 with zero points; a sum is requantised by multiplier and shift. */
TC_INLINE void tc_matmul_s8(int8_t *out, const int8_t *a, const int8_t *w, const int32_t *first0, const int32_t *first1,
                            int32_t batches, int32_t rows, int32_t columns, int32_t depth, int32_t row0, int32_t step0,
                            int32_t step1, int32_t column1, int32_t zero_point0, int32_t zero_point1,
                            int32_t out_zero_point, int32_t multiplier, int32_t shift)
{
    for (int32_t b = 0; b < batches; ++b) {
        for (int32_t r = 0; r < rows; ++r) {
            const int8_t *const x = a + first0[b] + r * row0;
            for (int32_t c = 0; c < columns; ++c) {
                const int8_t *const y = w + first1[b] + c * column1;
                uint32_t sum = 0;
                for (int32_t k = 0; k < depth; ++k) {
                    sum += (uint32_t)((x[k * step0] - zero_point0) * (y[k * step1] - zero_point1));
                }
                out[(b * rows + r) * columns + c] = tc_output_s8(sum, multiplier, shift, out_zero_point, -128, 127);
            }
        }
    }
}

#endif
