/* Products of matrices of floats, the first of them constant. */
#ifndef TC_MATMUL_OF_CONSTANT_F32_H
#define TC_MATMUL_OF_CONSTANT_F32_H

#include "tc_matmul_f32.h"

/* As tc_matmul_f32, the second operand given first. */
TC_INLINE void tc_matmul_of_constant_f32(float *out, const float *in1, const float *in0, const int32_t *first0,
                                         const int32_t *first1, int32_t batches, int32_t rows, int32_t columns,
                                         int32_t depth, int32_t row0, int32_t step0, int32_t step1, int32_t column1)
{
    tc_matmul_f32(out, in0, in1, first0, first1, batches, rows, columns, depth, row0, step0, step1, column1);
}

#endif
