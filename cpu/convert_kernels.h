// Storage types to f32 and back. Included by the one file of each instruction set.
#ifndef LR_CONVERT_KERNELS_H
#define LR_CONVERT_KERNELS_H

#include "cpu/kernels.h"
#include "cpu/vector.h"

#define Q8_0_NUMBERS 32
#define Q8_0_BYTES 34 // f16 scale, 32 int8

LR_INLINE uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

LR_INLINE float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

LR_INLINE uint16_t load_u16(const void *from, int64_t index)
{
    uint16_t value;
    memcpy(&value, (const char *)from + 2 * index, sizeof value);
    return value;
}

LR_INLINE void store_u16(void *to, int64_t index, uint16_t value)
{
    memcpy((char *)to + 2 * index, &value, sizeof value);
}

LR_INLINE float float_of_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7FFF;
    if (rest < 0x0400) return float_of_bits(sign | float_bits((float)rest * 0x1p-24f)); // subnormal
    if (rest >= 0x7C00) return float_of_bits(sign | 0x7F800000 | (rest & 0x3FF) << 13);
    return float_of_bits(sign | ((rest << 13) + (112u << 23)));
}

// Round to nearest even.
LR_INLINE uint16_t half_of_float(float value)
{
    const uint32_t bits = float_bits(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7FFFFFFF;
    if (rest > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (rest >> 13 & 0x3FF));
    if (rest >= 0x477FF000) return (uint16_t)(sign | 0x7C00); // from 65520 on
    if (rest < 0x38800000) // below 2^-14: adding 0.5 leaves multiples of 2^-24, the subnormals' step
        return (uint16_t)(sign | (float_bits(float_of_bits(rest) + 0.5f) - float_bits(0.5f)));
    return (uint16_t)(sign | (rest + 0xFFF + (rest >> 13 & 1) - (112u << 23)) >> 13);
}

LR_INLINE uint16_t bfloat_of_float(float value)
{
    const uint32_t bits = float_bits(value);
    const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? bits >> 16 | 0x40 : rounded);
}

static void f32_to_f32(float *target, const void *source, int64_t n)
{
    memcpy(target, source, (size_t)n * sizeof(float));
}

static void f32_from_f32(void *target, const float *source, int64_t n)
{
    memcpy(target, source, (size_t)n * sizeof(float));
}

static void bf16_to_f32(float *target, const void *source, int64_t n)
{
    for (int64_t i = 0; i < n; i++) target[i] = float_of_bits((uint32_t)load_u16(source, i) << 16);
}

static void bf16_from_f32(void *target, const float *source, int64_t n)
{
    for (int64_t i = 0; i < n; i++) store_u16(target, i, bfloat_of_float(source[i]));
}

static void f16_to_f32(float *target, const void *source, int64_t n)
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

static void f16_from_f32(void *target, const float *source, int64_t n)
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

static void q8_0_to_f32(float *target, const void *source, int64_t n)
{
    const char *block = source;
    for (int64_t i = 0; i < n; i += Q8_0_NUMBERS, block += Q8_0_BYTES) {
        const float scale = float_of_half(load_u16(block, 0));
        int8_t numbers[Q8_0_NUMBERS];
        memcpy(numbers, block + 2, sizeof numbers);
        for (int j = 0; j < Q8_0_NUMBERS; j++) target[i + j] = scale * (float)numbers[j];
    }
}

#endif
