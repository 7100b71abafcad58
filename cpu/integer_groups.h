// Groups of 32 numbers of a row of an integer type: signed bytes, w = scale * byte + offset. Q6_K's scales are of 16
// numbers; INT8 leaves its one scale to the caller.
#ifndef LR_INTEGER_GROUPS_H
#define LR_INTEGER_GROUPS_H

#include "cpu/product_numbers.h"

#define SUPER_GROUPS (SUPER / BLOCK)

typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef uint16_t words8 __attribute__((vector_size(16)));

LR_INLINE bytes16 load_bytes(const uint8_t *from)
{
    bytes16 v;
    memcpy(&v, from, sizeof v);
    return v;
}

// Bits of each byte moved up by `by`, or down by -by, to where `mask` has them; by 16-bit shifts, as bytes have none.
LR_INLINE bytes16 move_bits(bytes16 v, int by, uint8_t mask)
{
    return (bytes16)(by < 0 ? (words8)v >> -by : (words8)v << by) & mask;
}

LR_INLINE bytes16 half_bytes(bytes16 v, bool high)
{
    return move_bits(v, high ? -4 : 0, 15);
}

// 16 in each byte whose bit is set.
LR_INLINE bytes16 sixteens(const uint8_t *bits)
{
    const bytes16 bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint16_t word;
    memcpy(&word, bits, sizeof word);
    const bytes16 v = (bytes16)(word - (words8){0});
    const bytes16 spread = __builtin_shufflevector(v, v, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    return (bytes16)((spread & bit) == bit) & 16;
}

// Half `h` of group `g` of the groups that begin at `row`: of a block of 256 for types that have them.
LR_INLINE bytes16 load_half_group(lora_type type, const uint8_t *row, int g, int h)
{
    const uint8_t *block = type >= LORA_TYPE_Q4_K ? row : row + g * row_bytes(type, BLOCK);
    switch (type) {
    case LORA_TYPE_Q8_0: return load_bytes(block + 2 + 16 * h);
    case LORA_TYPE_Q4_0: return half_bytes(load_bytes(block + 2), h) - 8;
    case LORA_TYPE_Q4_1: return half_bytes(load_bytes(block + 4), h);
    case LORA_TYPE_Q5_0: return (half_bytes(load_bytes(block + 6), h) | sixteens(block + 2 + 2 * h)) - 16;
    case LORA_TYPE_Q5_1: return half_bytes(load_bytes(block + 8), h) | sixteens(block + 4 + 2 * h);
    case LORA_TYPE_Q4_K: return half_bytes(load_bytes(block + 16 + g / 2 * 32 + 16 * h), g % 2);
    case LORA_TYPE_Q5_K: {
        const bytes16 high = load_bytes(block + 16 + 16 * h);
        return half_bytes(load_bytes(block + 48 + g / 2 * 32 + 16 * h), g % 2) | move_bits(high, 4 - g, 16);
    }
    case LORA_TYPE_Q6_K: {
        const int half = g / 4, run = g % 4;
        const bytes16 high = load_bytes(block + 128 + half * 32 + 16 * h);
        const bytes16 low = half_bytes(load_bytes(block + half * 64 + run % 2 * 32 + 16 * h), run / 2);
        return (low | move_bits(high, 4 - 2 * run, 48)) - 32;
    }
    default: return load_bytes(block + 16 * h);
    }
}

typedef struct group_scales {
    float scale[2 * SUPER_GROUPS], offset[SUPER_GROUPS]; // two scales for each group of Q6_K
} group_scales;

// Of `groups` <= SUPER_GROUPS groups that begin at `row`; offsets of the others are 0.
LR_INLINE void load_group_scales(lora_type type, const uint8_t *row, int groups, group_scales *s)
{
    if (type < LORA_TYPE_Q4_K) {
        const int64_t bytes = row_bytes(type, BLOCK);
        for (int g = 0; g < groups && type != LORA_TYPE_INT8; g++) s->scale[g] = half_at(row + g * bytes);
        for (int g = 0; g < SUPER_GROUPS && has_offset(type); g++)
            s->offset[g] = g < groups ? half_at(row + g * bytes + 2) : 0;
        return;
    }
    if (type == LORA_TYPE_Q6_K) {
        for (int v = 0; v < 2 * SUPER_GROUPS; v += LR_WIDTH)
            vf_store(s->scale + v, half_at(row + 208) * to_floats(load_signed(row + 192 + v)));
        return;
    }
    uint32_t word[3], scale[2], minimum[2]; // as k_group reads them, four groups at a time
    memcpy(word, row + 4, sizeof word);
    scale[0] = word[0] & 0x3F3F3F3F, scale[1] = (word[2] & 0x0F0F0F0F) | (word[0] >> 6 & 0x03030303) << 4;
    minimum[0] = word[1] & 0x3F3F3F3F, minimum[1] = (word[2] >> 4 & 0x0F0F0F0F) | (word[1] >> 6 & 0x03030303) << 4;
    for (int v = 0; v < SUPER_GROUPS; v += LR_WIDTH) {
        vf_store(s->scale + v, half_at(row) * to_floats(load_unsigned((const uint8_t *)scale + v)));
        vf_store(s->offset + v, -half_at(row + 2) * to_floats(load_unsigned((const uint8_t *)minimum + v)));
    }
}

#endif
