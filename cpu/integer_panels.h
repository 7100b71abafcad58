// Panels of A, rounded to integers in groups of 32 numbers, and of C. The file that includes this defines
//   STEP    numbers in a lane, of type `number`,
//   ROWS    of a panel: 2 * ROWS sums stay in registers,
// after cpu/product_numbers.h.
#ifndef LR_INTEGER_PANELS_H
#define LR_INTEGER_PANELS_H

#define STEPS (BLOCK / STEP) // of a group
#define COLS (2 * LR_WIDTH)  // of a panel of B and C

LR_INLINE lr_vi vi_load(const void *from)
{
    lr_vi v;
    memcpy(&v, from, sizeof v);
    return v;
}

// To the nearest, |v| < 2^22.
LR_INLINE lr_vi to_integers(lr_vf v)
{
    const lr_vf magic = vf_set(12582912.0f); // 1.5 * 2^23
    return (lr_vi)(v + magic) - (lr_vi)magic;
}

// `there` numbers of a group, rounded to at most `most` steps. Returns the scale.
LR_INLINE float round_row(int32_t *numbers, float most, const float *x, const float *factors, float alpha,
                          int64_t there)
{
    lr_vf v[BLOCK / LR_WIDTH], greatest = vf_set(0);
    UNROLL for (int i = 0; i < BLOCK / LR_WIDTH; i++) {
        const int64_t rest = there - i * LR_WIDTH;
        if (rest >= LR_WIDTH) {
            v[i] = alpha * vf_load(x + i * LR_WIDTH);
            if (factors) v[i] *= vf_load(factors + i * LR_WIDTH);
        } else {
            v[i] = rest > 0 ? alpha * vf_load_part(x + i * LR_WIDTH, rest) : vf_set(0);
            if (factors && rest > 0) v[i] *= vf_load_part(factors + i * LR_WIDTH, rest);
        }
        greatest = vf_maximum(greatest, vf_absolute(v[i]));
    }
    const float scale = vf_greatest(greatest);
    const lr_vf inverse = vf_set(scale > 0 ? most / scale : 0);
    UNROLL for (int i = 0; i < BLOCK / LR_WIDTH; i++) {
        const lr_vi q = to_integers(v[i] * inverse);
        memcpy(numbers + i * LR_WIDTH, &q, sizeof q);
    }
    return scale / most;
}

LR_INLINE int32_t sum_of(const int32_t *numbers)
{
    int32_t sum = 0;
    for (int i = 0; i < BLOCK; i++) sum += numbers[i];
    return sum;
}

// A group of a panel: lanes [step][row].
typedef struct a_group {
    int32_t lanes[STEPS][ROWS];
    float scale[ROWS];
    float sum[ROWS]; // scale * the sum of the numbers
} a_group;

static void take(void *target, const lr_product_term *term, int64_t i, int64_t rows, int64_t p, int64_t depth)
{
    // INT8's numbers are 127ths of their scale; its scales are here where they run along the inner dimension.
    const bool int8 = term->b.type == LORA_TYPE_INT8;
    const float *factors = int8 && !term->b.transposed ? term->b.scales + p : NULL;
    const float alpha = int8 ? term->alpha / 127 : term->alpha;
    a_group *group = target;
    for (int64_t at = 0; at < depth; at += BLOCK, group++)
        for (int64_t row = 0; row < ROWS; row++) {
            const float *x = (const float *)term->a.data + (i + row) * term->a.stride + p + at;
            int32_t q[BLOCK];
            number narrow[BLOCK];
            group->scale[row] = round_row(q, 127, x, factors ? factors + at : NULL, alpha, row < rows ? depth - at : 0);
            group->sum[row] = group->scale[row] * (float)sum_of(q);
            for (int n = 0; n < BLOCK; n++) narrow[n] = (number)q[n];
            for (int s = 0; s < STEPS; s++) memcpy(&group->lanes[s][row], narrow + s * STEP, sizeof(int32_t));
        }
}

// Rows of sums, times `factors` of their columns or NULL, to C.
static void put_sums(int64_t rows, int64_t width, lr_vf sum[ROWS][2], const float *factors, bool accumulate, float *c,
                     int64_t c_stride)
{
    for (int v = 0; v < 2; v++) {
        const int64_t some = width - v * LR_WIDTH < LR_WIDTH ? width - v * LR_WIDTH : LR_WIDTH;
        if (some <= 0) break;
        const lr_vf factor = factors ? vf_load_part(factors + v * LR_WIDTH, some) : vf_set(1);
        for (int r = 0; r < rows; r++) {
            float *target = c + r * c_stride + v * LR_WIDTH;
            const lr_vf before = accumulate ? vf_load_part(target, some) : vf_set(0);
            vf_store_part(target, sum[r][v] * factor + before, some);
        }
    }
}

#endif
