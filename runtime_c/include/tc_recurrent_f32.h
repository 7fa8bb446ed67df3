/* Recurrent cells of floats, one time step per call: RNN, GRU and LSTM as ONNX defines them. */
#ifndef TC_RECURRENT_F32_H
#define TC_RECURRENT_F32_H

#include "tc_float.h"
#include "tc_math.h"

/* What a gate makes of its sum; p: two parameters. The order is that of ACTIVATIONS in tinycompile/ops/recurrent.py. */
TC_INLINE float tc_gate_f32(int32_t kind, float x, const float *p)
{
    switch (kind) {
    case 0:
        return 1.0f / (1.0f + expf(-x)); /* sigmoid */
    case 1:
        return tanhf(x);
    case 2:
        return x < 0.0f ? 0.0f : x; /* relu */
    case 3:
        return p[0] * x + p[1]; /* affine */
    case 4:
        return x < 0.0f ? p[0] * x : x; /* leaky relu */
    case 5:
        return x < p[0] ? 0.0f : x; /* thresholded relu */
    case 6:
        return p[0] * tanhf(p[1] * x);
    case 7:
        return p[0] * x + p[1] < 0.0f ? 0.0f : p[0] * x + p[1] > 1.0f ? 1.0f : p[0] * x + p[1]; /* hard sigmoid */
    case 8:
        return x < 0.0f ? p[0] * expm1f(x) : x; /* elu */
    case 9:
        return x / (1.0f + fabsf(x)); /* softsign */
    default:
        return log1pf(expf(x > 0.0f ? -x : x)) + (x > 0.0f ? x : 0.0f); /* softplus */
    }
}

/* x within [-clip, clip], where clip is not 0. */
TC_INLINE float tc_clipped_f32(float x, float clip)
{
    if (clip > 0.0f) {
        x = x < -clip ? -clip : x > clip ? clip : x;
    }
    return x;
}

TC_INLINE float tc_clipped_gate_f32(int32_t kind, float x, const float *p, float clip)
{
    return tc_gate_f32(kind, tc_clipped_f32(x, clip), p);
}

/* out[g] = bias[g] + row g of w, (rows, depth), times x. */
TC_INLINE void tc_gate_sums_f32(float *out, const float *x, const float *w, const float *bias, int32_t rows,
                                int32_t depth)
{
    for (int32_t g = 0; g < rows; ++g) {
        float sum = bias[g];
        for (int32_t k = 0; k < depth; ++k) {
            sum += w[g * depth + k] * x[k];
        }
        out[g] = sum;
    }
}

/* The parameters that all cells have. in0: one time step, (batch, inputs). in1: the output of the step before, NULL for
   the first, which begins with `state`. out, which may be in1, and state: (batch, hidden), of an LSTM (batch, 2 *
   hidden), the cells' values behind the outputs. w: (gates * hidden, inputs), r: (gates * hidden, hidden), bias: both
   biases, one after the other. params: two for each of the functions f, g, h, then the bound of their arguments and
   that of an LSTM's cells, 0 for none. scratch, 4-byte aligned: sums by the input and by the state, and, of a GRU, `hidden` more floats. */
#define TC_CELL_PARAMETERS                                                                                             \
    float *out, uint8_t *scratch, const float *in0, const float *in1, const float *state, const float *w,              \
        const float *r, const float *bias, const float *params

#define TC_CELL_SIZES int32_t batch, int32_t inputs, int32_t hidden, int32_t f, int32_t g

/* RNN: out = f(sums). */
TC_INLINE void tc_recurrent_rnn_f32(TC_CELL_PARAMETERS, TC_CELL_SIZES)
{
    float *const a = (float *)(void *)scratch;
    float *const b = a + hidden;
    (void)g;
    for (int32_t n = 0; n < batch; ++n) {
        const float *const before = (in1 != NULL ? in1 : state) + n * hidden;
        tc_gate_sums_f32(a, in0 + n * inputs, w, bias, hidden, inputs);
        tc_gate_sums_f32(b, before, r, bias + hidden, hidden, hidden);
        for (int32_t i = 0; i < hidden; ++i) {
            out[n * hidden + i] = tc_clipped_gate_f32(f, a[i] + b[i], params, params[6]);
        }
    }
}

/* GRU: gates z, r, h. reset_after: the reset gate is applied to the state's sum, else to the state. */
TC_INLINE void tc_recurrent_gru_f32(TC_CELL_PARAMETERS, TC_CELL_SIZES, int32_t reset_after)
{
    float *const a = (float *)(void *)scratch;
    float *const b = a + 3 * hidden;
    float *const kept = b + 3 * hidden;
    for (int32_t n = 0; n < batch; ++n) {
        const float *const before = (in1 != NULL ? in1 : state) + n * hidden;
        tc_gate_sums_f32(a, in0 + n * inputs, w, bias, 3 * hidden, inputs);
        tc_gate_sums_f32(b, before, r, bias + 3 * hidden, (reset_after ? 3 : 2) * hidden, hidden);
        for (int32_t i = 0; i < 2 * hidden; ++i) {
            a[i] = tc_clipped_gate_f32(f, a[i] + b[i], params, params[6]);
        }
        for (int32_t i = 0; i < hidden; ++i) {
            kept[i] = a[hidden + i] * (reset_after ? b[2 * hidden + i] : before[i]);
        }
        if (!reset_after) {
            tc_gate_sums_f32(b, kept, r + 2 * hidden * hidden, bias + 5 * hidden, hidden, hidden);
        }
        for (int32_t i = 0; i < hidden; ++i) {
            const float sum = a[2 * hidden + i] + (reset_after ? kept[i] : b[i]);
            const float made = tc_clipped_gate_f32(g, sum, params + 2, params[6]);
            out[n * hidden + i] = (1.0f - a[i]) * made + a[i] * before[i];
        }
    }
}

/* LSTM: gates i, o, f, c. peepholes: (3, hidden) for i, o, f. coupled: the forget gate is what the input gate leaves. */
TC_INLINE void tc_recurrent_lstm_f32(TC_CELL_PARAMETERS, const float *peepholes, TC_CELL_SIZES, int32_t h,
                                    int32_t coupled)
{
    float *const a = (float *)(void *)scratch;
    float *const b = a + 4 * hidden;
    for (int32_t n = 0; n < batch; ++n) {
        const float *const before = (in1 != NULL ? in1 : state) + 2 * n * hidden;
        float *const made = out + 2 * n * hidden;
        tc_gate_sums_f32(a, in0 + n * inputs, w, bias, 4 * hidden, inputs);
        tc_gate_sums_f32(b, before, r, bias + 4 * hidden, 4 * hidden, hidden);
        for (int32_t i = 0; i < hidden; ++i) {
            const float cell = before[hidden + i];
            const float input = tc_clipped_gate_f32(f, a[i] + b[i] + peepholes[i] * cell, params, params[6]);
            const float sum = a[2 * hidden + i] + b[2 * hidden + i] + peepholes[2 * hidden + i] * cell;
            const float forget = coupled ? 1.0f - input : tc_clipped_gate_f32(f, sum, params, params[6]);
            const float fresh = tc_clipped_gate_f32(g, a[3 * hidden + i] + b[3 * hidden + i], params + 2, params[6]);
            const float value = tc_clipped_f32(forget * cell + input * fresh, params[7]);
            const float shown = a[hidden + i] + b[hidden + i] + peepholes[hidden + i] * value;
            made[i] = tc_clipped_gate_f32(f, shown, params, params[6]) * tc_gate_f32(h, value, params + 4);
            made[hidden + i] = value;
        }
    }
}

#endif
