#include "lib/nested_scales.h"

#include <math.h>
#include <stdlib.h>

void lr_nested_expand(float *scales, size_t count, const uint8_t *codes, const float *map, const float *absmax,
                      size_t block, float offset)
{
    for (size_t i = 0; i < count; i++) {
        const volatile float product = map[codes[i]] * absmax[i / block]; // no fused addition
        scales[i] = product + offset;
    }
}

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

// With e leading zeros after the sign, 6 - e bits are left to divide [0.1, 1] into 2^(6 - e) parts, whose middles times
// 10^-e are the numbers.
void lr_nested_map(float map[256])
{
    size_t count = 0;
    for (int zeros = 6; zeros >= 0; zeros--) {
        const int parts = 1 << (6 - zeros);
        const float power = (float)pow(10, -zeros);
        for (int i = 0; i < parts; i++) {
            const float low = (float)(0.1 + 0.9 * i / parts), high = (float)(0.1 + 0.9 * (i + 1) / parts);
            const float middle = power * ((low + high) / 2);
            map[count++] = middle;
            map[count++] = -middle;
        }
    }
    map[count++] = 0;
    map[count++] = 1;
    qsort(map, count, sizeof *map, compare);
}

// The number of midpoints of the map below x: the nearest code.
static uint8_t nearest(const float *map, float x)
{
    int code = 0;
    for (int step = 128; step > 0; step /= 2)
        if ((map[code + step - 1] + map[code + step]) / 2 < x) code += step;
    return (uint8_t)code;
}

void lr_nested_compress(uint8_t *codes, float *absmax, float *offset, const float *map, const float *scales,
                        size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)scales[i];
    *offset = count ? (float)(sum / (double)count) : 0;
    for (size_t begin = 0; begin < count; begin += LR_NESTED_BLOCK) {
        const size_t end = begin + LR_NESTED_BLOCK < count ? begin + LR_NESTED_BLOCK : count;
        float greatest = 0;
        for (size_t i = begin; i < end; i++) greatest = fmaxf(greatest, fabsf(scales[i] - *offset));
        absmax[begin / LR_NESTED_BLOCK] = greatest;
        const float factor = 1.0f / fmaxf(greatest, 1e-38f);
        for (size_t i = begin; i < end; i++)
            codes[i] = nearest(map, fminf(fmaxf((scales[i] - *offset) * factor, -1), 1));
    }
}
