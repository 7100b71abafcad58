// Products of integers with AVX2: vpmaddwd multiplies pairs of 16-bit numbers, which never overflow.
#include "cpu/product_kernels.h"
#include "cpu/x86/integer_avx2.h"

typedef int16_t number;

typedef struct fine {
    int16_t numbers[16];
} fine;

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
#define HALF_BYTES &lr_integer_avx2_half_bytes
#include "cpu/integer_vector.h"
