/* Products of matrices of floats. */
#ifndef TC_MATMUL_F32_H
#define TC_MATMUL_F32_H

#include "tc_float.h"

/* out: (batches, rows, columns). Product b is of the matrix at in0 + first0[b], whose element (r, k) is row0 and step0
   elements on, and the one at in1 + first1[b], whose element (k, c) is step1 and column1 elements on. Sums begin with 0;
   products are added in the order of k. out must not overlap in0 or in1. */
TC_INLINE void tc_matmul_f32(float *out, const float *in0, const float *in1, const int32_t *first0,
                             const int32_t *first1, int32_t batches, int32_t rows, int32_t columns, int32_t depth,
                             int32_t row0, int32_t step0, int32_t step1, int32_t column1)
{
    for (int32_t b = 0; b < batches; ++b) {
        for (int32_t r = 0; r < rows; ++r) {
            const float *const x = in0 + first0[b] + r * row0;
            for (int32_t c = 0; c < columns; ++c) {
                const float *const w = in1 + first1[b] + c * column1;
                float sum = 0.0f;
                for (int32_t k = 0; k < depth; ++k) {
                    sum += x[k * step0] * w[k * step1];
                }
                out[(b * rows + r) * columns + c] = sum;
            }
        }
    }
}

#endif
