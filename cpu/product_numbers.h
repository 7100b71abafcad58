// Rows of numbers of any storage type, as vectors of LR_WIDTH floats (cpu/vector.h).
#ifndef LR_PRODUCT_NUMBERS_H
#define LR_PRODUCT_NUMBERS_H

#include "cpu/block_numbers.h"

#include <stdbool.h>

// A stored row; `scales`: INT8: its absmax, NF4: the absmax of each 64 numbers, else nothing.
typedef struct number_row {
    const uint8_t *bytes;
    const float *scales;
} number_row;

#if LR_WIDTH > 4 || defined(__aarch64__)
LR_INLINE
#else
static __attribute__((noinline, unused)) // long
#endif
lr_vf load_half(const uint8_t *from)
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

// Bytes of the first n numbers of a row; of block types whole blocks.
LR_INLINE int64_t row_bytes(lora_type type, int64_t n)
{
    switch (type) {
    case LORA_TYPE_F32: return n * 4;
    case LORA_TYPE_F16:
    case LORA_TYPE_BF16: return n * 2;
    case LORA_TYPE_INT8: return n;
    case LORA_TYPE_NF4: return n / 2;
    case LORA_TYPE_Q8_0: return n / BLOCK * 34;
    case LORA_TYPE_Q4_0: return n / BLOCK * 18;
    case LORA_TYPE_Q4_1: return n / BLOCK * 20;
    case LORA_TYPE_Q5_0: return n / BLOCK * 22;
    case LORA_TYPE_Q5_1: return n / BLOCK * 24;
    case LORA_TYPE_Q4_K: return n / SUPER * 144;
    case LORA_TYPE_Q5_K: return n / SUPER * 176;
    default: return n / SUPER * 210;
    }
}

// Row `index` of rows of `stride` numbers.
LR_INLINE number_row row_at(lora_type type, const void *data, const float *scales, int64_t stride, int64_t index)
{
    number_row row = {(const uint8_t *)data + index * row_bytes(type, stride), scales};
    if (type == LORA_TYPE_INT8) row.scales += index;
    if (type == LORA_TYPE_NF4) row.scales += index * (stride / 64);
    return row;
}

// Numbers that share a scale, or a block of them.
LR_INLINE int64_t group_of(lora_type type)
{
    return type >= LORA_TYPE_Q4_K ? SUPER : type >= LORA_TYPE_Q8_0 ? BLOCK : 64;
}

// Whether a group's numbers are scale * integer + offset.
LR_INLINE bool has_offset(lora_type type)
{
    return type == LORA_TYPE_Q4_1 || type == LORA_TYPE_Q5_1 || type == LORA_TYPE_Q4_K || type == LORA_TYPE_Q5_K;
}

// LR_WIDTH numbers from the `in`-th of a group on, whose bytes begin at `group`; `in` is a multiple of LR_WIDTH.
LR_INLINE lr_vf load_of_group(lora_type type, const uint8_t *group, float scale, int in)
{
    switch (type) {
    case LORA_TYPE_INT8: return load_int8(group + in, scale);
    case LORA_TYPE_NF4: return load_nf4(group + in / 2, scale);
    case LORA_TYPE_Q8_0: return load_q8_0(group, in);
    case LORA_TYPE_Q4_0: return load_q4_0(group, in);
    case LORA_TYPE_Q4_1: return load_q4_1(group, in);
    case LORA_TYPE_Q5_0: return load_q5_0(group, in);
    case LORA_TYPE_Q5_1: return load_q5_1(group, in);
    case LORA_TYPE_Q4_K: return load_q4_k(group, in);
    case LORA_TYPE_Q5_K: return load_q5_k(group, in);
    default: return load_q6_k(group, in);
    }
}

LR_INLINE float scale_of_group(lora_type type, number_row row, int64_t begin)
{
    return type == LORA_TYPE_INT8 ? *row.scales : type == LORA_TYPE_NF4 ? row.scales[(uint64_t)begin / 64] : 0;
}

// LR_WIDTH numbers from the `at`-th of a row on; of types with scales `at` is a multiple of LR_WIDTH.
LR_INLINE lr_vf load_numbers(lora_type type, number_row row, int64_t at)
{
    if (type == LORA_TYPE_F16) return load_half(row.bytes + 2 * at);
    if (type == LORA_TYPE_BF16) return load_bfloat(row.bytes + 2 * at);
    if (type == LORA_TYPE_F32) return vf_load(row.bytes + 4 * at);
    const int64_t in = (int64_t)((uint64_t)at % (uint64_t)group_of(type)), begin = at - in;
    return load_of_group(type, row.bytes + row_bytes(type, begin), scale_of_group(type, row, begin), (int)in);
}

// The first n of them, then zeros; nothing past them (past their block) is read. For the ends of rows: not inlined.
static __attribute__((noinline, unused)) lr_vf load_some(lora_type type, number_row row, int64_t at, int64_t n)
{
    if (n >= LR_WIDTH) return load_numbers(type, row, at);
    if (n <= 0) return vf_set(0);
    if (type == LORA_TYPE_F32) return vf_load_part((const float *)(const void *)(row.bytes + 4 * at), n);
    float value[LR_WIDTH] = {0};
    if (type >= LORA_TYPE_NF4) {
        vf_store(value, load_numbers(type, row, at));
        for (int64_t i = n; i < LR_WIDTH; i++) value[i] = 0;
        return vf_load(value);
    }
    uint8_t bytes[4 * LR_WIDTH] = {0};
    memcpy(bytes, row.bytes + row_bytes(type, at), (size_t)row_bytes(type, n));
    if (type == LORA_TYPE_INT8) return load_int8(bytes, *row.scales);
    return type == LORA_TYPE_F16 ? load_half(bytes) : load_bfloat(bytes);
}

// The same for 0 < n < LR_WIDTH, with f32 inlined.
LR_INLINE lr_vf load_end(lora_type type, number_row row, int64_t at, int64_t n)
{
    if (type != LORA_TYPE_F32) return load_some(type, row, at, n);
    const float *from = (const float *)(const void *)row.bytes + at;
#if LR_WIDTH == 8 && defined(__AVX2__)
    __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return (lr_vf)_mm256_maskload_ps(from, mask);
#else
    return vf_load_part(from, n);
#endif
}

#endif
