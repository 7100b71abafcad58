#include "blocks.h"

#include <math.h>
#include <string.h>

static const struct {
    int16_t numbers, bytes, halves[2]; // where f16 numbers lie, or -1
} kinds[LORA_TYPE_COUNT] = {
    [LORA_TYPE_F32] = {1, 4, {-1, -1}},    [LORA_TYPE_F16] = {1, 2, {0, -1}},
    [LORA_TYPE_BF16] = {1, 2, {-1, -1}},   [LORA_TYPE_I32] = {1, 4, {-1, -1}},
    [LORA_TYPE_INT8] = {1, 1, {-1, -1}},   [LORA_TYPE_NF4] = {64, 32, {-1, -1}},
    [LORA_TYPE_Q8_0] = {32, 34, {0, -1}},  [LORA_TYPE_Q4_0] = {32, 18, {0, -1}},
    [LORA_TYPE_Q4_1] = {32, 20, {0, 2}},   [LORA_TYPE_Q5_0] = {32, 22, {0, -1}},
    [LORA_TYPE_Q5_1] = {32, 24, {0, 2}},   [LORA_TYPE_Q4_K] = {256, 144, {0, 2}},
    [LORA_TYPE_Q5_K] = {256, 176, {0, 2}}, [LORA_TYPE_Q6_K] = {256, 210, {208, -1}},
};

int64_t block_numbers(lora_type type)
{
    return kinds[type].numbers;
}

int64_t block_bytes(lora_type type)
{
    return kinds[type].bytes;
}

void block_random(lora_type type, uint8_t *block, uint32_t (*word)(void *), void *source)
{
    for (int i = 0; i < kinds[type].bytes; i++) block[i] = (uint8_t)(word(source) >> 13);
    for (int h = 0; h < 2; h++) {
        if (kinds[type].halves[h] < 0) continue;
        const uint32_t random = word(source) >> 8; // either sign, 2^-7 to 2^-6, a few of them subnormal
        uint16_t half = (uint16_t)((random & 0x8000) | 8 << 10 | (random & 0x3FF));
        if (random % 64 == 0) half &= 0x83FF;
        memcpy(block + kinds[type].halves[h], &half, 2);
    }
}

double half_value(const uint8_t *bytes)
{
    const int bits = bytes[0] | bytes[1] << 8, exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == 31) return fraction ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

// Quantiles of the normal distribution, as the paper's appendix prints them.
static const double nf4[16] = {-1.0,
                               -0.6961928009986877,
                               -0.5250730514526367,
                               -0.39491748809814453,
                               -0.28444138169288635,
                               -0.18477343022823334,
                               -0.09105003625154495,
                               0.0,
                               0.07958029955625534,
                               0.16093020141124725,
                               0.24611230194568634,
                               0.33791524171829224,
                               0.44070982933044434,
                               0.5626170039176941,
                               0.7229568362236023,
                               1.0};

static int half_byte(const uint8_t *bytes, int64_t i, int64_t run)
{
    return i % (2 * run) < run ? bytes[i / (2 * run) * run + i % run] & 15 : bytes[i / (2 * run) * run + i % run] >> 4;
}

// The eight pairs of 6-bit numbers in twelve bytes.
static void six_bits(const uint8_t *s, int64_t j, int *scale, int *minimum)
{
    *scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) + 16 * (s[j - 4] >> 6);
    *minimum = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) + 16 * (s[j] >> 6);
}

static double k_value(const uint8_t *block, int64_t i, int code)
{
    int scale, minimum;
    six_bits(block + 4, i / 32, &scale, &minimum);
    return half_value(block) * scale * code - half_value(block + 2) * minimum;
}

double block_value(lora_type type, const uint8_t *block, float scale, int64_t i)
{
    const double d = kinds[type].halves[0] >= 0 ? half_value(block + kinds[type].halves[0]) : 0;
    switch (type) {
    case LORA_TYPE_INT8: return (double)scale * (int8_t)block[0] / 127;
    case LORA_TYPE_NF4: return (double)scale * nf4[i % 2 ? block[i / 2] & 15 : block[i / 2] >> 4];
    case LORA_TYPE_Q8_0: return d * (int8_t)block[2 + i];
    case LORA_TYPE_Q4_0: return d * (half_byte(block + 2, i, 16) - 8);
    case LORA_TYPE_Q4_1: return d * half_byte(block + 4, i, 16) + half_value(block + 2);
    case LORA_TYPE_Q5_0: return d * (half_byte(block + 6, i, 16) + 16 * (block[2 + i / 8] >> i % 8 & 1) - 16);
    case LORA_TYPE_Q5_1:
        return d * (half_byte(block + 8, i, 16) + 16 * (block[4 + i / 8] >> i % 8 & 1)) + half_value(block + 2);
    case LORA_TYPE_Q4_K: return k_value(block, i, half_byte(block + 16, i, 32));
    case LORA_TYPE_Q5_K:
        return k_value(block, i, half_byte(block + 48, i, 32) + 16 * (block[16 + i % 32] >> i / 32 & 1));
    case LORA_TYPE_Q6_K: {
        const int64_t half = i / 128, low = half_byte(block + half * 64, i % 128, 64);
        const int64_t high = block[128 + half * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        return d * (int8_t)block[192 + i / 16] * (double)(low + 16 * high - 32);
    }
    default: return (double)NAN;
    }
}
