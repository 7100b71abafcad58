// Groups of 32 numbers of a row of an integer type: w = scale * (number - zero_of(type)) + offset. Q6_K's scales are of
// 16 numbers; INT8 leaves its one scale to the caller. The file that includes this defines
//   sixteen                            a vector of so many numbers without a sign, as wide as its products want them,
//   load_sixteen, load_signed_sixteen  of bytes,
//   sixteens                           16 in each lane whose bit is set,
//   floats_of                          of LR_WIDTH numbers of f16,
// after cpu/product_numbers.h.
#ifndef LR_INTEGER_GROUPS_H
#define LR_INTEGER_GROUPS_H

#include "cpu/product_numbers.h"

#define SUPER_GROUPS (SUPER / BLOCK)

LR_INLINE uint8_t zero_of(lora_type type)
{
    return type == LORA_TYPE_Q4_0 ? 8 : type == LORA_TYPE_Q5_0 ? 16 : type == LORA_TYPE_Q6_K ? 32 : 0;
}

LR_INLINE sixteen half_bytes(sixteen v, bool high)
{
    return high ? v >> 4 : v & 15;
}

// Bits of each number moved up by `by`, or down by -by, to where `mask` has them.
LR_INLINE sixteen move_bits(sixteen v, int by, uint8_t mask)
{
    return (by < 0 ? v >> -by : v << by) & mask;
}

// Half `h` of group `g` of the groups that begin at `row`: of a block of 256 for types that have them.
LR_INLINE sixteen load_half_group(lora_type type, const uint8_t *row, int g, int h)
{
    const uint8_t *block = type >= LORA_TYPE_Q4_K ? row : row + g * row_bytes(type, BLOCK);
    switch (type) {
    case LORA_TYPE_Q8_0: return load_signed_sixteen(block + 2 + 16 * h);
    case LORA_TYPE_Q4_0: return half_bytes(load_sixteen(block + 2), h);
    case LORA_TYPE_Q4_1: return half_bytes(load_sixteen(block + 4), h);
    case LORA_TYPE_Q5_0: return half_bytes(load_sixteen(block + 6), h) | sixteens(block + 2 + 2 * h);
    case LORA_TYPE_Q5_1: return half_bytes(load_sixteen(block + 8), h) | sixteens(block + 4 + 2 * h);
    case LORA_TYPE_Q4_K: return half_bytes(load_sixteen(block + 16 + g / 2 * 32 + 16 * h), g % 2);
    case LORA_TYPE_Q5_K: {
        const sixteen high = load_sixteen(block + 16 + 16 * h);
        return half_bytes(load_sixteen(block + 48 + g / 2 * 32 + 16 * h), g % 2) | move_bits(high, 4 - g, 16);
    }
    case LORA_TYPE_Q6_K: {
        const int half = g / 4, run = g % 4;
        const sixteen high = load_sixteen(block + 128 + half * 32 + 16 * h);
        const sixteen low = half_bytes(load_sixteen(block + half * 64 + run % 2 * 32 + 16 * h), run / 2);
        return low | move_bits(high, 4 - 2 * run, 48);
    }
    default: return load_signed_sixteen(block + 16 * h);
    }
}

typedef struct group_scales {
    float scale[2 * SUPER_GROUPS], offset[SUPER_GROUPS]; // two scales for each group of Q6_K
} group_scales;

// f16 numbers `apart` bytes from one another, of which `count` are there, zeros behind them.
LR_INLINE lr_vf load_scales(const uint8_t *from, int64_t apart, int count)
{
    uint16_t half[LR_WIDTH] = {0};
    UNROLL for (int i = 0; i < LR_WIDTH; i++)
        if (i < count) memcpy(half + i, from + i * apart, sizeof *half);
    return floats_of(half);
}

// Of `groups` <= SUPER_GROUPS groups that begin at `row`; scales and offsets of the others are 0.
LR_INLINE void load_group_scales(lora_type type, const uint8_t *row, int groups, group_scales *s)
{
    if (type == LORA_TYPE_INT8) return;
    if (type < LORA_TYPE_Q4_K) {
        const int64_t bytes = row_bytes(type, BLOCK);
        for (int v = 0; v < SUPER_GROUPS; v += LR_WIDTH, row += LR_WIDTH * bytes, groups -= LR_WIDTH) {
            vf_store(s->scale + v, load_scales(row, bytes, groups));
            if (has_offset(type)) vf_store(s->offset + v, load_scales(row + 2, bytes, groups));
        }
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
