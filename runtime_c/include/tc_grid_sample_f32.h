/* Samples of maps of floats at points that are known at run time. */
#ifndef TC_GRID_SAMPLE_F32_H
#define TC_GRID_SAMPLE_F32_H

#include "tc_float.h"
#include "tc_math.h"

/* The taps along one axis: their indices, -1 for what is outside and 0, and their weights. */
typedef struct {
    int32_t at[4];
    float weight[4];
} tc_grid_taps;

/* x mirrored at low and high until it lies between them. */
TC_INLINE float tc_reflected(float x, float low, float high)
{
    const float span = high - low;
    if (span <= 0.0f) {
        return low;
    }
    if (x >= low && x <= high) {
        return x;
    }
    const float over = x < low ? low - x : x - high;
    const float times = (float)(int32_t)(over / span);
    const float rest = over - times * span;
    return (x < low) == ((int32_t)times % 2 == 0) ? low + rest : high - rest;
}

TC_INLINE float tc_cubic_outer(float v)
{
    return ((-0.75f * v - 5.0f * -0.75f) * v + 8.0f * -0.75f) * v - 4.0f * -0.75f;
}

TC_INLINE float tc_cubic_inner(float v)
{
    return ((-0.75f + 2.0f) * v - (-0.75f + 3.0f)) * v * v + 1.0f;
}

/* The taps of position `at`, in [-1, 1], along an axis of `size`. padding: 0 zeros, 1 the border, 2 reflection. */
TC_INLINE tc_grid_taps tc_grid_axis(float at, int32_t size, int32_t taps, int32_t padding, int32_t align_corners)
{
    tc_grid_taps result;
    const float length = (float)size;
    const float low = align_corners ? 0.0f : -0.5f;
    const float high = align_corners ? length - 1.0f : length - 0.5f;
    float x = align_corners ? (at + 1.0f) * 0.5f * (length - 1.0f) : ((at + 1.0f) * length - 1.0f) * 0.5f;
    x = x != x ? -1.0f : x < -4194304.0f ? -4194304.0f : x > 4194304.0f ? 4194304.0f : x;
    x = taps == 1 ? rintf(x) : x;
    if (padding == 1 && (x < low || x > high)) {
        x = x < 0.0f ? 0.0f : length - 1.0f;
    } else if (padding == 2) {
        x = tc_reflected(x, low, high);
    }
    const float first = taps == 1 ? (float)(int32_t)x : floorf(x);
    const float t = x - first;
    for (int32_t k = 0; k < taps; ++k) {
        float place = first + (float)(taps == 4 ? k - 1 : k);
        place = padding == 2 ? tc_reflected(place, low, high) : place;
        const int32_t index = (int32_t)place;
        const int32_t nearest = index < 0 ? 0 : index >= size ? size - 1 : index;
        result.at[k] = index == nearest || padding != 0 ? nearest : -1;
    }
    if (taps == 1) {
        result.weight[0] = 1.0f;
    } else if (taps == 2) {
        result.weight[0] = 1.0f - t;
        result.weight[1] = t;
    } else {
        result.weight[0] = tc_cubic_outer(t + 1.0f);
        result.weight[1] = tc_cubic_inner(t);
        result.weight[2] = tc_cubic_inner(1.0f - t);
        result.weight[3] = tc_cubic_outer(2.0f - t);
    }
    return result;
}

/* out: (samples, channels, points), from in0, (samples, channels, depth, height, width), at in1, (samples, points,
   dims): positions along width, height and depth, the last ones left out where dims is less than 3. taps: along each
   axis; 1 nearest, 2 linear, 4 cubic. out must not overlap in0 or in1. */
TC_INLINE void tc_grid_sample_f32(float *out, const float *in0, const float *in1, int32_t samples, int32_t channels,
                                  int32_t depth, int32_t height, int32_t width, int32_t points, int32_t dims,
                                  int32_t taps, int32_t padding, int32_t align_corners)
{
    const tc_grid_taps one = {{0, 0, 0, 0}, {1.0f, 0.0f, 0.0f, 0.0f}};
    for (int32_t n = 0; n < samples; ++n) {
        for (int32_t p = 0; p < points; ++p) {
            const float *const at = in1 + (n * points + p) * dims;
            const tc_grid_taps x = tc_grid_axis(at[0], width, taps, padding, align_corners);
            const tc_grid_taps y = dims > 1 ? tc_grid_axis(at[1], height, taps, padding, align_corners) : one;
            const tc_grid_taps z = dims > 2 ? tc_grid_axis(at[2], depth, taps, padding, align_corners) : one;
            for (int32_t c = 0; c < channels; ++c) {
                const float *const map = in0 + (n * channels + c) * depth * height * width;
                float total = 0.0f;
                for (int32_t k = 0; k < (dims > 2 ? taps : 1); ++k) {
                    float plane = 0.0f;
                    for (int32_t j = 0; j < (dims > 1 ? taps : 1); ++j) {
                        float line = 0.0f;
                        for (int32_t i = 0; i < taps; ++i) {
                            const int32_t inside = z.at[k] >= 0 && y.at[j] >= 0 && x.at[i] >= 0;
                            const int32_t place = (z.at[k] * height + y.at[j]) * width + x.at[i];
                            line += (inside ? map[place] : 0.0f) * x.weight[i];
                        }
                        plane += line * y.weight[j];
                    }
                    total += plane * z.weight[k];
                }
                out[(n * channels + c) * points + p] = total;
            }
        }
    }
}

#endif
