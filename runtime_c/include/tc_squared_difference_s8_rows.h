/* tc_squared_difference_s8 with a constant second operand that has rows of its own. */
#ifndef TC_SQUARED_DIFFERENCE_S8_ROWS_H
#define TC_SQUARED_DIFFERENCE_S8_ROWS_H

#include "tc_squared_difference_s8.h"

/* As tc_squared_difference_s8 for output row y; operand: all rows, row_pitch values each. */
TC_INLINE void tc_squared_difference_s8_rows(int8_t *out, const int8_t *in0, int32_t y, const int8_t *operand,
                                             int32_t row_pitch, int32_t pixels, int32_t ch, int32_t pixel_step0,
                                             int32_t ch_step0, int32_t pixel_step1, int32_t ch_step1,
                                             int32_t zero_point0, int32_t multiplier0, int32_t shift0,
                                             int32_t zero_point1, int32_t multiplier1, int32_t shift1,
                                             int32_t multiplier, int32_t shift, int32_t out_zero_point, int32_t lo,
                                             int32_t hi)
{
    tc_squared_difference_s8(out, in0, operand + y * row_pitch, pixels, ch, pixel_step0, ch_step0, pixel_step1,
                             ch_step1, zero_point0, multiplier0, shift0, zero_point1, multiplier1, shift1, multiplier,
                             shift, out_zero_point, lo, hi);
}

#endif
