// Numbers of any storage type that products take, as vectors of LR_WIDTH floats (cpu/vector.h).
#ifndef LR_PRODUCT_NUMBERS_H
#define LR_PRODUCT_NUMBERS_H

#include "cpu/vector.h"

#include <lora/types.h>

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define BLOCK 32       // numbers in a q8_0 block
#define BLOCK_BYTES 34 // an f16 scale, then 32 int8

LR_INLINE float half_to_float(uint16_t half)
{
#if defined(__F16C__)
    return _cvtsh_ss(half);
#elif defined(__aarch64__)
    __fp16 value;
    memcpy(&value, &half, sizeof value);
    return value;
#else
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7FFF, bits;
    float value;
    if (rest >= 0x7C00) {
        bits = sign | 0x7F800000 | (rest & 0x3FF) << 13;
    } else if (rest >= 0x400) {
        bits = sign | ((rest << 13) + (UINT32_C(112) << 23));
    } else { // subnormal: a multiple of 2^-24
        value = (float)rest * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
#endif
}

LR_INLINE lr_vf load_half(const uint8_t *from)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    return (lr_vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
#elif LR_WIDTH == 8 && defined(__F16C__)
    return (lr_vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
#elif LR_WIDTH == 4 && defined(__aarch64__)
    return (lr_vf)vcvt_f32_f16(vld1_f16((const __fp16 *)(const void *)from));
#else
    uint16_t half[LR_WIDTH];
    float value[LR_WIDTH];
    memcpy(half, from, sizeof half);
    for (int i = 0; i < LR_WIDTH; i++) value[i] = half_to_float(half[i]);
    return vf_load(value);
#endif
}

LR_INLINE lr_vf load_bfloat(const uint8_t *from)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    __m256i words = _mm256_loadu_si256((const __m256i *)(const void *)from);
    return (lr_vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16);
#elif LR_WIDTH == 8 && defined(__AVX2__)
    __m128i words = _mm_loadu_si128((const __m128i *)(const void *)from);
    return (lr_vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16);
#else
    typedef uint16_t words __attribute__((vector_size(LR_WIDTH * 2)));
    words w;
    memcpy(&w, from, sizeof w);
    return (lr_vf)(__builtin_convertvector(w, lr_vu) << 16);
#endif
}

LR_INLINE lr_vf load_bytes(const uint8_t *from)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    return (lr_vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from)));
#elif LR_WIDTH == 8 && defined(__AVX2__)
    return (lr_vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from)));
#else
    lr_vf v;
    for (int i = 0; i < LR_WIDTH; i++) v[i] = (int8_t)from[i];
    return v;
#endif
}

LR_INLINE lr_vf load_block(const uint8_t *row, int64_t at)
{
    const uint8_t *block = row + (uint64_t)at / BLOCK * BLOCK_BYTES;
    uint16_t scale;
    memcpy(&scale, block, sizeof scale);
    return half_to_float(scale) * load_bytes(block + 2 + (uint64_t)at % BLOCK);
}

LR_INLINE int64_t row_bytes(lora_type type, int64_t stride)
{
    return type == LORA_TYPE_F32 ? stride * 4 : type == LORA_TYPE_Q8_0 ? stride / BLOCK * BLOCK_BYTES : stride * 2;
}

// LR_WIDTH numbers from the `at`-th of a row on.
LR_INLINE lr_vf load_numbers(lora_type type, const uint8_t *row, int64_t at)
{
    switch (type) {
    case LORA_TYPE_F16: return load_half(row + 2 * at);
    case LORA_TYPE_BF16: return load_bfloat(row + 2 * at);
    case LORA_TYPE_Q8_0: return load_block(row, at);
    default: return vf_load(row + 4 * at);
    }
}

// The first n of them, then zeros; nothing past them is read. For the ends of rows: not inlined.
static __attribute__((noinline)) lr_vf load_some(lora_type type, const uint8_t *row, int64_t at, int64_t n)
{
    if (n >= LR_WIDTH) return load_numbers(type, row, at);
    if (n <= 0) return vf_set(0);
    uint8_t bytes[BLOCK_BYTES] = {0};
    switch (type) {
    case LORA_TYPE_F16:
    case LORA_TYPE_BF16:
        memcpy(bytes, row + 2 * at, (size_t)n * 2);
        return load_numbers(type, bytes, 0);
    case LORA_TYPE_Q8_0: {
        float value[LR_WIDTH];
        vf_store(value, load_block(row, at)); // inside its block, which is whole
        for (int64_t i = n; i < LR_WIDTH; i++) value[i] = 0;
        return vf_load(value);
    }
    default: return vf_load_part((const float *)(const void *)(row + 4 * at), n);
    }
}

// The same for 0 < n < LR_WIDTH, with f32 inlined.
LR_INLINE lr_vf load_end(lora_type type, const void *row, int64_t at, int64_t n)
{
    if (type != LORA_TYPE_F32) return load_some(type, row, at, n);
#if LR_WIDTH == 8 && defined(__AVX2__)
    __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return (lr_vf)_mm256_maskload_ps((const float *)row + at, mask);
#else
    return vf_load_part((const float *)row + at, n);
#endif
}

#endif
