// The k types: blocks of 256 numbers in groups that have small integers as scales.
//
// Each group is fitted alone first: from several starting scales the codes are rounded, and the scale (and minimum)
// that fit those codes best in the weighted least squares sense are solved for; the best of all tries is kept. Then the
// groups' scales are rounded to integers of the block's scale, and the codes are rounded once more for the scales that
// the reader will see. Errors are weighted by magnitude, since large weights do more: q4_k and q5_k by the root mean
// square of the group plus |x|, q6_k by x^2.
//
// A vector's lanes are groups, so that every sum runs within a lane, in the same order on every processor.
#ifndef LR_QUANTIZE_K_H
#define LR_QUANTIZE_K_H

#include "cpu/block_numbers.h"
#include "cpu/half.h"

#define SIDE 16 // groups side by side: two blocks of q4_k or q5_k, one of q6_k

typedef struct k_kind {
    int size; // of a group
    bool has_minimum;
    float least, most;             // codes
    float least_scale, most_scale; // integers
} k_kind;

static const k_kind kind_q4_k = {32, true, 0, 15, 0, 63};
static const k_kind kind_q5_k = {32, true, 0, 31, 0, 63};
static const k_kind kind_q6_k = {16, false, -32, 31, -128, 127};

// Number i of group g is [i][g].
typedef struct k_groups {
    float x[32][SIDE], weight[32][SIDE];
    float scale[SIDE], minimum[SIDE];           // fitted, then rounded to integers
    float unit_scale[SIDE], unit_minimum[SIDE]; // of the group's block
} k_groups;

// Code q means scale * q - minimum.
typedef struct k_line {
    lr_vf scale, minimum;
} k_line;

typedef struct k_fit {
    k_line line;
    lr_vf error;
} k_fit;

LR_INLINE lr_vf clamp(lr_vf x, float least, float most) // NaN becomes least
{
    return vf_minimum(vf_maximum(x, vf_set(least)), vf_set(most));
}

// To the nearest whole number, ties to even, of less than 2^22.
LR_INLINE lr_vf whole(lr_vf x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

LR_INLINE lr_vf reciprocals(lr_vf x) // 0 of 0
{
    return vf_select(x == 0, vf_set(0), 1 / x);
}

LR_INLINE lr_vf code_of(k_kind kind, lr_vf x, lr_vf minimum, lr_vf factor)
{
    return whole(clamp((x + minimum) * factor, kind.least, kind.most));
}

// ---- fitting groups ------------------------------------------------------------------------------------------------

// Where a line errs less than the best so far, it takes its place.
LR_INLINE void try_line(k_fit *best, k_kind kind, const k_groups *groups, int lane, k_line line)
{
    const lr_vf factor = reciprocals(line.scale);
    lr_vf error = {0};
    for (int i = 0; i < kind.size; i++) {
        const lr_vf x = vf_load(groups->x[i] + lane), q = code_of(kind, x, line.minimum, factor);
        const lr_vf off = line.scale * q - line.minimum - x;
        error += vf_load(groups->weight[i] + lane) * off * off;
    }
    const lr_vi better = error < best->error;
    best->line.scale = vf_select(better, line.scale, best->line.scale);
    best->line.minimum = vf_select(better, line.minimum, best->line.minimum);
    best->error = vf_select(better, error, best->error);
}

// The scale and minimum that suit a line's codes best: the normal equations of a line, or of one through 0 where it has
// no minimum or that would be negative.
LR_INLINE k_line solve(k_kind kind, const k_groups *groups, int lane, k_line start)
{
    const lr_vf zero = vf_set(0), factor = reciprocals(start.scale);
    lr_vf w = zero, wq = zero, wqq = zero, wx = zero, wqx = zero;
    for (int i = 0; i < kind.size; i++) {
        const lr_vf x = vf_load(groups->x[i] + lane), q = code_of(kind, x, start.minimum, factor);
        const lr_vf weight = vf_load(groups->weight[i] + lane), weighted = weight * q;
        w += weight;
        wq += weighted;
        wqq += weighted * q;
        wx += weight * x;
        wqx += weighted * x;
    }
    const k_line flat = {vf_select(wqq > 0, wqx / wqq, zero), zero};
    if (!kind.has_minimum) return flat;
    const lr_vf determinant = w * wqq - wq * wq, minimum = (wq * wqx - wqq * wx) / determinant;
    const lr_vi sloped = (determinant > 0) & (minimum >= 0);
    const lr_vf scale = vf_select(sloped, (w * wqx - wq * wx) / determinant, flat.scale);
    return (k_line){vf_maximum(scale, zero), vf_select(sloped, minimum, zero)};
}

static k_line fit_line(k_kind kind, const k_groups *groups, int lane)
{
    lr_vf low = vf_set(0), high = vf_load(groups->x[0] + lane);
    for (int i = 0; i < kind.size; i++) {
        low = vf_minimum(vf_load(groups->x[i] + lane), low);
        high = vf_maximum(vf_load(groups->x[i] + lane), high);
    }
    k_fit best = {.error = vf_set(INFINITY)};
    try_line(&best, kind, groups, lane, (k_line){(high - low) / kind.most, -low});
    for (int i = -10; i <= 10; i++) {
        const k_line start = {(high - low) / (kind.most + 0.1f * (float)i), -low};
        try_line(&best, kind, groups, lane, solve(kind, groups, lane, start));
    }
    return best.line;
}

// Without a minimum: the number of greatest magnitude gets about the code of greatest magnitude.
static k_line fit_scale(k_kind kind, const k_groups *groups, int lane)
{
    lr_vf extreme = vf_set(0);
    for (int i = 0; i < kind.size; i++) {
        const lr_vf x = vf_load(groups->x[i] + lane);
        extreme = vf_select(vf_absolute(x) > vf_absolute(extreme), x, extreme);
    }
    k_fit best = {.error = vf_set(INFINITY)};
    for (int i = -9; i <= 9; i++) {
        const k_line start = {extreme / (kind.least - 0.1f * (float)i), vf_set(0)};
        try_line(&best, kind, groups, lane, start);
        try_line(&best, kind, groups, lane, solve(kind, groups, lane, start));
    }
    return best.line;
}

// The integers next to what was fitted that err least, and the codes for them, from 0 on, in the numbers' order.
static void round_line(k_kind kind, k_groups *groups, int lane, uint8_t *codes)
{
    const k_line unit = {vf_load(groups->unit_scale + lane), vf_load(groups->unit_minimum + lane)};
    const k_line factor = {reciprocals(unit.scale), reciprocals(unit.minimum)};
    const float least = kind.least_scale, most = kind.most_scale;
    const lr_vf scale = whole(clamp(vf_load(groups->scale + lane) * factor.scale, least, most));
    const lr_vf minimum = whole(clamp(vf_load(groups->minimum + lane) * factor.minimum, 0, most));
    k_fit best = {.error = vf_set(INFINITY)};
    for (int s = -1; s <= 1; s++)
        for (int m = -kind.has_minimum; m <= kind.has_minimum; m++)
            try_line(&best, kind, groups, lane, (k_line){unit.scale * clamp(scale + (float)s, least, most),
                                                         unit.minimum * clamp(minimum + (float)m, 0, most)});
    vf_store(groups->scale + lane, whole(best.line.scale * factor.scale));
    vf_store(groups->minimum + lane, whole(best.line.minimum * factor.minimum));
    for (int i = 0; i < kind.size; i++) {
        const lr_vf x = vf_load(groups->x[i] + lane);
        const lr_vf q = code_of(kind, x, best.line.minimum, reciprocals(best.line.scale)) - kind.least;
        for (int l = 0; l < LR_WIDTH; l++) codes[(lane + l) * kind.size + i] = (uint8_t)q[l];
    }
}

// ---- blocks --------------------------------------------------------------------------------------------------------

static void take_groups(k_kind kind, k_groups *groups, const float *source, int count)
{
    memset(groups, 0, sizeof *groups);
    for (int g = 0; g < count; g++)
        for (int i = 0; i < kind.size; i++) groups->x[i][g] = source[g * kind.size + i];
    for (int lane = 0; lane < count; lane += LR_WIDTH) {
        lr_vf squares = {0};
        for (int i = 0; i < kind.size; i++) {
            const lr_vf x = vf_load(groups->x[i] + lane);
            squares += x * x;
            vf_store(groups->weight[i] + lane, x * x);
        }
        const lr_vf root = vf_square_root(squares / (float)kind.size);
        for (int i = 0; i < kind.size && kind.has_minimum; i++)
            vf_store(groups->weight[i] + lane, root + vf_absolute(vf_load(groups->x[i] + lane)));
    }
}

// What the integers 1 stand for in a block's groups: the extreme one gets the extreme integer. A multiple in f16.
static void set_unit(float *unit, const float *fitted, int count, float extreme_integer)
{
    float extreme = 0;
    for (int g = 0; g < count; g++) extreme = fabsf(fitted[g]) > fabsf(extreme) ? fitted[g] : extreme;
    extreme = float_of_half(half_of_float(extreme / extreme_integer));
    for (int g = 0; g < count; g++) unit[g] = extreme;
}

// Writes a block whose first group is g; codes are the block's.
typedef void (*k_put)(uint8_t *block, const k_groups *groups, int g, const uint8_t *codes);

LR_INLINE void quantize_k(k_kind kind, uint8_t *block, int64_t size, const float *source, int64_t n, k_put put)
{
    const int in_block = SUPER / kind.size;
    const float extreme_scale = kind.has_minimum ? kind.most_scale : kind.least_scale;
    for (int64_t begin = 0; begin < n; begin += SIDE * kind.size) {
        const int count = n - begin < SIDE * kind.size ? in_block : SIDE;
        k_groups groups;
        uint8_t codes[SIDE * 32];
        take_groups(kind, &groups, source + begin, count);
        for (int lane = 0; lane < count; lane += LR_WIDTH) {
            const k_line line = (kind.has_minimum ? fit_line : fit_scale)(kind, &groups, lane);
            vf_store(groups.scale + lane, line.scale);
            vf_store(groups.minimum + lane, line.minimum);
        }
        for (int g = 0; g < count; g += in_block) {
            set_unit(groups.unit_scale + g, groups.scale + g, in_block, extreme_scale);
            set_unit(groups.unit_minimum + g, groups.minimum + g, in_block, kind.most_scale);
        }
        for (int lane = 0; lane < count; lane += LR_WIDTH) round_line(kind, &groups, lane, codes);
        for (int g = 0; g < count; g += in_block, block += size) put(block, &groups, g, codes + g * kind.size);
    }
}

// ---- layouts -------------------------------------------------------------------------------------------------------

// Scale and minimum of the block (f16), then six bits of each for eight groups in twelve bytes.
static void put_header(uint8_t *block, const k_groups *groups, int first)
{
    uint8_t *packed = block + 4;
    store_u16(block, 0, half_of_float(groups->unit_scale[first]));
    store_u16(block, 1, half_of_float(groups->unit_minimum[first]));
    for (int g = 0; g < 4; g++) {
        const int scale = (int)groups->scale[first + g], minimum = (int)groups->minimum[first + g];
        const int next_scale = (int)groups->scale[first + g + 4], next_minimum = (int)groups->minimum[first + g + 4];
        packed[g] = (uint8_t)(scale | next_scale >> 4 << 6);
        packed[g + 4] = (uint8_t)(minimum | next_minimum >> 4 << 6);
        packed[g + 8] = (uint8_t)((next_scale & 15) | (next_minimum & 15) << 4);
    }
}

static void put_halves(uint8_t *bytes, const uint8_t *codes)
{
    for (int run = 0; run < SUPER; run += 64, bytes += 32)
        for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)((codes[run + i] & 15) | (codes[run + i + 32] & 15) << 4);
}

static void put_q4_k(uint8_t *block, const k_groups *groups, int g, const uint8_t *codes)
{
    put_header(block, groups, g);
    put_halves(block + 16, codes);
}

static void put_q5_k(uint8_t *block, const k_groups *groups, int g, const uint8_t *codes)
{
    put_header(block, groups, g);
    memset(block + 16, 0, 32);
    for (int i = 0; i < SUPER; i++) block[16 + i % 32] |= (uint8_t)(codes[i] >> 4 << (i / 32));
    put_halves(block + 48, codes);
}

static void put_q6_k(uint8_t *block, const k_groups *groups, int g, const uint8_t *codes)
{
    memset(block, 0, 192);
    for (int i = 0; i < SUPER; i++) {
        const int half = i / 128, run = i / 32 % 4;
        block[half * 64 + run % 2 * 32 + i % 32] |= (uint8_t)((codes[i] & 15) << (run / 2 * 4));
        block[128 + half * 32 + i % 32] |= (uint8_t)(codes[i] >> 4 << (2 * run));
    }
    for (int i = 0; i < SUPER / 16; i++) block[192 + i] = (uint8_t)(int8_t)groups->scale[g + i];
    store_u16(block + 208, 0, half_of_float(groups->unit_scale[g]));
}

static void quantize_q4_k(void *target, float *scales, const float *source, int64_t n)
{
    quantize_k(kind_q4_k, target, 144, source, n, put_q4_k);
}

static void quantize_q5_k(void *target, float *scales, const float *source, int64_t n)
{
    quantize_k(kind_q5_k, target, 176, source, n, put_q5_k);
}

static void quantize_q6_k(void *target, float *scales, const float *source, int64_t n)
{
    quantize_k(kind_q6_k, target, 210, source, n, put_q6_k);
}

#endif
