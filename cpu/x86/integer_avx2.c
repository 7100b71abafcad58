// Products of integers with AVX2: vpmaddwd multiplies pairs of 16-bit numbers, which never overflow.
#define LR_WIDTH 8
#include "cpu/integer_groups.h"
#include "cpu/integer_kernels.h"
#include "cpu/product_kernels.h"

typedef int16_t number;

typedef struct fine {
    int16_t numbers[16];
} fine;

LR_INLINE lr_vi numbers_of(bytes16 v)
{
    return (lr_vi)_mm256_cvtepi8_epi16((__m128i)v);
}

LR_INLINE lr_vi add_products(lr_vi sum, lr_vi w, lr_vi x)
{
    return sum + (lr_vi)_mm256_madd_epi16((__m256i)w, (__m256i)x);
}

LR_INLINE void put_fine(fine *to, const int32_t *numbers)
{
    for (int i = 0; i < 16; i++) to->numbers[i] = (int16_t)numbers[i];
}

LR_INLINE lr_vi fine_products(lr_vi w, const fine *x)
{
    return (lr_vi)_mm256_madd_epi16((__m256i)w, _mm256_loadu_si256((const void *)x->numbers));
}

#define ROWS 6
#define PRODUCT lr_product_avx2
#define KERNELS lr_integer_avx2
#include "cpu/integer_vector.h"
