/* LSTM of int8 activations and int16 cells, one time step per call. */
#ifndef TC_INTEGER_LSTM_S8_H
#define TC_INTEGER_LSTM_S8_H

#include "tc_dot_s8.h"
#include "tc_gates_s16.h"

/* x within 16 bits. */
TC_INLINE int32_t tc_saturate_s16(int32_t x)
{
    return tc_clamp(x, -32768, 32767);
}

/* The sums of a gate, (hidden): bias + w * x by the input, requantised, and on it those by the state, each within 16
   bits. multiplier, shift: of the input, and `gates` further on of the state. */
TC_INLINE void tc_gate_sums_s16(int16_t *sums, const int8_t *x, const int16_t *before, const int8_t *w, const int8_t *r,
                                const int32_t *bias, const int32_t *bias_r, const int32_t *multiplier,
                                const int8_t *shift, int32_t gates, int32_t inputs, int32_t hidden)
{
    for (int32_t i = 0; i < hidden; ++i) {
        uint32_t acc[4] = {(uint32_t)bias[i], 0, 0, 0};
        tc_dot_s8(acc, x, w + i * inputs, inputs, inputs, 1);
        uint32_t acc_r = (uint32_t)bias_r[i];
        for (int32_t k = 0; k < hidden; ++k) {
            acc_r += (uint32_t)(r[i * hidden + k] * before[k]);
        }
        const int32_t by_input = tc_saturate_s16(tc_requantize((int32_t)acc[0], multiplier[0], shift[0]));
        const int32_t by_state = tc_requantize((int32_t)acc_r, multiplier[gates], shift[gates]);
        sums[i] = (int16_t)tc_saturate_s16(tc_clamp(by_state, -65536, 65535) + by_input); /* no sum overflows */
    }
}

/* out: (batch, 2 * hidden), the outputs of a sample as int8 values, then its cells. in0: (batch, inputs). in1: the output
   of the step before, NULL for the first, which begins with `state`; out may be in1. w: (gates * hidden, inputs), r:
   (gates * hidden, hidden), of the gates input (not where coupled), forget, cell and output. bias: of the sums by the
   input, then by the state, zero points folded in. multiplier, shift: one for each gate, in the same order. cells are of
   scale 2^cell_exponent, -15 to -9, and within cell_clip. scratch, 4-byte aligned: gates * hidden int16. */
TC_INLINE void tc_integer_lstm_s8(int16_t *out, uint8_t *scratch, const int8_t *in0, const int16_t *in1,
                                  const int16_t *state, const int8_t *w, const int8_t *r, const int32_t *bias,
                                  const int32_t *multiplier, const int8_t *shift, int32_t batch, int32_t inputs,
                                  int32_t hidden, int32_t coupled, int32_t cell_exponent, int32_t cell_clip,
                                  int32_t out_multiplier, int32_t out_shift, int32_t out_zero_point)
{
    const int32_t gates = coupled ? 3 : 4;
    int16_t *const sums = (int16_t *)(void *)scratch;
    const int16_t *const last = sums + (gates - 3) * hidden;
    for (int32_t n = 0; n < batch; ++n) {
        const int16_t *const before = (in1 != NULL ? in1 : state) + 2 * n * hidden;
        int16_t *const made = out + 2 * n * hidden;
        for (int32_t g = 0; g < gates; ++g) {
            const int32_t first = g * hidden;
            tc_gate_sums_s16(sums + first, in0 + n * inputs, before, w + first * inputs, r + first * hidden,
                             bias + first, bias + gates * hidden + first, multiplier + g, shift + g, gates, inputs,
                             hidden);
        }
        for (int32_t i = 0; i < hidden; ++i) {
            const int32_t forget = tc_logistic_s16(last[i]);
            const int32_t entered = coupled ? 32767 - forget : tc_logistic_s16(sums[i]);
            const int32_t fresh = tc_tanh_s16(last[hidden + i], 3);
            const int32_t kept = tc_rounding_divide_by_pot(forget * before[hidden + i], 15);
            const int32_t added = tc_rounding_divide_by_pot(entered * fresh, 30 + cell_exponent);
            const int32_t cell = tc_clamp(tc_saturate_s16(kept + added), -cell_clip, cell_clip);
            const int32_t product = tc_logistic_s16(last[2 * hidden + i]) * tc_tanh_s16(cell, 15 + cell_exponent);
            made[i] = tc_output_s8((uint32_t)product, out_multiplier, out_shift, out_zero_point, -128, 127);
            made[hidden + i] = (int16_t)cell;
        }
    }
}

#endif
