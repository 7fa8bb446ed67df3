/* Weights of 4 bits, two to a byte, in rows of n: (n + 1) / 2 bytes each.

   A row is cut into blocks of 8 weights, the last one shorter. In a block of m weights byte k holds weight k in its low
   half and weight k + (m + 1) / 2 in its high half; the high half of the last byte is 0 where m is odd. So the low
   halves of a word of 32 bits are the weights of four inputs side by side, and the high halves those of the next four:
   shifted and masked they stand where the inputs do, for loads of words as for single bytes. */
#ifndef TC_WEIGHTS_S4_H
#define TC_WEIGHTS_S4_H

#include "tc_types.h"

/* What of a byte a weight is. */
enum { TC_WHOLE_BYTE, TC_LOW_HALF, TC_HIGH_HALF };

typedef struct {
    int32_t byte, part;
} tc_weight_place;

/* Where weight i of a row of n lies. bits: of a weight, 8 or 4. */
TC_INLINE tc_weight_place tc_weight_at(int32_t i, int32_t n, int32_t bits)
{
    tc_weight_place place = {i, TC_WHOLE_BYTE};
    if (bits == 4) {
        const int32_t in_block = i & 7;
        const int32_t first = i - in_block;
        const int32_t half = n - first < 8 ? (n - first + 1) >> 1 : 4;
        place.byte = (first >> 1) + (in_block < half ? in_block : in_block - half);
        place.part = in_block < half ? TC_LOW_HALF : TC_HIGH_HALF;
    }
    return place;
}

/* Bytes of a row of n weights. */
TC_INLINE int32_t tc_weight_row_bytes(int32_t n, int32_t bits)
{
    return bits == 4 ? (n + 1) / 2 : n;
}

/* The weight in a byte. */
TC_INLINE int32_t tc_weight_in(int8_t byte, int32_t part)
{
    if (part == TC_LOW_HALF) {
        return ((byte & 15) ^ 8) - 8;
    }
    return part == TC_HIGH_HALF ? byte >> 4 : byte;
}

#endif
