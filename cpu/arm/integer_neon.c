// Products of integers with arm64's 8-bit dot products: four products in each lane.
#define LR_WIDTH 4
#include "cpu/integer_kernels.h"
#include "cpu/product_kernels.h"
#include "cpu/product_numbers.h"

typedef int8_t number;
typedef uint8_t sixteen __attribute__((vector_size(16)));

LR_INLINE sixteen load_sixteen(const uint8_t *from)
{
    return (sixteen)vld1q_u8(from);
}

LR_INLINE sixteen load_signed_sixteen(const uint8_t *from)
{
    return load_sixteen(from);
}

LR_INLINE sixteen sixteens(const uint8_t *bits)
{
    const sixteen bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint16_t word;
    memcpy(&word, bits, sizeof word);
    const sixteen v = (sixteen)vdupq_n_u16(word);
    const sixteen spread = __builtin_shufflevector(v, v, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    return (sixteen)((spread & bit) == bit) & 16;
}

LR_INLINE lr_vf floats_of(const uint16_t *half)
{
    return (lr_vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(half)));
}

#include "cpu/integer_groups.h"

typedef struct fine { // 128 high + low
    int8_t high[16], low[16];
} fine;

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
