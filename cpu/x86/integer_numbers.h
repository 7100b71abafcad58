// Rows of an integer type, 256 numbers at a time: bytes without a sign, and the scale and offset of each group of them,
// w = scale * (byte - zero_of(type)) + offset.
#ifndef LR_X86_INTEGER_NUMBERS_H
#define LR_X86_INTEGER_NUMBERS_H

#include "cpu/product_numbers.h"

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

// The 32-bit lanes of the halves turned right by their own counts of bits, left by negative ones.
LR_INLINE __m512i turn_halves(__m512i v, int low, int high)
{
    return _mm512_rorv_epi32(v, join(_mm256_set1_epi32(low), _mm256_set1_epi32(high)));
}

LR_INLINE __m512i low_bits(__m512i v, char mask)
{
    return _mm512_and_si512(v, _mm512_set1_epi8(mask));
}

LR_INLINE __m512i without_sign(__m512i v)
{
    return _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
}

// Blocks of 32 whose numbers 0 to 15 are the low halves of sixteen bytes, 16 to 31 the high ones.
LR_INLINE __m512i halves_of(const uint8_t *first, const uint8_t *second)
{
    const __m512i v = join(_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)first)),
                           _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)second)));
    return low_bits(_mm512_srlv_epi64(v, _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0)), 15);
}

// 16 in each byte whose bit of the words is set.
LR_INLINE __m512i sixteens(const uint8_t *first, const uint8_t *second)
{
    uint32_t low, high;
    memcpy(&low, first, sizeof low);
    memcpy(&high, second, sizeof high);
    return _mm512_maskz_set1_epi8((__mmask64)high << 32 | low, 16);
}

// Which 32 of 256 numbers lie in a half of part 0 .. 3, so that the part is loaded as it lies.
LR_INLINE int group_in(lora_type type, int part, int half)
{
    const bool apart = type == LORA_TYPE_Q4_K || type == LORA_TYPE_Q5_K; // as the high halves of 64 bytes
    return apart ? part / 2 * 4 + part % 2 + 2 * half : 2 * part + half;
}

// 64 numbers of blocks of 32; a second block that is not there (`whole`) repeats the first.
LR_INLINE __m512i load_block_bytes(lora_type type, const uint8_t *row, int part, bool whole)
{
    const uint8_t *first = row + row_bytes(type, 64 * part), *second = whole ? first + row_bytes(type, BLOCK) : first;
    switch (type) {
    case LORA_TYPE_Q8_0:
        return without_sign(join(_mm256_loadu_si256((const void *)(first + 2)),
                                 _mm256_loadu_si256((const void *)(second + 2))));
    case LORA_TYPE_Q4_0: return halves_of(first + 2, second + 2);
    case LORA_TYPE_Q4_1: return halves_of(first + 4, second + 4);
    case LORA_TYPE_Q5_0: return _mm512_or_si512(halves_of(first + 6, second + 6), sixteens(first + 2, second + 2));
    default: return _mm512_or_si512(halves_of(first + 8, second + 8), sixteens(first + 4, second + 4));
    }
}

// Of a block of 256. Bits that are turned past a byte's end are masked off.
LR_INLINE __m512i load_k_bytes(lora_type type, const uint8_t *block, int part)
{
    const int half = part / 2, first = group_in(type, part, 0), second = group_in(type, part, 1);
    const uint8_t *halves = block + (type == LORA_TYPE_Q4_K ? 16 : type == LORA_TYPE_Q5_K ? 48 : 0);
    const __m512i v = _mm512_loadu_si512(halves + 64 * half);
    const __m512i bytes = low_bits(part % 2 ? _mm512_srli_epi16(v, 4) : v, 15);
    if (type == LORA_TYPE_Q4_K) return bytes;
    if (type == LORA_TYPE_Q5_K) {
        const __m512i high = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)(block + 16)));
        return _mm512_or_si512(bytes, low_bits(turn_halves(high, first - 4, second - 4), 16));
    }
    const __m512i high = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)(block + 128 + 32 * half)));
    return _mm512_or_si512(bytes, low_bits(turn_halves(high, first % 4 * 2 - 4, second % 4 * 2 - 4), 48));
}

// A part of a row's 256 numbers, of which `there` > 0 exist from it on.
LR_INLINE __m512i load_integers(lora_type type, const uint8_t *row, int part, int64_t there)
{
    if (type >= LORA_TYPE_Q4_K) return load_k_bytes(type, row, part);
    if (type != LORA_TYPE_INT8) return load_block_bytes(type, row, part, there > BLOCK);
    const __mmask64 mask = there >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << there) - 1;
    return without_sign(_mm512_maskz_loadu_epi8(mask, row + 64 * part));
}

LR_INLINE int groups_of(lora_type type)
{
    return type == LORA_TYPE_Q6_K ? 16 : 8;
}

// Each group's scale for the lanes of its numbers in a part, four to a lane.
LR_INLINE __m512 spread_scales(lora_type type, __m512 scales, int part)
{
    __m512i groups = join(_mm256_set1_epi32(group_in(type, part, 0)), _mm256_set1_epi32(group_in(type, part, 1)));
    if (type == LORA_TYPE_Q6_K) // 2g and 2g + 1
        groups = _mm512_add_epi32(_mm512_slli_epi32(groups, 1),
                                  _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1));
    return _mm512_permutexvar_ps(groups, scales);
}

LR_INLINE __m512 load_k_scales(lora_type type, const uint8_t *block)
{
    if (type == LORA_TYPE_Q6_K) {
        const __m128i bytes = _mm_loadu_si128((const void *)(block + 192));
        return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), _mm512_set1_ps(half_at(block + 208)));
    }
    uint32_t halves, last; // as k_group reads them, four scales and four minimums at a time
    uint64_t low, high;
    memcpy(&halves, block, sizeof halves);
    memcpy(&low, block + 4, sizeof low);
    memcpy(&last, block + 12, sizeof last);
    high = (last & 0x0F0F0F0F) | (uint64_t)(last >> 4 & 0x0F0F0F0F) << 32 | (low >> 6 & 0x0303030303030303) << 4;
    const __m128i mixed = _mm_set_epi64x((int64_t)high, (int64_t)(low & 0x3F3F3F3F3F3F3F3F));
    const __m128i bytes = _mm_shuffle_epi32(mixed, _MM_SHUFFLE(3, 1, 2, 0));
    const __m512i first = _mm512_setzero_si512(), second = _mm512_set1_epi32(1);
    const __m512 factors = _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi32_si128((int)(halves ^ 0x80000000))));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)),
                         _mm512_permutexvar_ps(_mm512_mask_mov_epi32(first, 0xFF00, second), factors));
}

// The halves at the same place of eight blocks of 32; the last that is there stands for those that are not.
LR_INLINE __m256 eight_halves(lora_type type, const uint8_t *first, int64_t blocks)
{
    int16_t half[8];
    for (int64_t i = 0; i < 8; i++)
        memcpy(&half[i], first + (i < blocks ? i : blocks - 1) * row_bytes(type, BLOCK), sizeof half[i]);
    return _mm256_cvtph_ps(_mm_setr_epi16(half[0], half[1], half[2], half[3], half[4], half[5], half[6], half[7]));
}

// Of 256 numbers of a row, of which `there` > 0 exist, by group: 16 scales of Q6_K; 8 of the other types and 8 offsets.
// INT8 leaves its one scale to the caller.
LR_INLINE __m512 load_scales(lora_type type, const uint8_t *row, int64_t there)
{
    if (type >= LORA_TYPE_Q4_K) return load_k_scales(type, row);
    if (type == LORA_TYPE_INT8) return _mm512_set1_ps(1);
    const int64_t blocks = (there + BLOCK - 1) / BLOCK;
    const __m512 scales = _mm512_zextps256_ps512(eight_halves(type, row, blocks));
    return has_offset(type) ? _mm512_insertf32x8(scales, eight_halves(type, row + 2, blocks), 1) : scales;
}

#endif
