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

// Parts of 64 numbers, one after another, whose lanes have the same scales: low and high halves of four blocks' bytes.
LR_INLINE int parts_of_scales(lora_type type)
{
    return type >= LORA_TYPE_Q4_0 && type <= LORA_TYPE_Q5_1 ? 2 : 1;
}

// Which 16 of 256 numbers lie in a quarter of part 0 .. 3, so that the part is loaded as it lies.
LR_INLINE int sixteen_in(lora_type type, int part, int quarter)
{
    if (parts_of_scales(type) == 2) return part / 2 * 8 + part % 2 + 2 * quarter;
    if (type == LORA_TYPE_Q4_K || type == LORA_TYPE_Q5_K) // as the high halves of 64 bytes
        return part / 2 * 8 + part % 2 * 2 + quarter / 2 * 4 + quarter % 2;
    return 4 * part + quarter;
}

// 16 bytes at the same place of four blocks; the last of `blocks` stands for those that are not there.
LR_INLINE __m512i four_of(const uint8_t *first, int64_t blocks, int64_t apart)
{
    __m128i v[4];
    for (int64_t i = 0; i < 4; i++)
        v[i] = _mm_loadu_si128((const void *)(first + (i < blocks ? i : blocks - 1) * apart));
    return join(_mm256_set_m128i(v[1], v[0]), _mm256_set_m128i(v[3], v[2]));
}

// 16 in each byte whose bit of the four blocks' words is set.
LR_INLINE __m512i sixteens(const uint8_t *first, int64_t blocks, int64_t apart)
{
    uint64_t all = 0;
    for (int64_t i = 3; i >= 0; i--) {
        uint16_t bits;
        memcpy(&bits, first + (i < blocks ? i : blocks - 1) * apart, sizeof bits);
        all = all << 16 | bits;
    }
    return _mm512_maskz_set1_epi8(all, 16);
}

// Of a row of blocks of 32.
LR_INLINE __m512i load_block_bytes(lora_type type, const uint8_t *row, int part, int64_t there)
{
    const int64_t before = (part - part % parts_of_scales(type)) * 64, apart = row_bytes(type, BLOCK);
    const int64_t blocks = (there - before + BLOCK - 1) / BLOCK;
    const uint8_t *first = row + row_bytes(type, before);
    if (type == LORA_TYPE_Q8_0)
        return without_sign(join(_mm256_loadu_si256((const void *)(first + 2)),
                                 _mm256_loadu_si256((const void *)(first + 2 + (blocks > 1 ? apart : 0)))));
    const __m512i halves = four_of(first + apart - 16, blocks, apart);
    const __m512i bytes = low_bits(part % 2 ? _mm512_srli_epi16(halves, 4) : halves, 15);
    if (type == LORA_TYPE_Q4_0 || type == LORA_TYPE_Q4_1) return bytes;
    return _mm512_or_si512(bytes, sixteens(first + apart - 20 + 2 * (part % 2), blocks, apart));
}

// Of a block of 256. Bits that are turned past a byte's end are masked off.
LR_INLINE __m512i load_k_bytes(lora_type type, const uint8_t *block, int part)
{
    const int half = part / 2, first = sixteen_in(type, part, 0) / 2, second = sixteen_in(type, part, 2) / 2;
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

// A part of a row's 256 numbers, of which `there` exist.
LR_INLINE __m512i load_integers(lora_type type, const uint8_t *row, int part, int64_t there)
{
    if (type >= LORA_TYPE_Q4_K) return load_k_bytes(type, row, part);
    if (type != LORA_TYPE_INT8) return load_block_bytes(type, row, part, there);
    const int64_t rest = there - 64 * part;
    const __mmask64 mask = rest >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << rest) - 1;
    return without_sign(_mm512_maskz_loadu_epi8(mask, row + 64 * part));
}

LR_INLINE int groups_of(lora_type type)
{
    return type == LORA_TYPE_Q6_K ? 16 : 8;
}

// Each group's scale for the lanes of its numbers in a part, four to a lane.
LR_INLINE __m512 spread_scales(lora_type type, __m512 scales, int part)
{
    const int size = 16 / groups_of(type); // of a group, in sixteens
    const int a = sixteen_in(type, part, 0) / size, b = sixteen_in(type, part, 1) / size;
    const int c = sixteen_in(type, part, 2) / size, d = sixteen_in(type, part, 3) / size;
    return _mm512_permutexvar_ps(_mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d), scales);
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
