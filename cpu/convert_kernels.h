// Storage types to f32 and back. Included by the one file of each instruction set.
#ifndef LR_CONVERT_KERNELS_H
#define LR_CONVERT_KERNELS_H

#include "cpu/half.h"
#include "cpu/kernels.h"
#include "cpu/product_numbers.h"

static void f32_to_f32(float *target, const void *source, const float *scales, int64_t n)
{
    memcpy(target, source, (size_t)n * sizeof(float));
}

static void f32_from_f32(void *target, float *scales, const float *source, int64_t n)
{
    memcpy(target, source, (size_t)n * sizeof(float));
}

static void bf16_to_f32(float *target, const void *source, const float *scales, int64_t n)
{
    for (int64_t i = 0; i < n; i++) target[i] = float_of_bits((uint32_t)load_u16(source, i) << 16);
}

static void bf16_from_f32(void *target, float *scales, const float *source, int64_t n)
{
    for (int64_t i = 0; i < n; i++) store_u16(target, i, bfloat_of_float(source[i]));
}

static void f16_to_f32(float *target, const void *source, const float *scales, int64_t n)
{
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        __m128i half;
        memcpy(&half, (const char *)source + 2 * i, sizeof half);
        _mm256_storeu_ps(target + i, _mm256_cvtph_ps(half));
    }
#endif
    for (; i < n; i++) target[i] = float_of_half(load_u16(source, i));
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

// The types whose numbers have scales beside them: as products read them.
#define BLOCKS_TO_F32(NAME, TYPE)                                                                                      \
    static void NAME##_to_f32(float *target, const void *source, const float *scales, int64_t n)                       \
    {                                                                                                                  \
        const number_row row = {source, scales};                                                                       \
        int64_t i = 0;                                                                                                 \
        for (; i + LR_WIDTH <= n; i += LR_WIDTH) vf_store(target + i, load_numbers(TYPE, row, i));                     \
        if (i < n) vf_store_part(target + i, load_some(TYPE, row, i, n - i), n - i);                                   \
    }

BLOCKS_TO_F32(int8, LORA_TYPE_INT8)
BLOCKS_TO_F32(nf4, LORA_TYPE_NF4)
BLOCKS_TO_F32(q8_0, LORA_TYPE_Q8_0)
BLOCKS_TO_F32(q4_0, LORA_TYPE_Q4_0)
BLOCKS_TO_F32(q4_1, LORA_TYPE_Q4_1)
BLOCKS_TO_F32(q5_0, LORA_TYPE_Q5_0)
BLOCKS_TO_F32(q5_1, LORA_TYPE_Q5_1)
BLOCKS_TO_F32(q4_k, LORA_TYPE_Q4_K)
BLOCKS_TO_F32(q5_k, LORA_TYPE_Q5_K)
BLOCKS_TO_F32(q6_k, LORA_TYPE_Q6_K)

#endif
