// f32 to storage types. Included by the one file of each instruction set.
#ifndef LR_CONVERT_KERNELS_H
#define LR_CONVERT_KERNELS_H

#include "cpu/half.h"
#include "cpu/kernels.h"
#include "cpu/vector.h"

static void f32_from_f32(void *target, float *scales, const float *source, int64_t n)
{
    memcpy(target, source, (size_t)n * sizeof(float));
}

static void bf16_from_f32(void *target, float *scales, const float *source, int64_t n)
{
    for (int64_t i = 0; i < n; i++) store_u16(target, i, bfloat_of_float(source[i]));
}

static void f16_from_f32(void *target, float *scales, const float *source, int64_t n)
{
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(source + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        memcpy((char *)target + 2 * i, &half, sizeof half);
    }
#endif
    for (; i < n; i++) store_u16(target, i, half_of_float(source[i]));
}

#endif
