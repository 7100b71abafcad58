// Products of integers with arm64's 8-bit dot products: four products in each lane.
#define LR_WIDTH 4
#include "cpu/integer_groups.h"
#include "cpu/integer_kernels.h"
#include "cpu/product_kernels.h"

typedef int8_t number;

typedef struct fine { // 128 high + low
    int8_t high[16], low[16];
} fine;

LR_INLINE lr_vi numbers_of(bytes16 v)
{
    return (lr_vi)v;
}

LR_INLINE lr_vi add_products(lr_vi sum, lr_vi w, lr_vi x)
{
    return (lr_vi)vdotq_s32((int32x4_t)sum, (int8x16_t)w, (int8x16_t)x);
}

LR_INLINE void put_fine(fine *to, const int32_t *numbers)
{
    for (int i = 0; i < 16; i++) {
        const int32_t high = (numbers[i] + 64) >> 7;
        to->high[i] = (int8_t)high;
        to->low[i] = (int8_t)(numbers[i] - 128 * high);
    }
}

LR_INLINE lr_vi fine_products(lr_vi w, const fine *x)
{
    const lr_vi high = add_products((lr_vi){0}, w, (lr_vi)vld1q_s8(x->high));
    return add_products(high << 7, w, (lr_vi)vld1q_s8(x->low));
}

#define ROWS 8
#define PRODUCT lr_product_neon
#define KERNELS lr_integer_neon
#include "cpu/integer_vector.h"
