// The k types: blocks of 256 numbers in groups that have small integers as scales.
//
// Each group is fitted alone first: from several starting scales the codes are rounded, and the scale (and minimum)
// that fit those codes best in the weighted least squares sense are solved for; the best of all tries is kept. Then the
// groups' scales are rounded to integers of the block's scale, and the codes are rounded once more for the scales that
// the reader will see. Errors are weighted by magnitude, since large weights do more: q4_k and q5_k by the root mean
// square of the group plus |x|, q6_k by x^2.
#include "cpu/half.h"
#include "cpu/quantize.h"

#include <math.h>

#define SUPER 256

// Codes are whole numbers kept as floats, so that loops over a group become vectors.
static inline float clamp(float x, float least, float most)
{
    x = x > least ? x : least;
    return x < most ? x : most;
}

// To the nearest whole number, ties to even, of less than 2^22.
static inline float whole(float x)
{
    return (x + 12582912.0f) - 12582912.0f; // 1.5 * 2^23
}

static int nearest(float x, float least, float most)
{
    return (int)whole(clamp(x, least, most));
}

// ---- q4_k, q5_k: scale * q - minimum, minimum >= 0 --------------------------------------------------------------------

#define GROUP 32
#define GROUPS (SUPER / GROUP)
#define TRIES 21 // code ranges between `most` - 1 and `most` + 1

typedef struct affine {
    float scale, minimum;
} affine;

static void weigh(float *weights, const float *x)
{
    float squares = 0;
    for (int i = 0; i < GROUP; i++) squares += x[i] * x[i];
    const float root = sqrtf(squares / GROUP);
    for (int i = 0; i < GROUP; i++) weights[i] = root + fabsf(x[i]);
}

// Codes for a fit, and the weighted error.
static float round_codes(float *q, const float *x, const float *w, affine fit, float most)
{
    const float factor = fit.scale > 0 ? 1 / fit.scale : 0;
    float errors[GROUP], error = 0;
    for (int i = 0; i < GROUP; i++) {
        q[i] = whole(clamp((x[i] + fit.minimum) * factor, 0, most));
        const float off = fit.scale * q[i] - fit.minimum - x[i];
        errors[i] = w[i] * off * off;
    }
    for (int i = 0; i < GROUP; i++) error += errors[i];
    return error;
}

// The sums that the normal equations are made of: of w, w q, w q^2, w x, w q x.
typedef struct moments {
    float w, q, qq, x, qx;
} moments;

#define LANES 4 // sums side by side

static moments sum_up(const float *q, const float *x, const float *w)
{
    float sums[5][LANES] = {{0}};
    for (int i = 0; i < GROUP; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float weight = w[i + l], weighted = weight * q[i + l];
            sums[0][l] += weight;
            sums[1][l] += weighted;
            sums[2][l] += weighted * q[i + l];
            sums[3][l] += weight * x[i + l];
            sums[4][l] += weighted * x[i + l];
        }
    }
    for (int k = 0; k < 5; k++)
        for (int l = 1; l < LANES; l++) sums[k][0] += sums[k][l];
    return (moments){sums[0][0], sums[1][0], sums[2][0], sums[3][0], sums[4][0]};
}

// The scale and minimum that suit the codes best: the normal equations of a line, or of one through 0 where the
// minimum would be negative.
static affine solve(const float *q, const float *x, const float *w)
{
    const moments s = sum_up(q, x, w);
    const float determinant = s.w * s.qq - s.q * s.q;
    affine fit = {0, 0};
    if (determinant > 0) {
        fit.scale = (s.w * s.qx - s.q * s.x) / determinant;
        fit.minimum = (s.q * s.qx - s.qq * s.x) / determinant;
    }
    if (determinant <= 0 || fit.minimum < 0) fit = (affine){s.qq > 0 ? s.qx / s.qq : 0, 0};
    return fit;
}

static affine fit_group(const float *x, const float *w, float most)
{
    float low = 0, high = x[0], q[GROUP];
    for (int i = 0; i < GROUP; i++) low = x[i] < low ? x[i] : low, high = x[i] > high ? x[i] : high;
    if (high <= low) return (affine){0, -low};
    affine best = {(high - low) / most, -low};
    float least = round_codes(q, x, w, best, most);
    for (int i = 0; i < TRIES; i++) {
        affine fit = {(high - low) / (most - 1 + 0.1f * (float)i), -low};
        round_codes(q, x, w, fit, most);
        fit = solve(q, x, w);
        const float error = round_codes(q, x, w, fit, most);
        if (error < least) least = error, best = fit;
    }
    return best;
}

// Of group g, six bits of scale and of minimum.
static void put_group(uint8_t *packed, int g, int scale, int minimum)
{
    if (g < 4) {
        packed[g] |= (uint8_t)scale;
        packed[g + 4] |= (uint8_t)minimum;
    } else {
        packed[g + 4] = (uint8_t)((scale & 15) | (minimum & 15) << 4);
        packed[g - 4] |= (uint8_t)(scale >> 4 << 6);
        packed[g] |= (uint8_t)(minimum >> 4 << 6);
    }
}

// The scale and minimum of a group among the integers next to what was fitted, and their codes.
static void round_group(float *q, uint8_t *packed, int g, const float *x, const float *w, affine fit, affine unit,
                        float most)
{
    const int scale = unit.scale > 0 ? nearest(fit.scale / unit.scale, 0, 63) : 0;
    const int minimum = unit.minimum > 0 ? nearest(fit.minimum / unit.minimum, 0, 63) : 0;
    int chosen_scale = 0, chosen_minimum = 0;
    float least = INFINITY;
    for (int s = scale > 0 ? scale - 1 : 0; s <= scale + 1 && s <= 63; s++) {
        for (int m = minimum > 0 ? minimum - 1 : 0; m <= minimum + 1 && m <= 63; m++) {
            float codes[GROUP];
            const affine rounded = {unit.scale * (float)s, unit.minimum * (float)m};
            const float error = round_codes(codes, x, w, rounded, most);
            if (error >= least) continue;
            least = error, chosen_scale = s, chosen_minimum = m;
            memcpy(q, codes, sizeof codes);
        }
    }
    put_group(packed, g, chosen_scale, chosen_minimum);
}

static affine read_unit(const uint8_t *block)
{
    uint16_t half[2];
    memcpy(half, block, sizeof half);
    return (affine){float_of_half(half[0]), float_of_half(half[1])};
}

// Codes of one block, and its header: scale and minimum (f16), twelve bytes of groups.
static void fit_block(uint8_t *header, uint8_t *codes, const float *x, float most)
{
    affine fits[GROUPS], greatest = {0, 0};
    float weights[SUPER], q[SUPER];
    for (int g = 0; g < GROUPS; g++) {
        weigh(weights + g * GROUP, x + g * GROUP);
        fits[g] = fit_group(x + g * GROUP, weights + g * GROUP, most);
        greatest.scale = fmaxf(greatest.scale, fits[g].scale);
        greatest.minimum = fmaxf(greatest.minimum, fits[g].minimum);
    }
    const uint16_t half[2] = {half_of_float(greatest.scale / 63), half_of_float(greatest.minimum / 63)};
    memset(header, 0, 16);
    memcpy(header, half, sizeof half);
    const affine unit = read_unit(header);
    for (int g = 0; g < GROUPS; g++)
        round_group(q + g * GROUP, header + 4, g, x + g * GROUP, weights + g * GROUP, fits[g], unit, most);
    for (int i = 0; i < SUPER; i++) codes[i] = (uint8_t)q[i];
}

static void put_halves(uint8_t *bytes, const uint8_t *q)
{
    for (int i = 0; i < SUPER / 2; i++)
        bytes[i] = (uint8_t)((q[i / 32 * 64 + i % 32] & 15) | (q[i / 32 * 64 + i % 32 + 32] & 15) << 4);
}

void lr_quantize_q4_k(void *target, float *scales, const float *source, int64_t n)
{
    uint8_t *block = target, q[SUPER];
    for (int64_t i = 0; i < n; i += SUPER, block += 144) {
        fit_block(block, q, source + i, 15);
        put_halves(block + 16, q);
    }
}

void lr_quantize_q5_k(void *target, float *scales, const float *source, int64_t n)
{
    uint8_t *block = target, q[SUPER];
    for (int64_t i = 0; i < n; i += SUPER, block += 176) {
        fit_block(block, q, source + i, 31);
        memset(block + 16, 0, 32);
        for (int j = 0; j < SUPER; j++) block[16 + j % 32] |= (uint8_t)(q[j] >> 4 << (j / 32));
        put_halves(block + 48, q);
    }
}

// ---- q6_k: scale * (q - 32) in groups of 16 -----------------------------------------------------------------------------

#define SMALL 16
#define SMALLS (SUPER / SMALL)

static float round_signed(float *q, const float *x, float scale)
{
    const float factor = scale != 0 ? 1 / scale : 0;
    float errors[SMALL], error = 0;
    for (int i = 0; i < SMALL; i++) {
        q[i] = whole(clamp(x[i] * factor, -32, 31));
        const float off = scale * q[i] - x[i];
        errors[i] = x[i] * x[i] * off * off;
    }
    for (int i = 0; i < SMALL; i++) error += errors[i];
    return error;
}

static float solve_signed(const float *q, const float *x)
{
    float qq[LANES] = {0}, qx[LANES] = {0};
    for (int i = 0; i < SMALL; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float weighted = x[i + l] * x[i + l] * q[i + l];
            qq[l] += weighted * q[i + l];
            qx[l] += weighted * x[i + l];
        }
    }
    for (int l = 1; l < LANES; l++) qq[0] += qq[l], qx[0] += qx[l];
    return qq[0] > 0 ? qx[0] / qq[0] : 0;
}

// The number of greatest magnitude gets about -32, the code of greatest magnitude.
static float fit_signed(const float *x)
{
    float extreme = 0, best = 0, least = INFINITY, q[SMALL];
    for (int i = 0; i < SMALL; i++) extreme = fabsf(x[i]) > fabsf(extreme) ? x[i] : extreme;
    if (extreme == 0) return 0;
    for (int i = -9; i <= 9; i++) {
        float scale = extreme / -(32 + 0.1f * (float)i);
        for (int pass = 0; pass < 2; pass++) {
            const float error = round_signed(q, x, scale);
            if (error < least) least = error, best = scale;
            if (pass == 0) scale = solve_signed(q, x);
        }
    }
    return best;
}

static int8_t round_scale(float *q, const float *x, float scale, float unit)
{
    const int middle = unit != 0 ? nearest(scale / unit, -128, 127) : 0;
    int chosen = 0;
    float least = INFINITY;
    for (int s = middle - 1; s <= middle + 1; s++) {
        float codes[SMALL];
        if (s < -128 || s > 127) continue;
        const float error = round_signed(codes, x, unit * (float)s);
        if (error >= least) continue;
        least = error, chosen = s;
        memcpy(q, codes, sizeof codes);
    }
    return (int8_t)chosen;
}

static void quantize_block_q6(uint8_t *block, const float *x)
{
    float fits[SMALLS], extreme = 0, q[SUPER];
    for (int g = 0; g < SMALLS; g++) {
        fits[g] = fit_signed(x + g * SMALL);
        extreme = fabsf(fits[g]) > fabsf(extreme) ? fits[g] : extreme;
    }
    memset(block, 0, 210);
    const uint16_t half = half_of_float(extreme / -128);
    memcpy(block + 208, &half, sizeof half);
    for (int g = 0; g < SMALLS; g++)
        block[192 + g] =
            (uint8_t)round_scale(q + g * SMALL, x + g * SMALL, fits[g], float_of_half(half));
    for (int i = 0; i < SUPER; i++) {
        const int code = (int)q[i] + 32, half_block = i / 128, run = i / 32 % 4;
        block[half_block * 64 + run % 2 * 32 + i % 32] |= (uint8_t)((code & 15) << (run / 2 * 4));
        block[128 + half_block * 32 + i % 32] |= (uint8_t)(code >> 4 << (2 * run));
    }
}

void lr_quantize_q6_k(void *target, float *scales, const float *source, int64_t n)
{
    for (int64_t i = 0; i < n; i += SUPER) quantize_block_q6((uint8_t *)target + i / SUPER * 210, source + i);
}
