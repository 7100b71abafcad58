// Groups of 32 numbers of a row of A, rounded to integers; after cpu/product_numbers.h.
#ifndef LR_INTEGER_ROUNDING_H
#define LR_INTEGER_ROUNDING_H

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

#endif
