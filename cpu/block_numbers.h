// Numbers of the types whose scales stand beside them: INT8, NF4 and GGUF's blocks, as vectors of LR_WIDTH floats. A
// vector never crosses a group of 32 numbers. The layouts are those of ggml's block structs and of bitsandbytes; each
// number is rounded as gguf-py and bitsandbytes round it, with or without fused multiply-add: the products before an
// addition are exact.
#ifndef LR_BLOCK_NUMBERS_H
#define LR_BLOCK_NUMBERS_H

#include "cpu/vector.h"

#include <lora/types.h>

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define BLOCK 32  // numbers that any type has in groups
#define SUPER 256 // numbers in a block of the k types

// The 16 values of NormalFloat4: QLoRA's quantiles of the normal distribution (Dettmers et al. 2023), as bitsandbytes
// has them.
static const float nf4_values[16] __attribute__((aligned(64), unused)) = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
    -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
    0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};

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

LR_INLINE float half_at(const uint8_t *bytes)
{
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    return half_to_float(half);
}

// ---- integers ------------------------------------------------------------------------------------------------------

LR_INLINE lr_vi load_unsigned(const uint8_t *from)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    return (lr_vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
#elif LR_WIDTH == 8 && defined(__AVX2__)
    return (lr_vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from));
#else
    lr_vi v;
    for (int i = 0; i < LR_WIDTH; i++) v[i] = from[i];
    return v;
#endif
}

LR_INLINE lr_vi load_signed(const uint8_t *from)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    return (lr_vi)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
#elif LR_WIDTH == 8 && defined(__AVX2__)
    return (lr_vi)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from));
#else
    lr_vi v;
    for (int i = 0; i < LR_WIDTH; i++) v[i] = (int8_t)from[i];
    return v;
#endif
}

LR_INLINE lr_vf to_floats(lr_vi v)
{
    return __builtin_convertvector(v, lr_vf);
}

// Bit `first` + i of the word, as 0 or 16, in lane i.
LR_INLINE lr_vi fifth_bits(const uint8_t *bits, int first)
{
    uint32_t word;
    memcpy(&word, bits, sizeof word);
    lr_vu lane;
    for (uint32_t i = 0; i < LR_WIDTH; i++) lane[i] = i;
    return (lr_vi)((((lr_vu){0} + (word >> first)) >> lane & 1u) << 4);
}

// ---- INT8 and NF4 --------------------------------------------------------------------------------------------------

LR_INLINE lr_vf load_int8(const uint8_t *from, float absmax)
{
    return to_floats(load_signed(from)) * absmax * 7.874015718698502e-3f; // 1 / 127, in bitsandbytes' order
}

// Of each byte the high half comes first. `from` is the byte of the first number, which has an even index.
LR_INLINE lr_vf load_nf4(const uint8_t *from, float absmax)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    __m512i wide = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(const void *)from));
    __m512i codes = _mm512_or_si512(_mm512_srli_epi64(wide, 4), _mm512_slli_epi64(wide, 32));
    return (lr_vf)_mm512_permutexvar_ps(codes, _mm512_load_ps(nf4_values)) * absmax; // looks at four bits
#elif LR_WIDTH == 8 && defined(__AVX2__)
    int32_t word;
    memcpy(&word, from, sizeof word);
    __m256i wide = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(word));
    __m256i codes = _mm256_or_si256(_mm256_srli_epi64(wide, 4), _mm256_slli_epi64(wide, 32));
    __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(nf4_values), codes);
    __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(nf4_values + 8), codes);
    __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28)); // bit 3 becomes the sign
    return (lr_vf)_mm256_blendv_ps(low, high, upper) * absmax;
#else
    lr_vf v;
    for (int i = 0; i < LR_WIDTH; i++) v[i] = nf4_values[from[i / 2] >> (i % 2 ? 0 : 4) & 15] * absmax;
    return v;
#endif
}

// ---- blocks of 32: an f16 scale, for the _1 types an f16 minimum, for five bits a word of high bits, the numbers ----

LR_INLINE lr_vf load_q8_0(const uint8_t *block, int at)
{
    return half_at(block) * to_floats(load_signed(block + 2 + at));
}

// Numbers 0 to 15 are the low halves of sixteen bytes, 16 to 31 the high ones.
LR_INLINE lr_vi load_halves(const uint8_t *bytes, int at)
{
    return load_unsigned(bytes + at % 16) >> (at / 16 * 4) & 15;
}

LR_INLINE lr_vf load_q4_0(const uint8_t *block, int at)
{
    return half_at(block) * to_floats(load_halves(block + 2, at) - 8);
}

LR_INLINE lr_vf load_q4_1(const uint8_t *block, int at)
{
    return half_at(block) * to_floats(load_halves(block + 4, at)) + half_at(block + 2);
}

LR_INLINE lr_vf load_q5_0(const uint8_t *block, int at)
{
    return half_at(block) * to_floats((load_halves(block + 6, at) | fifth_bits(block + 2, at)) - 16);
}

LR_INLINE lr_vf load_q5_1(const uint8_t *block, int at)
{
    return half_at(block) * to_floats(load_halves(block + 8, at) | fifth_bits(block + 4, at)) + half_at(block + 2);
}

// ---- blocks of 256 in groups of 32 (q4_k, q5_k) or 16 (q6_k), whose scales are integers times the block's ----

// Of group g: scale in the low byte, minimum in the next; six bits each, packed into twelve bytes.
LR_INLINE void k_group(const uint8_t *packed, int g, float *scale, float *minimum)
{
    if (g < 4) {
        *scale = (float)(packed[g] & 63);
        *minimum = (float)(packed[g + 4] & 63);
    } else {
        *scale = (float)((packed[g + 4] & 15) | packed[g - 4] >> 6 << 4);
        *minimum = (float)(packed[g + 4] >> 4 | packed[g] >> 6 << 4);
    }
}

// Scale and minimum of the block (f16), then twelve bytes. Groups 2i and 2i + 1 are the halves of 32 bytes.
LR_INLINE lr_vf load_q4_k(const uint8_t *block, int at)
{
    float scale, minimum;
    k_group(block + 4, at / 32, &scale, &minimum);
    lr_vi q = load_unsigned(block + 16 + at / 64 * 32 + at % 32) >> (at / 32 % 2 * 4) & 15;
    return half_at(block) * scale * to_floats(q) - half_at(block + 2) * minimum;
}

// The same with 32 bytes of high bits before the numbers: bit g of byte i belongs to number i of group g.
LR_INLINE lr_vf load_q5_k(const uint8_t *block, int at)
{
    float scale, minimum;
    k_group(block + 4, at / 32, &scale, &minimum);
    lr_vi q = load_unsigned(block + 48 + at / 64 * 32 + at % 32) >> (at / 32 % 2 * 4) & 15;
    q |= (load_unsigned(block + 16 + at % 32) >> (at / 32) & 1) << 4;
    return half_at(block) * scale * to_floats(q) - half_at(block + 2) * minimum;
}

// 128 bytes of low halves, 64 of high pairs of bits, sixteen int8 scales, the block's scale. Half the numbers after the
// other; in each, four runs of 32: runs 0 and 1 are the low halves of 64 bytes, 2 and 3 the high ones.
LR_INLINE lr_vf load_q6_k(const uint8_t *block, int at)
{
    int half = at / 128, run = at / 32 % 4, i = at % 32;
    lr_vi q = load_unsigned(block + half * 64 + run % 2 * 32 + i) >> (run / 2 * 4) & 15;
    q |= (load_unsigned(block + 128 + half * 32 + i) >> (2 * run) & 3) << 4;
    float scale = (float)(int8_t)block[192 + at / 16];
    return half_at(block + 208) * scale * to_floats(q - 32);
}

#endif
