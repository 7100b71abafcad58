// f16 and bf16 in integer arithmetic, and their places in memory of any alignment.
#ifndef LR_HALF_H
#define LR_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t load_u16(const void *from, int64_t index)
{
    uint16_t value;
    memcpy(&value, (const char *)from + 2 * index, sizeof value);
    return value;
}

static inline void store_u16(void *to, int64_t index, uint16_t value)
{
    memcpy((char *)to + 2 * index, &value, sizeof value);
}

static inline float float_of_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7FFF;
    if (rest < 0x0400) return float_of_bits(sign | float_bits((float)rest * 0x1p-24f)); // subnormal
    if (rest >= 0x7C00) return float_of_bits(sign | 0x7F800000 | (rest & 0x3FF) << 13);
    return float_of_bits(sign | ((rest << 13) + (112u << 23)));
}

// Round to nearest even.
static inline uint16_t half_of_float(float value)
{
    const uint32_t bits = float_bits(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7FFFFFFF;
    if (rest > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (rest >> 13 & 0x3FF));
    if (rest >= 0x477FF000) return (uint16_t)(sign | 0x7C00); // from 65520 on
    if (rest < 0x38800000) // below 2^-14: adding 0.5 leaves multiples of 2^-24, the subnormals' step
        return (uint16_t)(sign | (float_bits(float_of_bits(rest) + 0.5f) - float_bits(0.5f)));
    return (uint16_t)(sign | (rest + 0xFFF + (rest >> 13 & 1) - (112u << 23)) >> 13);
}

static inline uint16_t bfloat_of_float(float value)
{
    const uint32_t bits = float_bits(value);
    const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? bits >> 16 | 0x40 : rounded);
}

#endif
