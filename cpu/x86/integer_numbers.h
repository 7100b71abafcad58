// 64 numbers of a row of an integer type, from a multiple of 64 on: their bytes without a sign, and for each four the
// scale and the offset of their group, w = scale * (byte - zero_of(type)) + offset.
#ifndef LR_X86_INTEGER_NUMBERS_H
#define LR_X86_INTEGER_NUMBERS_H

#include "cpu/product_numbers.h"

typedef struct integer_numbers {
    __m512i bytes;
    __m512 scale, offset;
} integer_numbers;

LR_INLINE int32_t zero_of(lora_type type)
{
    switch (type) {
    case LORA_TYPE_INT8:
    case LORA_TYPE_Q8_0: return 128;
    case LORA_TYPE_Q4_0: return 8;
    case LORA_TYPE_Q5_0: return 16;
    case LORA_TYPE_Q6_K: return 32;
    default: return 0;
    }
}

LR_INLINE __m512i join(__m256i low, __m256i high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

LR_INLINE __m512 join_floats(float low, float high)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_set1_ps(low)), _mm256_set1_ps(high), 1);
}

// Each 16-bit lane of the halves shifted right by their own count.
LR_INLINE __m512i shift_halves(__m512i v, int16_t low, int16_t high)
{
    return _mm512_srlv_epi16(v, join(_mm256_set1_epi16(low), _mm256_set1_epi16(high)));
}

LR_INLINE __m512i low_bits(__m512i v, char mask)
{
    return _mm512_and_si512(v, _mm512_set1_epi8(mask));
}

// Blocks of 32 whose numbers 0 to 15 are the low halves of sixteen bytes, 16 to 31 the high ones.
LR_INLINE __m512i halves_of(const uint8_t *first, const uint8_t *second)
{
    const __m512i v = join(_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)first)),
                           _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)second)));
    const __m512i count = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0, 0x0004000400040004,
                                           0x0004000400040004, 0, 0);
    return low_bits(_mm512_srlv_epi16(v, count), 15);
}

// 16 in each byte whose bit of the words is set.
LR_INLINE __m512i sixteens(const uint8_t *first, const uint8_t *second)
{
    uint32_t low, high;
    memcpy(&low, first, sizeof low);
    memcpy(&high, second, sizeof high);
    return _mm512_maskz_set1_epi8((__mmask64)high << 32 | low, 16);
}

// `whole`: all 64 are there, else 32, and the second half repeats the first with a scale of 0.
LR_INLINE integer_numbers load_blocks(lora_type type, const uint8_t *first, bool whole)
{
    const uint8_t *second = whole ? first + row_bytes(type, BLOCK) : first;
    integer_numbers n = {.scale = join_floats(half_at(first), whole ? half_at(second) : 0), .offset = _mm512_setzero_ps()};
    if (has_offset(type)) n.offset = join_floats(half_at(first + 2), whole ? half_at(second + 2) : 0);
    switch (type) {
    case LORA_TYPE_Q8_0:
        n.bytes = join(_mm256_loadu_si256((const void *)(first + 2)), _mm256_loadu_si256((const void *)(second + 2)));
        n.bytes = _mm512_xor_si512(n.bytes, _mm512_set1_epi8((char)0x80));
        break;
    case LORA_TYPE_Q4_0: n.bytes = halves_of(first + 2, second + 2); break;
    case LORA_TYPE_Q4_1: n.bytes = halves_of(first + 4, second + 4); break;
    case LORA_TYPE_Q5_0:
        n.bytes = _mm512_or_si512(halves_of(first + 6, second + 6), sixteens(first + 2, second + 2));
        break;
    default: n.bytes = _mm512_or_si512(halves_of(first + 8, second + 8), sixteens(first + 4, second + 4)); break;
    }
    return n;
}

// Scales and offsets of a block of 256, by group: 8 of Q4_K and Q5_K, twice; 16 of Q6_K.
typedef struct k_scales {
    __m512 scale, offset;
} k_scales;

LR_INLINE __m512 eight_floats(uint32_t low, uint32_t high)
{
    const __m128i bytes = _mm_cvtsi64_si128((int64_t)((uint64_t)high << 32 | low));
    return _mm512_broadcast_f32x8(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)));
}

LR_INLINE k_scales load_k_scales(lora_type type, const uint8_t *block)
{
    if (type == LORA_TYPE_Q6_K) {
        const __m128i bytes = _mm_loadu_si128((const void *)(block + 192));
        const __m512 scale = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
        return (k_scales){_mm512_mul_ps(scale, _mm512_set1_ps(half_at(block + 208))), _mm512_setzero_ps()};
    }
    uint32_t word[3]; // as k_group reads them, four groups at a time
    memcpy(word, block + 4, sizeof word);
    const uint32_t high_scales = (word[2] & 0x0F0F0F0F) | (word[0] >> 6 & 0x03030303) << 4;
    const uint32_t high_minimums = (word[2] >> 4 & 0x0F0F0F0F) | (word[1] >> 6 & 0x03030303) << 4;
    const __m512 scale = eight_floats(word[0] & 0x3F3F3F3F, high_scales);
    const __m512 minimum = eight_floats(word[1] & 0x3F3F3F3F, high_minimums);
    return (k_scales){_mm512_mul_ps(scale, _mm512_set1_ps(half_at(block))),
                      _mm512_mul_ps(minimum, _mm512_set1_ps(-half_at(block + 2)))};
}

// Numbers 64 * part of a block of 256.
LR_INLINE integer_numbers load_k(lora_type type, const uint8_t *block, const k_scales *scales, int part)
{
    integer_numbers n = {.offset = _mm512_setzero_ps()};
    if (type == LORA_TYPE_Q6_K) {
        const int half = part / 2, run = part % 2 * 2;
        const __m512i groups = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        n.scale = _mm512_permutexvar_ps(_mm512_add_epi32(groups, _mm512_set1_epi32(4 * part)), scales->scale);
        const __m512i low = _mm512_loadu_si512(block + 64 * half);
        const __m512i high = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)(block + 128 + 32 * half)));
        const __m512i pair = low_bits(shift_halves(high, (int16_t)(2 * run), (int16_t)(2 * run + 2)), 3);
        n.bytes = _mm512_or_si512(low_bits(run ? _mm512_srli_epi16(low, 4) : low, 15), _mm512_slli_epi16(pair, 4));
        return n;
    }
    const __m512i groups = join(_mm256_set1_epi32(2 * part), _mm256_set1_epi32(2 * part + 1));
    n.scale = _mm512_permutexvar_ps(groups, scales->scale);
    n.offset = _mm512_permutexvar_ps(groups, scales->offset);
    const uint8_t *halves = block + (type == LORA_TYPE_Q4_K ? 16 : 48) + 32 * part;
    n.bytes = low_bits(shift_halves(_mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)halves)), 0, 4), 15);
    if (type == LORA_TYPE_Q5_K) {
        const __m512i high = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)(block + 16)));
        const __m512i bit = low_bits(shift_halves(high, (int16_t)(2 * part), (int16_t)(2 * part + 1)), 1);
        n.bytes = _mm512_or_si512(n.bytes, _mm512_slli_epi16(bit, 4));
    }
    return n;
}

// Numbers [at, at + 64) of a row, `there` of which exist. INT8 leaves its one scale to the caller.
LR_INLINE integer_numbers load_integers(lora_type type, const uint8_t *row, int64_t at, int64_t there)
{
    if (type == LORA_TYPE_INT8) {
        const __mmask64 mask = there >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << there) - 1;
        const __m512i v = _mm512_maskz_loadu_epi8(mask, row + at);
        return (integer_numbers){_mm512_xor_si512(v, _mm512_set1_epi8((char)0x80)), _mm512_set1_ps(1), _mm512_setzero_ps()};
    }
    if (type < LORA_TYPE_Q4_K) return load_blocks(type, row + row_bytes(type, at), there > BLOCK);
    const uint8_t *block = row + row_bytes(type, at / SUPER * SUPER);
    const k_scales scales = load_k_scales(type, block);
    return load_k(type, block, &scales, (int)(at % SUPER / 64));
}

#endif
